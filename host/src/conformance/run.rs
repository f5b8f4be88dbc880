//! One case on one of the engine's own back ends, in this process.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;

use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::graph::pass::prune;
use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::Tensor;
use fewbit_onnx::{OnnxFile, OnnxSession, RunError, interface};

use fewbit_native_backends::NativeTarget;

use super::cases::Case;
use super::data::{DataSet, data_sets, tolerance};
use super::verdict::{Failure, MOST_TIME, Verdict, of_import, of_session, wrong};
use crate::job::Outcome;

/// All values of a case's graph together have at most so many bytes.
const MOST_BYTES: usize = 512 << 20;

/// Runs a case on a target and compares every output with the expected one.
pub fn run(case: Case, target: NativeTarget) -> Verdict {
    let file = format!("{}/model.onnx", case.name);
    let model = case.files.get("model.onnx").map_or(&[][..], Vec::as_slice);
    let operators = match interface(model, &file) {
        Ok(interface) => interface.operators,
        Err(error) => return verdict(Vec::new(), Err(of_import(&error))),
    };
    let (told, hear) = mpsc::channel();
    let work = std::thread::Builder::new().spawn(move || {
        // Nobody listens any more after the limit.
        let _ = told.send(compute(&case, &file, target));
    });
    let result = match (work, hear.recv_timeout(MOST_TIME)) {
        (Err(error), _) => Err((Outcome::Error, format!("no thread: {error}"))),
        (_, Ok(result)) => result,
        (_, Err(mpsc::RecvTimeoutError::Timeout)) => {
            Err((Outcome::Error, format!("took more than {MOST_TIME:?}")))
        }
        (_, Err(mpsc::RecvTimeoutError::Disconnected)) => {
            Err((Outcome::Error, "panicked".to_owned()))
        }
    };
    verdict(operators, result)
}

fn verdict(operators: Vec<String>, result: Result<usize, Failure>) -> Verdict {
    let (outcome, reason, nodes) = match result {
        Ok(nodes) => (Outcome::Pass, None, Some(nodes)),
        Err((outcome, reason)) => (outcome, Some(reason), None),
    };
    Verdict {
        outcome,
        reason,
        operators,
        nodes,
    }
}

fn of_run(error: &RunError) -> Failure {
    match error {
        RunError::Import(error) => of_import(error),
        RunError::Session(error) => of_session(error),
    }
}

/// How many nodes ran, where every output is the expected one. All data sets run in one session.
fn compute(case: &Case, file: &str, target: NativeTarget) -> Result<usize, Failure> {
    let tolerance = tolerance(case)?;
    let model = case.files.get("model.onnx").map_or(&[][..], Vec::as_slice);
    let interface = interface(model, file).map_err(|e| of_import(&e))?;
    let (mut nodes, mut session) = (0, None);
    for set in data_sets(case, &interface)? {
        let session = match &mut session {
            Some(session) => session,
            none => none.insert(opened(model, file, &set, target)?),
        };
        nodes = pollster::block_on(async {
            let graph = session.graph(&set.inputs).await.map_err(|e| of_run(&e))?;
            let graph = prune(graph);
            small(&graph, &bindings(&graph, &set.inputs))?;
            let names: Vec<&str> = set.expected.iter().map(|(n, _)| n.as_str()).collect();
            let got = session.run(&set.inputs, &names).await;
            set.compare(&got.map_err(|e| of_run(&e))?, tolerance)?;
            Ok::<_, Failure>(graph.nodes.len())
        })?;
    }
    Ok(nodes)
}

fn opened(
    model: &[u8],
    file: &str,
    set: &DataSet,
    target: NativeTarget,
) -> Result<OnnxSession, Failure> {
    let Some(device) = target.device(NumericPolicy::default(), Some(1)) else {
        let reason = format!("native:{} is not built in", target.name());
        return Err((Outcome::Unavailable, reason));
    };
    pollster::block_on(async {
        let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new(file, model.to_vec()));
        let files = ModelFiles::new(vec![source]);
        let file = OnnxFile::open(&files, file)
            .await
            .map_err(|e| of_import(&e))?;
        let session = OnnxSession::open(device, file, &set.inputs).await;
        session.map_err(|e| of_run(&e))
    })
}

/// What the inputs' sizes make of the graph's symbols.
fn bindings(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Bindings {
    let mut bindings = Bindings::new();
    for &id in &graph.inputs {
        let value = graph.value(id);
        if let fewbit_engine::graph::Source::Input(name) = &value.source
            && let Some(tensor) = inputs.get(name.as_str())
        {
            for (dim, &size) in value.shape.iter().zip(tensor.shape()) {
                if let Some(symbol) = dim.as_symbol() {
                    bindings.insert(symbol.to_owned(), size);
                }
            }
        }
    }
    bindings
}

/// Refuses a graph whose values would not fit.
fn small(graph: &Graph, bindings: &Bindings) -> Result<(), Failure> {
    let graph = graph.specialize(bindings).map_err(wrong)?;
    let mut total = 0usize;
    for value in &graph.values {
        let shape = value.fixed_shape().map_err(wrong)?;
        let bytes = value.element.byte_len(&shape).unwrap_or(usize::MAX);
        total = total.saturating_add(bytes);
    }
    if total > MOST_BYTES {
        let reason = format!("its values have {total} bytes, more than {MOST_BYTES}");
        return Err((Outcome::Unsupported, reason));
    }
    Ok(())
}
