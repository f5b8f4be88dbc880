//! How large the integers of a graph can be: an interval for each value, from what constants, sizes and types say.
//!
//! A device that keeps integers of 64 bits in 32 computes modulo 2³²: what comes out is right as long as it fits, whatever
//! the sums on the way did.

use super::op::{
    Binary, Bitwise, Extension, Fused, Operand, PadMode, PoolKind, Reduce, ReduceKind, Scatter,
    Step, Unary,
};
use super::{Graph, Node, Op, Source, Value, ValueId};
use crate::tensor::DataType;

/// The name of the first operator whose integers of 64 bits may not fit in 32, where those in inputs are at most
/// `most_input` from 0.
pub fn beyond_32_bits(graph: &Graph, most_input: i64) -> Option<&'static str> {
    let mut spans: Vec<Span> = graph
        .values
        .iter()
        .map(|value| given(value, most_input))
        .collect();
    for node in &graph.nodes {
        let inputs: Vec<Span> = node.inputs.iter().map(|id| spans[id.index()]).collect();
        let made = made(graph, node, &inputs);
        for (number, &output) in node.outputs.iter().enumerate() {
            let Some(data_type) = graph.value(output).element.plain() else {
                continue;
            };
            let own = if number == 0 { made } else { Span::ALL };
            let kept = Span::kept(data_type);
            spans[output.index()] = match own.is_in(kept) {
                true => own,
                false if is_wide(data_type) => return Some(node.op.name()),
                // What does not fit wraps, there as here.
                false => kept,
            };
        }
    }
    None
}

/// Whether integers of a type are of 64 bits.
pub fn is_wide(data_type: DataType) -> bool {
    matches!(data_type, DataType::I64 | DataType::U64)
}

/// From the least to the most number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    least: f64,
    most: f64,
}

/// Floats are rounded: what is computed of them may be off by this part.
const ROUNDING: f64 = 1e-3;

impl Span {
    const ALL: Span = Span::new(f64::NEG_INFINITY, f64::INFINITY);
    const FLAG: Span = Span::new(0.0, 1.0);

    const fn new(least: f64, most: f64) -> Span {
        Span { least, most }
    }

    fn one(value: f64) -> Span {
        Span::new(value, value)
    }

    /// The integers of a type that a device of 32 bits has; all numbers for floats.
    fn kept(data_type: DataType) -> Span {
        let signed = |bits: i32| {
            Span::new(
                -f64::exp2((bits - 1).into()),
                f64::exp2((bits - 1).into()) - 1.0,
            )
        };
        let unsigned = |bits: i32| Span::new(0.0, f64::exp2(bits.into()) - 1.0);
        match data_type {
            DataType::I64 | DataType::I32 => signed(32),
            DataType::I16 => signed(16),
            DataType::I8 => signed(8),
            DataType::I4 => signed(4),
            DataType::U64 | DataType::U32 => unsigned(32),
            DataType::U16 => unsigned(16),
            DataType::U8 => unsigned(8),
            DataType::U4 => unsigned(4),
            DataType::Bool => unsigned(1),
            DataType::F64 | DataType::F32 | DataType::F16 | DataType::Bf16 => Span::ALL,
        }
    }

    fn is_in(self, other: Span) -> bool {
        self.least >= other.least && self.most <= other.most
    }

    /// The numbers in both, or those of `self` where there are none.
    fn limited(self, to: Span) -> Span {
        let both = Span::new(self.least.max(to.least), self.most.min(to.most));
        if both.least <= both.most { both } else { self }
    }

    fn or(self, other: Span) -> Span {
        Span::new(self.least.min(other.least), self.most.max(other.most))
    }

    /// The farthest from 0.
    fn reach(self) -> f64 {
        self.least.abs().max(self.most.abs())
    }

    fn around(reach: f64) -> Span {
        Span::new(-reach, reach)
    }

    fn plus(self, other: Span) -> Span {
        Span::new(self.least + other.least, self.most + other.most).sane()
    }

    fn minus(self, other: Span) -> Span {
        Span::new(self.least - other.most, self.most - other.least).sane()
    }

    fn times(self, other: Span) -> Span {
        let corners = [
            self.least * other.least,
            self.least * other.most,
            self.most * other.least,
            self.most * other.most,
        ];
        // 0 · ∞ is 0 here: no factor is infinite in fact.
        let corners = corners.map(|x| if x.is_nan() { 0.0 } else { x });
        let least = corners.iter().copied().fold(f64::INFINITY, f64::min);
        let most = corners.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Span::new(least, most)
    }

