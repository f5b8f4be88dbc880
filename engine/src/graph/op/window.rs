//! Attributes of operators that slide a window over the last two dimensions.

pub use fewbit_kernels::op::{Pool2d, PoolKind, Window};

/// `y[n, o, i, j] = Σ filter[o, c, r, s] · x[n, first + c, i·stride + r·dilation − padding, …] + bias[o]`, zeros
/// where that is outside of `x`; outputs and channels are cut into as many `groups`, each of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    pub window: Window,
    pub groups: usize,
    pub bias: bool,
}
