//! Cases that others wrote: ONNX's, and in [`webnn`] the W3C's.
//!
//! ONNX's node cases are one model of one or a few nodes each, with inputs and the outputs they must give. [`cases`] finds them in a folder or an archive, [`run`] runs one in this process, [`browser`] in a page, [`table`] counts them by operator.

#[cfg(feature = "webdriver")]
mod browser;
mod cases;
mod compare;
mod data;
#[cfg(feature = "native")]
mod run;
mod table;
mod verdict;
#[cfg(feature = "native")]
pub mod webnn;

#[cfg(feature = "webdriver")]
pub use browser::BrowserCases;
pub use cases::{Case, CaseError, Cases};
#[cfg(feature = "native")]
pub use run::run;
pub use table::Table;
pub use verdict::Verdict;

#[cfg(all(test, feature = "native"))]
mod tests;