    /// Sums of 0 to `count` such numbers.
    fn up_to(self, count: f64) -> Span {
        Span::new(0.0, count).times(self)
    }

    fn sane(self) -> Span {
        match self.least.is_nan() || self.most.is_nan() {
            true => Span::ALL,
            false => self,
        }
    }
}

/// What a value that no node makes may be.
fn given(value: &Value, most_input: i64) -> Span {
    let Some(data_type) = value.element.plain() else {
        return Span::ALL;
    };
    let kept = Span::kept(data_type);
    match &value.source {
        Source::Constant(tensor) => {
            let numbers = tensor.to_f64_vec();
            let spans = numbers.into_iter().map(Span::one).map(Span::sane);
            spans.reduce(Span::or).unwrap_or(Span::FLAG)
        }
        Source::Input(_) if is_limited(data_type) => kept.limited(Span::around(most_input as f64)),
        _ => kept,
    }
}

/// Whether inputs of a type may hold more than some limit: the others are small by their type, or floats.
pub fn is_limited(data_type: DataType) -> bool {
    is_wide(data_type) || matches!(data_type, DataType::I32 | DataType::U32)
}

fn elements(graph: &Graph, id: ValueId) -> f64 {
    let sizes = graph.value(id).shape.iter().map(|dim| size(dim.fixed()));
    sizes.product()
}

/// Of a symbol, the most there can be.
fn size(fixed: Option<usize>) -> f64 {
    fixed.map_or(f64::from(i32::MAX), |size| size as f64)
}

fn of_axis(graph: &Graph, id: ValueId, axis: usize) -> f64 {
    size(graph.value(id).shape.get(axis).and_then(|dim| dim.fixed()))
}

/// What the first output of a node may be.
fn made(graph: &Graph, node: &Node, inputs: &[Span]) -> Span {
    let is_float = |id: &ValueId| {
        let element = graph.value(*id).element.plain();
        element.is_none_or(DataType::is_float)
    };
    let x = inputs.first().copied().unwrap_or(Span::ALL);
    let all = || inputs.iter().copied().reduce(Span::or).unwrap_or(Span::ALL);
    let span = match &node.op {
        Op::Unary(op) => unary(*op, x),
        Op::Binary(op) => binary(*op, x, inputs[1], is_float(&node.inputs[0])),
        Op::Compare(_) | Op::Logical(_) => Span::FLAG,
        Op::Fused(fused) => chained(fused, inputs),
        Op::Clamp { min, max } => clamped(x, *min, *max),
        Op::Where => inputs[1].or(inputs[2]),
        Op::Cast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Expand { .. } => x,
        Op::Gather { decode: false, .. } => x,
        Op::Concat { .. } => all(),
        Op::Pad(pad) => match pad.mode {
            PadMode::Constant(value) => x.or(Span::one(value.into())),
            _ => x,
        },
        Op::Reduce(reduce) => reduced(graph, node.inputs[0], reduce, x),
        Op::CumulativeSum(sum) => x.up_to(of_axis(graph, node.inputs[0], sum.axis)),
        Op::Softmax { .. } => Span::FLAG,
        Op::Pool2d(pool) if pool.kind == PoolKind::Max => x,
        Op::Matmul => {
            let shape = &graph.value(node.inputs[0]).shape;
            let depth = size(shape.last().and_then(|dim| dim.fixed()));
            x.times(inputs[1]).up_to(depth)
        }
        Op::ScatterNd(scatter) => {
            let updates = inputs[2];
            match scatter {
                Scatter::Add => x.plus(updates.up_to(elements(graph, node.inputs[2]))),
                Scatter::Mul => Span::ALL,
                Scatter::Replace | Scatter::Max | Scatter::Min => x.or(updates),
            }
        }
        Op::Extension(Extension::Bitwise(op)) => bitwise(*op, x, inputs[1]),
        Op::Extension(Extension::TopK { axis, .. }) => {
            Span::new(0.0, of_axis(graph, node.inputs[0], *axis))
        }
        // The same bits are the same number only where no sign is in them.
        Op::Extension(Extension::Bitcast { .. })
            if !is_float(&node.inputs[0]) && x.least >= 0.0 =>
        {
            x
        }
        _ => Span::ALL,
    };
    let rounded = node.inputs.iter().any(is_float) && node.outputs.iter().any(is_float);
    match rounded {
        true => Span::new(
            span.least - ROUNDING * span.least.abs(),
            span.most + ROUNDING * span.most.abs(),
        )
        .sane(),
        false => span,
    }
}

