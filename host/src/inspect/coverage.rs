//! Which targets would run a model's graphs: each back end is asked about every operator, as a session asks it.

use std::collections::BTreeSet;
use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Backend, BackendError, Device, NumericPolicy};
use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::{Bindings, Graph, GraphError};
use fewbit_engine::model::ModelKind;
use fewbit_engine::tensor::ElementType;
use fewbit_native_backends::NativeTarget;
use serde::Serialize;

use super::browsers::Wants;
use super::needs::Needs;
use super::webnn;
use crate::target::{BrowserBackend, NativeBackend, Target};

/// Whether a target would run a model.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    pub target: String,
    pub outcome: Claim,
    /// The operators that it lacks, by name.
    pub missing: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    Supported,
    Unsupported,
    /// The back end cannot be asked here.
    Unavailable,
}

/// Sizes for the symbols of a graph, as in a run with one text, picture or sound of a usual size.
pub fn usual_sizes(graph: &Graph, kind: Option<&ModelKind>) -> Bindings {
    let context = match kind {
        Some(ModelKind::CausalLm(model)) => model.context_length,
        Some(ModelKind::EncoderDecoder(parts)) => parts.decoder.context_length,
        _ => TOKENS,
    };
    let limit = |name: &str| match kind {
        Some(ModelKind::Feedforward(model)) => model.limit(name).unwrap_or(usize::MAX),
        Some(ModelKind::Encoder(model)) if name == "tokens" => model.max_tokens,
        _ => usize::MAX,
    };
    let size = |name: &str| match name {
        "batch" | "images" | "texts" | "sounds" | "rows" => 1,
        "positions" => TOKENS.min(limit("tokens")),
        "capacity" => context,
        "height" | "width" => 256,
        "samples" => 16_000,
        "frames" => 1_000,
        _ => TOKENS,
    };
    let symbols = graph.symbols().into_iter();
    symbols
        .map(|name| (name.clone(), size(&name).min(limit(&name))))
        .collect()
}

/// Tokens of a run: the largest chunk of a prefill.
const TOKENS: usize = fewbit_engine::model::MAX_CHUNK;

/// Asks every back end about the graphs of a model, each with its sizes; a browser's are the native ones, with less of
/// what `needs` may say is too much.
pub fn coverage(parts: &[(&Graph, Bindings)], needs: Option<&Needs>) -> Vec<Coverage> {
    let cpu = asked(cpu(), parts);
    let gpu = asked(gpu(), parts);
    let webnn = webnn::coverage(parts);
    let exported = exported(parts);
    // Sizes that do not fit are told by the back ends.
    let wants = Wants::of(parts, needs).unwrap_or_default();
    let of = |target: Target| match target {
        Target::Native(backend) => Coverage {
            target: target.to_string(),
            ..match backend {
                NativeBackend::Cpu => cpu.clone(),
                NativeBackend::Wgpu => gpu.clone(),
                _ => exported.clone(),
            }
        },
        Target::Browser(browser, backend) => {
            let native = match backend {
                BrowserBackend::Wasm => &cpu,
                BrowserBackend::Webgpu => &gpu,
                BrowserBackend::Webnn => &webnn,
                // Whatever WebNN refuses.
                BrowserBackend::WebnnWasm => &cpu,
            };
            wants.claim(browser, backend, native)
        }
    };
    let mut all: Vec<Coverage> = Target::all().into_iter().map(of).collect();
    all.push(exported);
    all
}

/// What ONNX Runtime is given: the graphs as ONNX files.
fn exported(parts: &[(&Graph, Bindings)]) -> Coverage {
    let refused = parts
        .iter()
        .find_map(|(graph, _)| fewbit_onnx::prepare(graph).err());
    let missing = match &refused {
        Some(fewbit_onnx::ExportError::Operator { op, .. }) => vec![(*op).to_owned()],
        _ => Vec::new(),
    };
    Coverage {
        target: "onnx".into(),
        outcome: if refused.is_none() {
            Claim::Supported
        } else {
            Claim::Unsupported
        },
        missing,
        reason: refused.map(|error| error.to_string()),
    }
}

