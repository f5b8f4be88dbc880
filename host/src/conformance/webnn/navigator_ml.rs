//! A file's cases through `navigator.ml`, as a page calls it: the browser's own (`BROWSER:webnn`), or fewbit's
//! (`fewbit/webnn`) over another back end.

use fewbit_engine::tensor::Tensor;
use fewbit_webnn::DataType;

use super::browser::{STAYS, told};
use super::cases::{Case, Family, Names};
use super::graph::tensor;
use super::run::verdict;
use crate::browser::{BrowserOptions, BrowserRunner, Pages};
use crate::conformance::verdict::{Failure, MOST_TIME, Verdict, wrong};
use crate::job::{MlCall, MlCase, MlInput, NavigatorMlJob, Outcome, TensorData};
use crate::runner::Runner;
use crate::target::{Browser, BrowserBackend};

/// Cases that a page is given at once.
const AT_ONCE: usize = 64;

/// A browser that runs cases by `navigator.ml`. It starts with the first ones.
pub struct NavigatorMl<'p> {
    runner: BrowserRunner<'p>,
    /// How fewbit's `navigator.ml` is to compute; `None` for the browser's own.
    backend: Option<&'static str>,
    missing: Option<Failure>,
}

impl<'p> NavigatorMl<'p> {
    pub fn new(browser: Browser, backend: BrowserBackend, pages: &'p dyn Pages) -> Self {
        NavigatorMl {
            runner: BrowserRunner::new(browser, backend, pages, BrowserOptions::default()),
            backend: (backend != BrowserBackend::Webnn).then(|| backend.name()),
            missing: None,
        }
    }

    /// Runs a family's cases, in order. Should some fail as a whole, each is run once more by itself.
    pub async fn run(&mut self, family: &Family) -> Vec<Verdict> {
        let mut results = Vec::with_capacity(family.cases.len());
        for cases in family.cases.chunks(AT_ONCE) {
            match self.together(cases).await {
                Ok(some) => results.extend(some),
                Err(failure) if self.missing.is_some() => {
                    results.extend(cases.iter().map(|_| Err(failure.clone())));
                }
                Err(_) => {
                    for case in cases {
                        let alone = self.together(std::slice::from_ref(case)).await;
                        results.push(alone.and_then(|mut one| one.pop().unwrap_or(Ok(()))));
                    }
                }
            }
        }
        let verdicts = family.cases.iter().zip(results);
        verdicts
            .map(|(case, result)| verdict(case, result))
            .collect()
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        // It ends either way.
        let _ = self.runner.dispose().await;
    }

    async fn together(&mut self, cases: &[Case]) -> Result<Vec<Result<(), Failure>>, Failure> {
        if let Some(missing) = &self.missing {
            return Err(missing.clone());
        }
        let asked: Result<Vec<MlCase>, Failure> = cases.iter().map(as_job).collect();
        let job = NavigatorMlJob {
            backend: self.backend.map(str::to_owned),
            cases: asked?,
            limit_ms: MOST_TIME.as_millis() as u64,
        };
        let result = self.runner.navigator_ml(job).await;
        let answers = match result {
            Ok(result) => result.runs,
            Err(error) => {
                let failure = (error.outcome, error.message.clone());
                if self.runner.page().is_none() && STAYS.contains(&error.code.as_str()) {
                    self.missing = Some(failure.clone());
                }
                return Err(failure);
            }
        };
        if answers.len() != cases.len() {
            return Err(wrong("the page has not answered every case"));
        }
        let held = cases.iter().zip(answers).map(|(case, mut answer)| {
            if let Some(error) = answer.error {
                let outcome = match error.code.as_str() {
                    "unsupported" => Outcome::Unsupported,
                    _ => Outcome::Error,
                };
                return Err((outcome, error.message));
            }
            for (name, data) in &case.graph.expected_outputs {
                let expected = tensor(name, data)?;
                let got = answer.outputs.remove(name);
                let got =
                    got.ok_or_else(|| wrong(format!("{name}: the page gave no such output")))?;
                let got = as_tensor(&got).map_err(|told| wrong(format!("{name}: {told}")))?;
                if let Some(difference) = case.tolerance.difference(&got, &expected) {
                    return Err((Outcome::Mismatch, format!("{name}: {difference}")));
                }
            }
            Ok(())
        });
        Ok(held.collect())
    }
}

fn as_job(case: &Case) -> Result<MlCase, Failure> {
    let mut inputs = std::collections::BTreeMap::new();
    for (name, data) in &case.graph.inputs {
        let tensor = tensor(name, data)?;
        let input = MlInput {
            data_type: data.descriptor.data_type.clone(),
            shape: tensor.shape().to_vec(),
            data: told(&tensor).to_vec(),
            constant: data.constant,
        };
        inputs.insert(name.clone(), input);
    }
    let calls = case.graph.operators.iter().map(|operator| MlCall {
        name: operator.name.clone(),
        arguments: operator.arguments.clone(),
        outputs: match &operator.outputs {
            Names::One(name) => name.as_str().into(),
            Names::Many(names) => names.clone().into(),
        },
    });
    Ok(MlCase {
        inputs,
        operators: calls.collect(),
        outputs: case.graph.expected_outputs.keys().cloned().collect(),
    })
}

fn as_tensor(data: &TensorData) -> Result<Tensor, String> {
    let data_type = DataType::named(&data.data_type);
    let data_type = data_type.ok_or_else(|| format!("of {}", data.data_type))?;
    let bytes = match data.data.len() == data_type.bytes() {
        true => data.data.repeat(data.shape.iter().product()),
        false => data.data.clone(),
    };
    Tensor::from_bytes(data_type.engine(), &data.shape, &bytes).map_err(|e| e.to_string())
}
