//! Rewrites of a graph: each takes a graph and gives another that computes the same.

mod fold;
mod fuse;
mod prune;
mod rewriter;

pub use fold::fold_constants;
pub use fuse::fuse_elementwise;
pub use prune::{prune, prune_inputs};
pub use rewriter::Rewriter;
