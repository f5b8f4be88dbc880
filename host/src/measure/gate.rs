//! The accuracy gate: a target that computes wrong numbers gets no times.

use crate::job::{Outcome, RunError};
use crate::results::record::Attempt;
use crate::runner::Runner;
use crate::verify::{Findings, Reference};

/// Holds the loaded model against its reference. `false`: no times are kept.
pub(super) async fn hold(
    runner: &mut dyn Runner,
    reference: Option<&Reference>,
    attempt: &mut Attempt,
) -> Result<bool, RunError> {
    let Some(reference) = reference else {
        attempt.outcome = Outcome::Pass;
        attempt.reason = Some("no reference for this model: parity was not checked".into());
        return Ok(true);
    };
    let activations = attempt
        .info
        .as_ref()
        .and_then(|info| info.activations.clone());
    let findings = reference.check(runner, activations.as_deref()).await?;
    attempt.parity_max_abs = findings.max_abs();
    attempt.parity_max_rel = findings.max_rel();
    let holds = findings.hold();
    attempt.outcome = if holds {
        Outcome::Pass
    } else {
        Outcome::Mismatch
    };
    attempt.reason = failed(&findings);
    attempt.tensors = findings.rows;
    Ok(holds)
}

fn failed(findings: &Findings) -> Option<String> {
    let row = findings.rows.iter().find(|row| !row.holds)?;
    let note = row.note.as_deref().unwrap_or("out of tolerance");
    Some(format!("{}: {note}", row.tensor))
}
