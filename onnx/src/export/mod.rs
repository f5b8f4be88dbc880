//! From a graph to an ONNX file.

mod elementwise;
mod error;
mod movement;
mod operators;
mod products;
mod reductions;
mod states;
mod weights;
mod windows;
mod writer;

pub use error::ExportError;

use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::pass::fold_constants;
use fewbit_engine::graph::{Graph, Op, Source, ValueId};
use fewbit_engine::session::WeightSource;
use prost::Message;

use crate::proto::{IR_VERSION, ModelProto, OPSET, OperatorSetIdProto};
use writer::Writer;

/// Writes a graph without symbols as an ONNX model, with the weights that it names read from `source`.
///
/// Inputs and outputs keep their names, types and shapes; each state becomes an output of its name and shape. Weights of
/// 16-bit floats and of block formats are initializers in f32, under their names in the checkpoint. Composites that ONNX
/// has no operator for are decomposed.
///
/// WebNN and ONNX agree on what the operators compute but for one thing: an index of `gather` that is outside of the axis
/// is clamped there and an error here.
///
/// # Errors
/// An operator that is not exported yet, or a state that is not only filled from its beginning to its end, by name; a
/// symbol that is left; weights that cannot be read, or of more than 2 GiB.
pub async fn export(graph: &Graph, source: &WeightSource) -> Result<Vec<u8>, ExportError> {
    // Where in a state is written is known only once constants are.
    let graph = states::as_outputs(&fold_constants(graph)?)?;
    let graph = decompose(&graph, |op, _| is_direct(op))?;
    let mut writer = Writer::new(&graph)?;
    for node in &graph.nodes {
        operators::write(&mut writer, node)?;
    }
    let graph = writer.finish(source).await?;
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        producer_name: Some("fewbit".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(graph),
    };
    Ok(model.encode_to_vec())
}

/// Composites that are written as they are.
fn is_direct(op: &Op) -> bool {
    matches!(op, Op::BlockMatmul { .. } | Op::Gather { .. })
}

/// Whether a value is a weight, whose initializer is in f32 whatever the checkpoint has.
fn is_weight(graph: &Graph, id: ValueId) -> bool {
    matches!(graph.value(id).source, Source::Weight(_))
}
