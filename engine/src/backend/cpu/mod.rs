//! The `cpu` back end: plans of kernel calls over one arena.

pub mod reference;
