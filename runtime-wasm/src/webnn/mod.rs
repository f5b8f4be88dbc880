//! The WebNN back end: a decomposed graph becomes an `MLGraph` of the browser.
//!
//! W3C, Web Neural Network API. What the browser refuses, by `opSupportLimits()`, in a builder's method or in `build()`, is
//! [`Unsupported`](fewbit_engine::backend::BackendError::Unsupported), with the operator and the browser's own words; nothing
//! is computed elsewhere instead.
//!
//! Weights stay as the file has them, in JavaScript's memory. Building a graph decodes one after the other to floats and
//! hands each to the browser as a constant, so that beyond the stored bytes and the browser's own copies (one for each of at
//! most [`MAX_BUILT`](backend::MAX_BUILT) built graphs) there is one decoded weight at a time.

mod api;
mod backend;
mod build;
mod limits;
mod lower;
mod state;
mod weights;

pub(crate) use backend::{WebnnDevice, WebnnOptions};
