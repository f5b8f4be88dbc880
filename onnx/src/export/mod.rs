//! From a graph to an ONNX file.

mod composites;
mod elementwise;
mod error;
mod extensions;
mod file;
mod movement;
mod operators;
mod products;
mod reductions;
mod sizes;
mod states;
mod weights;
mod windows;
mod writer;

pub use error::ExportError;
pub use file::{ExternalData, Prepared};
pub use states::StatePort;
pub use weights::{Initializer, OnExport};

use std::ops::ControlFlow;

use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::pass::fold_constants;
use fewbit_engine::graph::{Graph, Op, Source, ValueId};
use fewbit_engine::session::WeightSource;

use writer::Writer;

/// Writes a graph as an ONNX model of opset 21; no weight is read yet.
///
/// Inputs and outputs keep their names, types and shapes, symbols as the names of dimensions; but inputs of i32, which are ids,
/// masks and places, are i64 in the file, as Transformers.js and Optimum have them. Arithmetic over symbols becomes nodes over
/// inputs' shapes. Weights of 16-bit floats and of block formats are initializers in f32, under their names in the
/// checkpoint. Composites are decomposed. States become inputs and outputs: a decoder's `k.0` is the input
/// `past_key_values.0.key [batch, heads, past, size]` and the output `present.0.key [batch, heads, past+tokens, size]`, and its
/// input `position` is not in the file, as it is the number of tokens in the cache; what an encoder leaves for its decoder in
/// `cross_k.0` is the output `present.0.encoder.key`, and the decoder's input `past_key_values.0.encoder.key`.
///
/// WebNN and ONNX agree on what the operators compute but for one thing: an index of `gather` that is outside of the axis
/// is clamped there and an error here.
///
/// # Errors
/// An operator that is not exported, or a state that is written otherwise than token after token, by name; a symbol that
/// no input's shape tells.
pub fn prepare(graph: &Graph) -> Result<Prepared, ExportError> {
    // Where in a state is written is known only once constants are.
    let given = graph;
    let graph = states::as_outputs(&fold_constants(graph)?)?;
    let graph = decompose(&graph, |op, _| is_direct(op))?;
    let mut writer = Writer::new(&graph)?;
    for node in &graph.nodes {
        operators::write(&mut writer, node)?;
    }
    let mut prepared = writer.finish()?;
    prepared.states = states::ports(given, &prepared.graph);
    Ok(prepared)
}

/// Writes a graph and the weights that it names, read from `source`, as an ONNX model in memory: [`prepare`] and
/// [`Prepared::write`] in one.
///
/// # Errors
/// Those of both.
pub async fn export(graph: &Graph, source: &WeightSource) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    let mut go_on = |_| ControlFlow::Continue(());
    let prepared = prepare(graph)?;
    prepared.write(source, &mut bytes, None, &mut go_on).await?;
    Ok(bytes)
}

/// Composites whose decomposition is here, as it may be over sizes that only a run knows.
fn is_direct(op: &Op) -> bool {
    !matches!(op, Op::Fused(_) | Op::RmsNormalization { .. })
}

/// Whether a value is a weight, whose initializer is in f32 whatever the checkpoint has.
fn is_weight(graph: &Graph, id: ValueId) -> bool {
    matches!(graph.value(id).source, Source::Weight(_))
}
