//! Attributes of operators that a kernel takes as the graph has them: plain data, no behaviour.
//!
//! Names and meanings are the WebNN spec's.

mod elementwise;
mod pad;
mod window;

pub use elementwise::{Binary, Fused, Operand, Step, Unary};
pub use pad::{Pad, PadMode};
pub use window::{Pool2d, PoolKind, Window};
