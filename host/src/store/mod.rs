//! Model files on this machine: what the manifest names, where they lie, and how they get there.

mod files;

pub use files::{ModelFile, ModelFiles};
