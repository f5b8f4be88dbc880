//! The Web Neural Network API (W3C, Candidate Recommendation Draft of June 2026) over the engine's graphs.
//!
//! A [`Builder`] is an `MLGraphBuilder`: [`Builder::input`] and [`Builder::constant`] make operands,
//! [`Builder::call`] calls any of the specification's 95 operators by its name with arguments as a page would give
//! them, and [`Builder::build`] gives the engine's graph of it. What the specification says of wrong types, shapes
//! and options is held against each call, synchronously; an error says which rule was broken and which exception a
//! page gets ([`BuildError`]).
//!
//! The specification has eight data types ([`DataType`]); int4 and uint4, of which earlier drafts spoke, are not
//! among them.
//!
//! Operators become those of [`fewbit_engine::graph`]: most one or two, a few (recurrent networks, transposed
//! convolutions, resampling) compositions. Where a device has no 64-bit integers, [`pairs`] makes of the graph one
//! that computes them as pairs of 32-bit words.

mod builder;
mod emit;
mod error;
mod operators;
pub mod pairs;
mod types;
mod value;

pub use builder::{Builder, Built, Operand};
pub use error::{BuildError, Exception};
pub use operators::OPERATORS;
pub use types::{DataType, Descriptor};
pub use value::Value;
