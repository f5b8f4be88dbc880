//! Attributes of operators that work along axes.

/// The reductions of the WebNN spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Mean,
    Min,
    Product,
    Sum,
    SumSquare,
}

impl ReduceKind {
    pub const fn name(self) -> &'static str {
        match self {
            ReduceKind::L1 => "reduce_l1",
            ReduceKind::L2 => "reduce_l2",
            ReduceKind::LogSum => "reduce_log_sum",
            ReduceKind::LogSumExp => "reduce_log_sum_exp",
            ReduceKind::Max => "reduce_max",
            ReduceKind::Mean => "reduce_mean",
            ReduceKind::Min => "reduce_min",
            ReduceKind::Product => "reduce_product",
            ReduceKind::Sum => "reduce_sum",
            ReduceKind::SumSquare => "reduce_sum_square",
        }
    }

    pub const ALL: [ReduceKind; 10] = [
        ReduceKind::L1,
        ReduceKind::L2,
        ReduceKind::LogSum,
        ReduceKind::LogSumExp,
        ReduceKind::Max,
        ReduceKind::Mean,
        ReduceKind::Min,
        ReduceKind::Product,
        ReduceKind::Sum,
        ReduceKind::SumSquare,
    ];
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    pub kind: ReduceKind,
    /// Sorted, each once.
    pub axes: Vec<usize>,
    pub keep_dimensions: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormalization {
    /// Sorted, each once.
    pub axes: Vec<usize>,
    pub epsilon: f32,
    pub scale: bool,
    pub bias: bool,
}

/// The sum of the elements up to each place along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CumulativeSum {
    pub axis: usize,
    /// Without the element itself.
    pub exclusive: bool,
    /// From the end.
    pub reversed: bool,
}
