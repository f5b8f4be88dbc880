//! A file's cases on a `BROWSER:BACKEND` target: as one graph in the host's runner page, in a worker of their own.

use fewbit_engine::format::Checkpoint;
use fewbit_engine::model::{BuiltModel, Feedforward, GRAPH, ModelKind};
use fewbit_engine::session::WeightSource;
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel};
use fewbit_engine::tensor::{DataType, Tensor};

use super::cases::{Case, Family};
use super::graph::{Prepared, merged, numbered};
use super::run::{compare, prepare_all, verdict};
use crate::browser::{BrowserOptions, BrowserRunner, Pages};
use crate::conformance::verdict::{Failure, MOST_TIME, Verdict, wrong};
use crate::job::{GraphJob, GraphRun, RunError, TensorData};
use crate::runner::Runner;
use crate::target::{Browser, BrowserBackend};

/// A browser that runs cases. It starts with the first ones.
pub struct BrowserCases<'p> {
    runner: BrowserRunner<'p>,
    backend: BrowserBackend,
    /// Why the browser cannot be had: no case is asked of it then.
    missing: Option<Failure>,
}

impl<'p> BrowserCases<'p> {
    pub fn new(browser: Browser, backend: BrowserBackend, pages: &'p dyn Pages) -> Self {
        BrowserCases {
            runner: BrowserRunner::new(browser, backend, pages, BrowserOptions::default()),
            backend,
            missing: None,
        }
    }

    /// Runs a family's cases, in order. Should they fail as a whole, each is run once more by itself.
    pub async fn run(&mut self, family: &Family) -> Vec<Verdict> {
        let results = match self.together(&family.cases).await {
            Ok(results) => results,
            Err(failure) if self.missing.is_some() => {
                family.cases.iter().map(|_| Err(failure.clone())).collect()
            }
            Err(_) => {
                let mut results = Vec::new();
                for case in &family.cases {
                    let alone = self.together(std::slice::from_ref(case)).await;
                    results.push(alone.and_then(|mut one| one.pop().unwrap_or(Ok(()))));
                }
                results
            }
        };
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
        let (mut results, prepared) = prepare_all(cases, self.backend == BrowserBackend::Webgpu);
        if prepared.is_empty() {
            return Ok(results);
        }
        let graphs: Vec<_> = prepared
            .iter()
            .map(|(at, ready)| (*at, &ready.graph))
            .collect();
        let model = OpenModel {
            built: BuiltModel {
                architecture: GRAPH,
                graph: merged(&graphs).map_err(wrong)?,
                kind: ModelKind::Feedforward(Feedforward::default()),
            },
            source: WeightSource {
                checkpoint: Checkpoint::default(),
                files: Vec::new(),
            },
            gguf: None,
        };
        let model = model
            .to_bytes(&ModelFiles::default())
            .await
            .map_err(wrong)?;
        let job = GraphJob {
            backend: self.backend.name().to_owned(),
            model,
            runs: prepared
                .iter()
                .map(|(at, ready)| graph_run(*at, ready))
                .collect(),
            limit_ms: MOST_TIME.as_millis() as u64,
        };
        let result = self.runner.graph(job).await;
        if self.runner.page().is_none()
            && let Err(error) = &result
            && STAYS.contains(&error.code.as_str())
        {
            self.missing = Some(failure(error));
        }
        let answers = result.map_err(|error| failure(&error))?.runs;
        if answers.len() != prepared.len() {
            return Err(wrong("the page has not answered every run"));
        }
        for ((at, ready), answer) in prepared.iter().zip(answers) {
            results[*at] = match answer.error {
                Some(error) => Err(failure(&error.into())),
                None => {
                    let mut outputs = answer.outputs;
                    let names = ready.expected.iter().map(|(name, _)| numbered(*at, name));
                    let got: Result<Vec<Tensor>, Failure> = names
                        .map(|name| output(outputs.remove(&name), &name))
                        .collect();
                    got.and_then(|got| compare(&cases[*at], ready, &got))
                }
            };
        }
        Ok(results)
    }
}

fn graph_run(at: usize, ready: &Prepared) -> GraphRun {
    let inputs = ready.inputs.iter().map(|(name, tensor)| {
        let tensor = TensorData {
            data_type: tensor.data_type().name().to_owned(),
            shape: tensor.shape().to_vec(),
            data: told(tensor).to_vec(),
        };
        (numbered(at, name), tensor)
    });
    let outputs = ready.expected.iter().map(|(name, _)| numbered(at, name));
    GraphRun {
        inputs: inputs.collect(),
        outputs: outputs.collect(),
    }
}

/// A tensor's bytes, of a large one whose elements are all the same those of the first.
pub(super) fn told(tensor: &Tensor) -> &[u8] {
    const LARGE: usize = 1 << 20;
    let (first, rest) = tensor
        .bytes()
        .split_at(tensor.data_type().bytes().min(tensor.bytes().len()));
    let same = tensor.bytes().len() > LARGE && rest.chunks_exact(first.len()).all(|x| x == first);
    if same { first } else { tensor.bytes() }
}

/// Errors of a browser that another try would give again.
pub(super) const STAYS: [&str; 4] = ["no_browser", "no_feature", "no_session", "not_built"];

fn failure(error: &RunError) -> Failure {
    (error.outcome, error.message.clone())
}

fn output(data: Option<TensorData>, name: &str) -> Result<Tensor, Failure> {
    let data = data.ok_or_else(|| wrong(format!("{name}: the page gave no such output")))?;
    let data_type = DataType::named(&data.data_type);
    let data_type = data_type.ok_or_else(|| wrong(format!("{name}: of {}", data.data_type)))?;
    let count = data.shape.iter().product::<usize>();
    let bytes = match data.data.len() == data_type.bytes() {
        true => data.data.repeat(count),
        false => data.data,
    };
    Tensor::from_bytes(data_type, &data.shape, &bytes).map_err(|e| wrong(format!("{name}: {e}")))
}
