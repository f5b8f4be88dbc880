//! Blocks that architectures share.

mod activation;
mod attention;
mod conv1d;
mod encoder_layer;
mod feed_forward;
mod linear;
mod mask;
mod norm;
mod patch_embedding;
mod relative_bias;
mod residual;
mod rope;
mod similarity;

pub use activation::Activation;
pub use attention::MultiHead;
pub use conv1d::Conv1d;
pub use encoder_layer::EncoderLayer;
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub use mask::mask_bias;
pub use norm::{Norm, NormKind};
pub use patch_embedding::{PatchEmbedding, for_each, to_tokens, token};
pub use relative_bias::{RelativeBias, positions};
pub use residual::{NormOrder, Residual};
pub use rope::{Rope, RopeScaling, RopeTables};
pub use similarity::{similarity, unit_rows};
