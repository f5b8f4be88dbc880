//! Cases that others wrote: ONNX's, and in [`webnn`] the W3C's.
//!
//! ONNX's node cases are one model of one or a few nodes each, with inputs and the outputs they must give. [`cases`] finds them in a folder or an archive, [`run`] runs one in this process, [`browser`] in a page, [`table`] counts them by operator.

#[cfg(feature = "webdriver")]
mod browser;
mod cases;
mod compare;
mod data;
mod run;
mod table;
pub mod webnn;

#[cfg(feature = "webdriver")]
pub use browser::BrowserCases;
pub use cases::{Case, CaseError, Cases};
pub use run::{Verdict, run};
pub use table::Table;

#[cfg(test)]
mod tests;
