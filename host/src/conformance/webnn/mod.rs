//! The W3C's WebNN cases: graphs of one or a few operators with inputs and the outputs they must give.
//!
//! [`cases`] reads them, [`graph`] makes graphs of them through `fewbit-webnn`, as a page's calls would, [`run`] runs
//! those in this process and [`browser`] in a page, a file's cases over one device.

#[cfg(feature = "webdriver")]
mod browser;
mod cases;
mod graph;
#[cfg(feature = "webdriver")]
mod navigator_ml;
mod run;
mod tolerance;

#[cfg(feature = "webdriver")]
pub use browser::BrowserCases;
pub use cases::{Case, Family, ReadError, read};
#[cfg(feature = "webdriver")]
pub use navigator_ml::NavigatorMl;
pub use run::run;

#[cfg(test)]
mod tests;
