//! A file's cases on one of the engine's own back ends, in this process, over one device.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc;

use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::format::Checkpoint;
use fewbit_engine::graph::Bindings;
use fewbit_engine::session::{Session, WeightSource};
use fewbit_engine::tensor::Tensor;
use fewbit_native_backends::NativeTarget;
use fewbit_webnn::pairs;

use super::cases::{Case, Family};
use super::graph::{Prepared, merged, numbered, prepare};
use crate::conformance::verdict::{Failure, MOST_TIME, Verdict, of_session, wrong};
use crate::job::Outcome;

/// Runs a family's cases, in order, and compares their outputs. A case that panics or hangs takes the others of its
/// file along: those are run once more, each by itself.
pub fn run(family: &Family, target: NativeTarget) -> Vec<Verdict> {
    let together = on_thread(family.cases.clone(), target);
    let results = match together {
        Ok(results) => results,
        Err(_) => {
            let alone = |case: &Case| match on_thread(vec![case.clone()], target) {
                Ok(results) => results.into_iter().next().unwrap_or(Ok(())),
                Err(failure) => Err(failure),
            };
            family.cases.iter().map(alone).collect()
        }
    };
    let verdicts = family.cases.iter().zip(results);
    verdicts
        .map(|(case, result)| verdict(case, result))
        .collect()
}

pub(super) fn verdict(case: &Case, result: Result<(), Failure>) -> Verdict {
    let (outcome, reason) = match result {
        Ok(()) => (Outcome::Pass, None),
        Err((outcome, reason)) => (outcome, Some(reason)),
    };
    Verdict {
        outcome,
        reason,
        operators: case.operators(),
        nodes: None,
    }
}

type Results = Vec<Result<(), Failure>>;

fn on_thread(cases: Vec<Case>, target: NativeTarget) -> Result<Results, Failure> {
    let (told, hear) = mpsc::channel();
    let work = std::thread::Builder::new().spawn(move || {
        // Nobody listens any more after the limit.
        let _ = told.send(compute(&cases, target));
    });
    work.map_err(|error| wrong(format!("no thread: {error}")))?;
    match hear.recv_timeout(MOST_TIME) {
        Ok(results) => results,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(wrong(format!("took more than {MOST_TIME:?}"))),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(wrong("panicked")),
    }
}

/// Prepares cases; those that cannot be have their verdict at once.
pub(super) fn prepare_all(cases: &[Case], in_pairs: bool) -> (Results, Vec<(usize, Prepared)>) {
    let mut results = Vec::with_capacity(cases.len());
    let mut prepared = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        match prepare(case, in_pairs) {
            Ok(ready) => {
                prepared.push((at, ready));
                results.push(Ok(()));
            }
            Err(failure) => results.push(Err(failure)),
        }
    }
    (results, prepared)
}

fn compute(cases: &[Case], target: NativeTarget) -> Result<Results, Failure> {
    let (mut results, prepared) = prepare_all(cases, target == NativeTarget::Wgpu);
    let graphs: Vec<_> = prepared
        .iter()
        .map(|(at, ready)| (*at, &ready.graph))
        .collect();
    let graph = merged(&graphs).map_err(wrong)?;
    let Some(device) = target.device(NumericPolicy::default(), Some(1)) else {
        let reason = format!("native:{} is not built in", target.name());
        return Err((Outcome::Unavailable, reason));
    };
    let source = WeightSource {
        checkpoint: Checkpoint::default(),
        files: Vec::new(),
    };
    let mut go_on = |_| ControlFlow::Continue(());
    let session = Session::open(device, graph, source, &mut go_on);
    let mut session = pollster::block_on(session).map_err(|e| of_session(&e))?;
    let bindings = Bindings::new();
    for (at, ready) in &prepared {
        let inputs: BTreeMap<String, &Tensor> = ready
            .inputs
            .iter()
            .map(|(name, tensor)| (numbered(*at, name), tensor))
            .collect();
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        let names: Vec<String> = ready
            .expected
            .iter()
            .map(|(name, _)| numbered(*at, name))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let run = session.run(&bindings, &inputs, &names);
        let got = pollster::block_on(run).map_err(|e| of_session(&e));
        results[*at] = got.and_then(|got| compare(&cases[*at], ready, &got));
    }
    Ok(results)
}

/// Holds what came out against what is expected.
pub(super) fn compare(case: &Case, ready: &Prepared, got: &[Tensor]) -> Result<(), Failure> {
    for ((name, expected), got) in ready.expected.iter().zip(got) {
        let got = pairs::from_words(got, expected.data_type()).map_err(wrong)?;
        if let Some(difference) = case.tolerance.difference(&got, expected) {
            return Err((Outcome::Mismatch, format!("{name}: {difference}")));
        }
    }
    Ok(())
}
