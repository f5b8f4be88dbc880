//! The command `fewbit`: model store, server, runners and results.
//!
//! `cli` is the command line, one file a command. [`store`] keeps model files; `serve` gives pages, wasm and
//! models to browsers; a [`runner`] runs [`job`]s on a [`target`]; results go to DuckDB (feature `results`).

#[cfg(feature = "native")]
pub mod backends;
#[cfg(feature = "webdriver")]
pub mod browser;
pub mod cli;
#[cfg(feature = "cases")]
pub mod conformance;
#[cfg(feature = "native")]
pub mod convert;
#[cfg(feature = "media")]
pub mod input;
#[cfg(feature = "native")]
pub mod inspect;
pub mod job;
#[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
pub mod matrix;
#[cfg(feature = "runners")]
pub mod measure;
#[cfg(feature = "native")]
pub mod native;
#[cfg(feature = "results")]
pub mod pattern;
#[cfg(feature = "report")]
pub mod report;
pub mod results;
pub mod runner;
pub mod serve;
pub mod speech;
pub mod store;
pub mod target;
#[cfg(feature = "runners")]
pub mod verified;
#[cfg(feature = "runners")]
pub mod verify;