/// What the last step of a chain makes.
fn chained(fused: &Fused, inputs: &[Span]) -> Span {
    let mut made: Vec<Span> = Vec::with_capacity(fused.steps.len());
    for step in &fused.steps {
        let of = |operand: Operand| match operand {
            Operand::Input(at) => inputs.get(at).copied().unwrap_or(Span::ALL),
            Operand::Step(at) => made.get(at).copied().unwrap_or(Span::ALL),
            Operand::Number(number) => Span::one(number.into()),
        };
        let span = match *step {
            Step::Unary(op, x) => unary(op, of(x)),
            Step::Binary(op, a, b) => binary(op, of(a), of(b), true),
            Step::Clamp(x, min, max) => clamped(of(x), min, max),
        };
        made.push(span.sane());
    }
    made.pop().unwrap_or(Span::ALL)
}

fn clamped(x: Span, min: f32, max: f32) -> Span {
    let (min, max) = (f64::from(min), f64::from(max));
    // Bounds that are NaN, or cross, are no fault here.
    Span::new(x.least.max(min).min(max), x.most.max(min).min(max))
}

fn unary(op: Unary, x: Span) -> Span {
    match op {
        Unary::Identity => x,
        Unary::Neg => Span::new(-x.most, -x.least),
        Unary::Relu => Span::new(x.least.max(0.0), x.most.max(0.0)),
        Unary::Abs => Span::new(0.0, x.reach()),
        Unary::Floor | Unary::Ceil => Span::new(x.least.floor(), x.most.ceil()),
        Unary::Sigmoid => Span::FLAG,
        Unary::Sin | Unary::Cos | Unary::Erf | Unary::Tanh => Span::around(1.0),
        Unary::Sqrt if x.least >= 0.0 => Span::new(0.0, x.most.max(1.0)),
        _ => Span::ALL,
    }
}

fn binary(op: Binary, a: Span, b: Span, floats: bool) -> Span {
    match op {
        Binary::Add => a.plus(b),
        Binary::Sub => a.minus(b),
        Binary::Mul => a.times(b),
        Binary::Max => Span::new(a.least.max(b.least), a.most.max(b.most)),
        Binary::Min => Span::new(a.least.min(b.least), a.most.min(b.most)),
        // Quotients of integers are cut off, and 0 by 0.
        Binary::Div if !floats && a.least >= 0.0 && b.least >= 0.0 => Span::new(0.0, a.most),
        Binary::Div if !floats => Span::around(a.reach()),
        Binary::Div if b.least > 0.0 || b.most < 0.0 => a.times(Span::new(
            (1.0 / b.most).min(1.0 / b.least),
            (1.0 / b.least).max(1.0 / b.most),
        )),
        Binary::Pow if !floats || (a.least >= 1.0 && b.least >= 0.0) => {
            let reach = a.reach().max(1.0).powf(b.most.max(0.0));
            match a.least >= 0.0 {
                true => Span::new(0.0, reach),
                false => Span::around(reach),
            }
        }
        Binary::Div | Binary::Pow => Span::ALL,
    }
}

fn bitwise(op: Bitwise, a: Span, b: Span) -> Span {
    let reach = a.reach().max(b.reach());
    // The bits of both, all of them set.
    let ones = f64::exp2((reach + 1.0).log2().ceil()) - 1.0;
    match a.least >= 0.0 && b.least >= 0.0 {
        true if op == Bitwise::And => Span::new(0.0, a.most.min(b.most)),
        true => Span::new(0.0, ones),
        false => Span::new(-ones - 1.0, ones),
    }
}

