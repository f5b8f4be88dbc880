//! fewbit's kernels: WGSL, one file a kernel family, and the step that assembles variants of them.
//!
//! A [`Kernel`] says what is to be computed and how (the *variant key*); [`Kernel::assemble`] makes the
//! WGSL text of it and says what it binds. Which variant an adapter gets is decided by who asks: the
//! engine's GPU back end. Every variant is validated with naga in this crate's tests.
//!
//! ```
//! use fewbit_shaders::{Host, Kernel, Linear, LinearPath, WeightFormat};
//! let kernel = Kernel::Linear(Linear {
//!     format: WeightFormat::Q4_1,
//!     path: LinearPath::Rows { rows: 2 },
//!     bias: false,
//!     residual: false,
//!     workgroup: 32,
//! });
//! let shader = kernel.assemble(Host::Native).unwrap();
//! assert!(shader.wgsl.contains("@compute"));
//! assert_eq!(shader.bindings.len(), 4);
//! ```

mod assemble;
mod expand;
mod files;
mod kernel;

pub use assemble::{Access, Binding, Shader};
pub use expand::ExpandError;
pub use kernel::{
    Attention, AttentionPath, Elementwise, Host, Indexing, InputType, Join, Kernel, Linear,
    LinearPath, Normalization, Normalize, PadMode, Path, WeightFormat,
};
