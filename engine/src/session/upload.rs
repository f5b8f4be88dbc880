//! Streams weights from files to a back end, a chunk at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{OnUpload, SessionError, UploadProgress, WeightSource};
use crate::backend::{Backend, WeightId, WeightUse};
use crate::format::TensorEntry;
use crate::graph::{Graph, Op, ValueId};

/// What is in memory of a file at a time. Smaller than the design's 32 MiB: wasm memory never shrinks.
const CHUNK_BYTES: usize = 4 << 20;

pub(super) struct Weights {
    pub(super) ids: BTreeMap<String, WeightId>,
}

/// Uploads every weight that one of `parts` names, once and in the order of the files so that reading is sequential.
pub(super) async fn upload(
    backend: &mut dyn Backend,
    parts: &[Graph],
    source: &WeightSource,
    on_upload: OnUpload<'_>,
) -> Result<Weights, SessionError> {
    // The graph may group a weight's elements in another shape than the file.
    let mut wanted: BTreeMap<&str, (WeightUse, Vec<usize>)> = BTreeMap::new();
    for graph in parts {
        for (id, name, value) in graph.weights() {
            let (usage, shape) = wanted.entry(name).or_default();
            *shape = value.fixed_shape()?;
            note(graph, id, usage);
        }
    }
    let mut order: Vec<(&TensorEntry, WeightUse, Vec<usize>)> = Vec::new();
    for (name, (usage, shape)) in wanted {
        order.push((source.checkpoint.get(name)?, usage, shape));
    }
    order.sort_by_key(|(entry, ..)| (entry.file, entry.offset));
    let total = order.iter().map(|(entry, ..)| entry.bytes).sum();
    let mut done = 0;
    let mut ids = BTreeMap::new();
    let mut buffer = Vec::new();
    for (entry, usage, shape) in order {
        let id = backend.create_weight(&entry.name, entry.element, &shape, usage)?;
        let file = &source.files[entry.file];
        let mut offset = 0;
        while offset < entry.bytes {
            let size = (entry.bytes - offset).min(CHUNK_BYTES as u64);
            buffer.resize(size as usize, 0);
            file.read_at(entry.offset + offset, &mut buffer).await?;
            backend.write_weight(id, offset, &buffer)?;
            offset += size;
            done += size;
            if let ControlFlow::Break(()) = on_upload(UploadProgress { done, total }) {
                return Err(SessionError::Aborted);
            }
        }
        backend.finish_weight(id)?;
        ids.insert(entry.name.clone(), id);
    }
    Ok(Weights { ids })
}

/// Adds to `usage` what a graph does with a weight.
fn note(graph: &Graph, weight: ValueId, usage: &mut WeightUse) {
    for node in &graph.nodes {
        for (at, _) in node
            .inputs
            .iter()
            .enumerate()
            .filter(|(_, id)| **id == weight)
        {
            match (&node.op, at) {
                (Op::BlockMatmul { .. }, 1) => usage.matmul = true,
                (Op::Gather { axis: 0, .. }, 0) => usage.gather = true,
                (Op::Conv2d(conv), 1) if usage.filter.is_none_or(|n| n == conv.groups) => {
                    usage.filter = Some(conv.groups);
                }
                _ => usage.plain = true,
            }
        }
    }
}
