//! Ready questions over the results, and how answers are written.
//!
//! [`compare`] compares A with B by [`bootstrap`], [`question`] has the SQL of each report, [`table`] writes rows as text, CSV, JSON, Markdown, HTML or bars, [`page`] the
//! self-contained HTML report.

#[cfg(feature = "results")]
pub mod bootstrap;
#[cfg(feature = "results")]
pub mod compare;
pub mod page;
#[cfg(feature = "results")]
pub mod question;
#[cfg(feature = "results")]
pub mod table;

#[cfg(feature = "results")]
pub use question::{Filter, Question};
#[cfg(feature = "results")]
pub use table::Format;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("no {what} called `{given}` is in the results; there are: {known}")]
    Unknown {
        what: &'static str,
        given: String,
        known: String,
    },
    #[error("--since takes a date such as 2026-11-30: `{0}`")]
    Since(String),
    #[error("the page could not be made: {0}")]
    Page(String),
}
