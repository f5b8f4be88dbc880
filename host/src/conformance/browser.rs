//! Cases on a `BROWSER:BACKEND` target: in the host's runner page, each in a worker of its own, so that one that traps or
//! hangs leaves the others alone.

use std::collections::BTreeMap;
use std::time::Duration;

use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::interface;

use super::cases::Case;
use super::data::{DataSet, data_sets, tolerance};
use super::verdict::{Failure, MOST_TIME, Verdict, of_import, wrong};
use crate::browser::{BrowserOptions, BrowserRunner, Pages};
use crate::job::{OnnxJob, Outcome, RunError, TensorData};
use crate::runner::Runner;
use crate::target::{Browser, BrowserBackend};

/// A browser that runs cases. It starts with the first one.
pub struct BrowserCases<'p> {
    runner: BrowserRunner<'p>,
    backend: BrowserBackend,
    limit: Duration,
    /// Why the browser cannot be had: no case is asked of it then.
    missing: Option<Failure>,
}

impl<'p> BrowserCases<'p> {
    pub fn new(browser: Browser, backend: BrowserBackend, pages: &'p dyn Pages) -> Self {
        BrowserCases {
            runner: BrowserRunner::new(browser, backend, pages, BrowserOptions::default()),
            backend,
            limit: MOST_TIME,
            missing: None,
        }
    }

    /// With another limit for the time that a case takes.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs a case and compares every output with the expected one.
    pub async fn run(&mut self, case: &Case) -> Verdict {
        let file = format!("{}/model.onnx", case.name);
        let model = case.files.get("model.onnx").map_or(&[][..], Vec::as_slice);
        let interface = match interface(model, &file) {
            Ok(interface) => interface,
            Err(error) => return verdict(Vec::new(), Err(of_import(&error))),
        };
        let result = match (data_sets(case, &interface), tolerance(case)) {
            (Ok(sets), Ok(tolerance)) => {
                let mut result = Ok(());
                for set in sets {
                    let got = self.outputs(model, &set).await;
                    result = got.and_then(|got| set.compare(&got, tolerance));
                    if result.is_err() {
                        break;
                    }
                }
                result
            }
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        verdict(interface.operators, result)
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        // It ends either way.
        let _ = self.runner.dispose().await;
    }

    async fn outputs(&mut self, model: &[u8], set: &DataSet) -> Result<Vec<Tensor>, Failure> {
        if let Some(missing) = &self.missing {
            return Err(missing.clone());
        }
        let inputs = set.inputs.iter().map(|(name, tensor)| {
            let tensor = TensorData {
                data_type: tensor.data_type().name().to_owned(),
                shape: tensor.shape().to_vec(),
                data: tensor.bytes().to_vec(),
            };
            (name.clone(), tensor)
        });
        let job = OnnxJob {
            backend: self.backend.name().to_owned(),
            model: model.to_vec(),
            inputs: inputs.collect(),
            outputs: set.expected.iter().map(|(name, _)| name.clone()).collect(),
            limit_ms: self.limit.as_millis() as u64,
        };
        let result = self.runner.onnx(job).await;
        if self.runner.page().is_none()
            && let Err(error) = &result
            && STAYS.contains(&error.code.as_str())
        {
            self.missing = Some(failure(error));
        }
        let mut outputs = result.map_err(|error| failure(&error))?.outputs;
        let names = set.expected.iter().map(|(name, _)| name);
        names.map(|name| output(&mut outputs, name)).collect()
    }
}

/// What the page computes beforehand it does not tell.
fn verdict(operators: Vec<String>, result: Result<(), Failure>) -> Verdict {
    let (outcome, reason) = match result {
        Ok(()) => (Outcome::Pass, None),
        Err((outcome, reason)) => (outcome, Some(reason)),
    };
    Verdict {
        outcome,
        reason,
        operators,
        nodes: None,
    }
}

/// Errors of a browser that another try would give again.
const STAYS: [&str; 4] = ["no_browser", "no_feature", "no_session", "not_built"];

fn failure(error: &RunError) -> Failure {
    (error.outcome, error.message.clone())
}

fn output(outputs: &mut BTreeMap<String, TensorData>, name: &str) -> Result<Tensor, Failure> {
    let Some(data) = outputs.remove(name) else {
        return Err(wrong(format!("{name}: the page gave no such output")));
    };
    let data_type = DataType::named(&data.data_type);
    let data_type = data_type.ok_or_else(|| wrong(format!("{name}: of {}", data.data_type)))?;
    Tensor::from_bytes(data_type, &data.shape, &data.data)
        .map_err(|e| wrong(format!("{name}: {e}")))
}
