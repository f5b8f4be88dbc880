//! native-backends

#[cfg(feature = "wgpu")]
pub mod adapters;
