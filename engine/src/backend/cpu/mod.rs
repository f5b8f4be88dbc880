//! The `cpu` back end: plans of kernel calls over one arena.

pub mod kernels;
pub mod reference;
pub mod threads;
