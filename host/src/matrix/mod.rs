//! Every model on every target: what is to be measured, what of it is known already, and measuring the rest.
//!
//! [`cell`] is what a cell is, [`subject`] a model of the matrix, [`sources`] which source files a cell's numbers hang on,
//! [`depends`] all that they hang on, [`known`] what the results say, [`plan`] what is to run and in which order,
//! [`settings`] profiles, priorities and expectations (`matrix.json`), [`child`] the process that measures, [`run`] the
//! run.

pub mod cell;
pub mod child;
pub mod depends;
pub mod design;
pub mod known;
pub mod plan;
pub mod run;
pub mod settings;
pub mod sources;
pub mod subject;
