//! Whether a target computes what it should: a folder's reference tensors, or what is known of a model of the manifest.

pub mod compare;
pub mod folder;
pub mod known;

pub use compare::{Difference, Tolerance};

use crate::job::RunError;
use crate::results::record::TensorRow;
use crate::runner::Runner;

/// What a check found, one row a tensor (or list of ids).
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub rows: Vec<TensorRow>,
}

impl Findings {
    /// Whether there was something to compare and all of it held.
    pub fn hold(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.holds)
    }

    /// The largest error over all rows that have one.
    pub fn max_abs(&self) -> Option<f64> {
        largest(self.rows.iter().map(|row| row.max_abs))
    }

    pub fn max_rel(&self) -> Option<f64> {
        largest(self.rows.iter().map(|row| row.max_rel))
    }
}

fn largest(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().fold(None, |most, x| match most {
        Some(most) if most >= x || f64::is_nan(most) => Some(most),
        _ => Some(x),
    })
}

/// Something that a loaded model can be held against.
pub enum Reference {
    Folder(Box<folder::FolderReference>),
    Known(known::KnownReference),
}

impl Reference {
    /// Runs the loaded model and compares. `activations` is what the load said.
    ///
    /// # Errors
    /// When the target cannot run it; wrong numbers are findings.
    pub async fn check(
        &self,
        runner: &mut dyn Runner,
        activations: Option<&str>,
    ) -> Result<Findings, RunError> {
        match self {
            Reference::Folder(reference) => reference.check(runner).await,
            Reference::Known(reference) => reference.check(runner, activations).await,
        }
    }
}
