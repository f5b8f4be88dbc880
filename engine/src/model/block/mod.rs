//! Blocks that architectures share.

mod activation;
mod linear;
mod rope;

pub use activation::Activation;
pub use linear::Linear;
pub use rope::{Rope, RopeScaling, RopeTables};