fn asked(
    backend: Result<Box<dyn Backend>, BackendError>,
    parts: &[(&Graph, Bindings)],
) -> Coverage {
    let answer = |outcome, missing, reason| Coverage {
        target: String::new(),
        outcome,
        missing,
        reason,
    };
    let backend = match backend {
        Ok(backend) => backend,
        Err(error) => return answer(Claim::Unavailable, Vec::new(), Some(error.to_string())),
    };
    let mut missing = BTreeSet::new();
    for (graph, sizes) in parts {
        match lacks(backend.as_ref(), graph, sizes) {
            Ok(found) => missing.extend(found),
            Err(error) => {
                return answer(Claim::Unsupported, Vec::new(), Some(error.to_string()));
            }
        }
    }
    match missing.is_empty() {
        true => answer(Claim::Supported, Vec::new(), None),
        false => answer(Claim::Unsupported, missing.into_iter().collect(), None),
    }
}

/// The operators of a graph that a back end neither claims nor gets decomposed.
fn lacks(
    backend: &dyn Backend,
    graph: &Graph,
    sizes: &Bindings,
) -> Result<Vec<String>, GraphError> {
    let fixed = graph.specialize(sizes)?;
    let decomposed = decompose(&fixed, |op, elements| backend.supports(op, elements))?;
    let mut found = Vec::new();
    for node in &decomposed.nodes {
        let inputs = node.inputs.iter().map(|&id| decomposed.value(id).element);
        let inputs: Vec<ElementType> = inputs.collect();
        if !backend.supports(&node.op, &inputs) {
            let types: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            found.push(format!("{} of {}", node.op.name(), types.join(", ")));
        }
    }
    Ok(found)
}

/// The names of the operators that a graph has on the CPU and on this machine's GPU.
pub fn operators(graph: &Graph, sizes: &Bindings) -> Result<[BTreeSet<String>; 2], GraphError> {
    let names = |graph: &Graph| -> BTreeSet<String> {
        let names = graph.nodes.iter().map(|node| node.op.name());
        names.map(str::to_owned).collect()
    };
    let fixed = graph.specialize(sizes)?;
    let cpu = cpu().map_err(|error| GraphError::Fold(error.to_string()))?;
    let on_cpu = names(&decompose(&fixed, |op, elements| {
        cpu.supports(op, elements)
    })?);
    let on_gpu = match gpu() {
        Ok(gpu) => names(&decompose(&fixed, |op, elements| {
            gpu.supports(op, elements)
        })?),
        Err(_) => {
            let mut all = names(&fixed);
            all.extend(names(&decompose(&fixed, |_, _| false)?));
            all
        }
    };
    Ok([on_cpu, on_gpu])
}

/// The graph as the CPU compiles it.
pub fn on_cpu(graph: &Graph, sizes: &Bindings) -> Result<Graph, GraphError> {
    use fewbit_engine::graph::pass::{fold_constants, fuse_elementwise};
    let backend = cpu().map_err(|error| GraphError::Fold(error.to_string()))?;
    let fixed = graph.specialize(sizes)?;
    let decomposed = decompose(&fixed, |op, elements| backend.supports(op, elements))?;
    fuse_elementwise(&fold_constants(&decomposed)?)
}

fn cpu() -> Result<Box<dyn Backend>, BackendError> {
    let device = CpuDevice::new(CpuOptions {
        policy: NumericPolicy::default(),
        kernels: Kernels::best(),
        parallel: Rc::new(Serial),
    });
    pollster::block_on(device.open())
}

fn gpu() -> Result<Box<dyn Backend>, BackendError> {
    let device = NativeTarget::Wgpu.device(NumericPolicy::default(), None);
    let none = || BackendError::Unavailable("this program was built without native wgpu".into());
    pollster::block_on(device.ok_or_else(none)?.open())
}
