//! CPU kernels: functions on slices that know nothing of graphs.
//!
//! Everything is reached through [`Kernels`], which holds the instruction set chosen at run time
//! (natively) or at build time (wasm). All tensors are dense, row-major f32 unless said otherwise;
//! `parallel` says how work is spread ([`threads::Serial`] or a pool).
//!
//! | kernel | what it computes |
//! | --- | --- |
//! | [`Kernels::linear`] | `out[m][n] = Σ_k x[m][k]·W[n][k] (+ bias[n])`, `W` packed once from f32, f16, bf16 or any block format |
//! | [`PackedWeights::row`] | one row of `W` in f32: embedding lookup in a table tied to the head |
//! | [`Kernels::matmul`] | batched `out = a·b` (or `a·bᵀ`) of two run-time operands |
//! | [`Kernels::conv2d`], [`Kernels::pool2d`] | windows over images, NCHW |
//! | [`Kernels::attention`] | grouped-query attention over a KV cache, causal or not, additive bias |
//! | [`Kernels::rms_norm`], [`Kernels::layer_norm`], [`Kernels::softmax`] | over the last dimension |
//! | [`Kernels::rotary`] | rotary embedding from cos/sin tables, interleaved or half-split |
//! | [`Kernels::silu`], [`Kernels::silu_mul`], [`Kernels::gelu`], [`Kernels::gelu_tanh`], [`Kernels::add`], … | elementwise |
//!
//! Slices whose lengths contradict each other are a programming error of the caller and panic;
//! whoever builds a plan checks shapes first. Weights are read from files, so [`Packer`] returns
//! errors.

mod activations;
mod attention;
mod block;
mod chain;
mod conv;
mod dot;
pub mod element;
mod elementwise;
pub mod head;
mod linear;
mod linear_f32;
mod linear_i8;
mod linear_long;
mod math;
mod matmul;
mod norm;
pub mod op;
mod padded;
mod pool;
mod rotary;
mod scratch;
mod simd;
mod strided;
pub mod threads;
mod tile;
mod weights;

pub use attention::{Attention, Bias, Strides};
pub use chain::Chain;
pub use conv::{Convolution, PackedFilter};
pub use dot::dot;
pub use linear::Activations;
pub use matmul::Matmul;
pub use padded::Padded;
pub use rotary::Rotary;
pub use simd::Isa;
pub use strided::Strided;
pub use weights::{PackError, PackedWeights, Packer};

/// The kernels of one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    isa: Isa,
}

impl Kernels {
    /// The kernels of the best instruction set this machine or build has.
    pub fn best() -> Kernels {
        Kernels {
            isa: Isa::available()[0],
        }
    }

    /// The kernels of `isa`; `None` where the machine or build lacks it.
    pub fn with(isa: Isa) -> Option<Kernels> {
        Isa::available().contains(&isa).then_some(Kernels { isa })
    }

    pub fn isa(self) -> Isa {
        self.isa
    }
}