fn reduced(graph: &Graph, id: ValueId, reduce: &Reduce, x: Span) -> Span {
    let sizes = reduce.axes.iter().map(|&axis| of_axis(graph, id, axis));
    let count: f64 = sizes.product();
    match reduce.kind {
        ReduceKind::Sum => x.up_to(count),
        ReduceKind::L1 => Span::new(0.0, x.reach()).up_to(count),
        ReduceKind::SumSquare => Span::new(0.0, x.reach() * x.reach()).up_to(count),
        ReduceKind::Max | ReduceKind::Min | ReduceKind::Mean => x,
        ReduceKind::Product => {
            let reach = x.reach().max(1.0).powf(count);
            match x.least >= 0.0 {
                true => Span::new(0.0, reach),
                false => Span::around(reach),
            }
        }
        _ => Span::ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Dim, GraphBuilder};
    use crate::tensor::Tensor;

    const LARGE: i64 = i32::MAX as i64;

    fn ids(b: &mut GraphBuilder) -> ValueId {
        b.input("ids", DataType::I64, vec![Dim::from(2), Dim::from(8)])
            .unwrap()
    }

    fn named(b: GraphBuilder, y: ValueId, most_input: i64) -> Option<&'static str> {
        let mut b = b;
        b.output("y", y).unwrap();
        beyond_32_bits(&b.finish(), most_input)
    }

    #[test]
    fn sums_and_products_fit_where_their_operands_are_small() {
        for (op, most) in [(Binary::Add, (1 << 30) - 1), (Binary::Mul, 46_340)] {
            let made = |most: i64| {
                let mut b = GraphBuilder::new();
                let x = ids(&mut b);
                let y = b.binary(op, x, x).unwrap();
                named(b, y, most)
            };
            assert_eq!(made(most), None);
            assert_eq!(made(most + 2), Some(op.name()));
        }
    }

    #[test]
    fn a_sum_over_flags_fits_and_one_over_ids_does_not() {
        let of = |flags: bool| {
            let mut b = GraphBuilder::new();
            let mut x = ids(&mut b);
            if flags {
                let none = b.constant(Tensor::from_i64(&[], &[0]).unwrap());
                x = b
                    .compare(crate::graph::op::Compare::NotEqual, x, none)
                    .unwrap();
                x = b.cast(x, DataType::I64).unwrap();
            }
            let y = b.reduce(ReduceKind::Sum, x, &[1], false).unwrap();
            named(b, y, LARGE)
        };
        assert_eq!(of(true), None);
        assert_eq!(of(false), Some("reduce_sum"));
    }

    #[test]
    fn what_is_cast_from_unknown_floats_or_unsigned_integers_may_not_fit() {
        for (from, fits) in [
            (DataType::F32, false),
            (DataType::U32, false),
            (DataType::I32, true),
        ] {
            let mut b = GraphBuilder::new();
            let x = b.input("x", from, vec![Dim::from(2)]).unwrap();
            let y = b.cast(x, DataType::I64).unwrap();
            assert_eq!(named(b, y, LARGE << 2).is_none(), fits, "{from}");
        }
        // Numbers that were between bounds as floats, in a chain or by themselves.
        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::F32, vec![Dim::from(2)]).unwrap();
        let steps = vec![
            Step::Binary(Binary::Max, Operand::Input(0), Operand::Number(0.0)),
            Step::Binary(Binary::Min, Operand::Step(0), Operand::Number(7.0)),
        ];
        let near = b.op(Op::Fused(Fused { steps }), &[x]).unwrap();
        let y = b.cast(near, DataType::I64).unwrap();
        assert_eq!(named(b, y, LARGE), None);
        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::F32, vec![Dim::from(2)]).unwrap();
        let near = b.unary(Unary::Sigmoid, x).unwrap();
        let y = b.cast(near, DataType::I64).unwrap();
        assert_eq!(named(b, y, LARGE), None);
    }

    #[test]
    fn constants_beyond_32_bits_are_told_by_what_reads_them() {
        let mut b = GraphBuilder::new();
        let x = ids(&mut b);
        let large = b.constant(Tensor::from_i64(&[], &[1 << 40]).unwrap());
        let y = b.binary(Binary::Min, x, large).unwrap();
        // The lesser of both is small, whatever the constant.
        assert_eq!(named(b, y, LARGE), None);
        let mut b = GraphBuilder::new();
        let x = ids(&mut b);
        let large = b.constant(Tensor::from_i64(&[], &[1 << 40]).unwrap());
        let y = b.binary(Binary::Max, x, large).unwrap();
        assert_eq!(named(b, y, LARGE), Some("max"));
    }
}
