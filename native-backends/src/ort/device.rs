//! A provider as a device of the engine, held against a graph of one operator before anything is uploaded.

use fewbit_engine::backend::{Backend, BackendError, Device};
use fewbit_engine::graph::op::Unary;
use fewbit_engine::graph::{Dim, GraphBuilder};
use fewbit_engine::source::LocalFuture;
use fewbit_engine::tensor::{DataType, Tensor};
use std::collections::BTreeMap;

use super::backend::OrtBackend;
use super::library::Library;
use super::provider::Provider;

/// An execution provider of the library that this process holds.
pub struct OrtDevice {
    provider: Provider,
    threads: Option<usize>,
    symbols: bool,
}

impl OrtDevice {
    /// With so many threads where the provider computes on the CPU; all of the machine's without a number.
    pub fn new(provider: Provider, threads: Option<usize>) -> OrtDevice {
        OrtDevice {
            provider,
            threads,
            symbols: provider.takes_symbols(),
        }
    }

    /// With a session for each set of sizes, as all but the CPU's and OpenVINO's have it in any case.
    pub fn with_sizes(self) -> OrtDevice {
        OrtDevice {
            symbols: false,
            ..self
        }
    }
}

impl Device for OrtDevice {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        Box::pin(async move {
            let library = Library::held().ok_or_else(|| {
                BackendError::Unavailable("no ONNX Runtime is loaded in this process".into())
            })?;
            let mut backend = OrtBackend::new(library, self.provider, self.symbols, self.threads)?;
            try_out(&mut backend).await.map_err(|error| match error {
                BackendError::Unavailable(_) => error,
                other => BackendError::Unavailable(format!("a first graph: {other}")),
            })?;
            Ok(Box::new(backend) as Box<dyn Backend>)
        })
    }
}

/// Runs one operator.
async fn try_out(backend: &mut OrtBackend) -> Result<(), BackendError> {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, vec![Dim::from(4)])?;
    let y = b.unary(Unary::Abs, x)?;
    b.output("y", y)?;
    let graph = b.finish();
    let (weights, states) = (BTreeMap::new(), BTreeMap::new());
    let plan = backend.compile(&graph, &weights, &states).await?;
    let x = Tensor::from_f32(&[4], &[-1.0, 2.0, -0.5, 0.0])?;
    let made = backend.run(plan, &[("x", &x)], &["y"]).await?;
    backend.drop_plan(plan);
    let made = made.first().map(Tensor::as_f32).transpose()?;
    match made {
        Some([1.0, 2.0, 0.5, 0.0]) => Ok(()),
        other => Err(BackendError::Unavailable(format!(
            "the provider computes {other:?} where |x| is [1.0, 2.0, 0.5, 0.0]"
        ))),
    }
}
