//! Streams weights from files to a back end, a chunk at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::made::Made;
use super::{OnUpload, SessionError, UploadProgress, WeightSource};
use crate::backend::{Backend, WeightId, WeightUse};
use crate::format::TensorEntry;
use crate::graph::{Graph, Op, ValueId};
use crate::tensor::ElementType;

/// What is in memory of a file at a time. Smaller than the design's 32 MiB: wasm memory never shrinks.
const CHUNK_BYTES: usize = 4 << 20;

/// The weights that a back end has, by name.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) ids: BTreeMap<String, WeightId>,
    uses: BTreeMap<String, WeightUse>,
}

impl Weights {
    /// Gives back those that are there for less than `parts` do with them, which [`upload`] then brings again: plans over
    /// them must be dropped first. Whether there were any.
    pub(super) fn drop_too_narrow(&mut self, backend: &mut dyn Backend, part: &Graph) -> bool {
        let mut wanted: BTreeMap<&str, WeightUse> = BTreeMap::new();
        for (id, name, _) in part.weights() {
            let known = self.uses.get(name).copied().unwrap_or_default();
            note(part, id, wanted.entry(name).or_insert(known));
        }
        let mut dropped = false;
        for (name, usage) in wanted {
            if let Some(own) = self.uses.get_mut(name)
                && *own != usage
            {
                *own = usage;
                if let Some(id) = self.ids.remove(name) {
                    backend.drop_weight(id);
                    dropped = true;
                }
            }
        }
        dropped
    }
}

/// Uploads every weight that one of `parts` names and that is not in `weights`, once and in the order of the files so that
/// reading is sequential; then those that are `made`, one by one.
pub(super) async fn upload(
    backend: &mut dyn Backend,
    parts: impl Iterator<Item = &Graph>,
    made: &[Made],
    source: &WeightSource,
    weights: &mut Weights,
    on_upload: OnUpload<'_>,
) -> Result<(), SessionError> {
    // The graph may group a weight's elements in another shape than the file.
    let mut wanted: BTreeMap<&str, (WeightUse, Vec<usize>)> = BTreeMap::new();
    for graph in parts {
        for (id, name, value) in graph.weights() {
            if weights.ids.contains_key(name) {
                continue;
            }
            let (usage, shape) = wanted.entry(name).or_insert_with(|| {
                let before = weights.uses.get(name).copied();
                (before.unwrap_or_default(), Vec::new())
            });
            *shape = value.fixed_shape()?;
            note(graph, id, usage);
        }
    }
    let mut making: Vec<(&Made, WeightUse, u64)> = Vec::new();
    for weight in made {
        let Some((usage, _)) = wanted.remove(weight.name.as_str()) else {
            continue;
        };
        let entries = weight.entries(source)?;
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        making.push((weight, usage, bytes));
    }
    let mut order: Vec<(&TensorEntry, WeightUse, Vec<usize>)> = Vec::new();
    for (name, (usage, shape)) in wanted {
        order.push((source.checkpoint.get(name)?, usage, shape));
    }
    order.sort_by_key(|(entry, ..)| (entry.file, entry.offset));
    let plain: u64 = order.iter().map(|(entry, ..)| entry.bytes).sum();
    let total = plain + making.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
    let mut done = 0;
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
        weights.uses.insert(entry.name.clone(), usage);
        weights.ids.insert(entry.name.clone(), id);
    }
    for (weight, usage, bytes) in making {
        let tensor = weight.make(source).await?;
        let (element, shape) = (tensor.data_type().into(), tensor.shape());
        let id = backend.create_weight(&weight.name, element, shape, usage)?;
        for (number, chunk) in tensor.bytes().chunks(CHUNK_BYTES).enumerate() {
            backend.write_weight(id, (number * CHUNK_BYTES) as u64, chunk)?;
        }
        backend.finish_weight(id)?;
        weights.uses.insert(weight.name.clone(), usage);
        weights.ids.insert(weight.name.clone(), id);
        done += bytes;
        if let ControlFlow::Break(()) = on_upload(UploadProgress { done, total }) {
            return Err(SessionError::Aborted);
        }
    }
    Ok(())
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
                (Op::Gather { axis: 0, .. }, 0) => {
                    usage.gather = true;
                    // By other indices than those of a kernel, rows are read where they are.
                    usage.plain |= graph.value(node.inputs[1]).element != ElementType::I32;
                }
                (Op::Conv2d(conv), 1) if usage.filter.is_none_or(|n| n == conv.groups) => {
                    usage.filter = Some(conv.groups);
                }
                _ => usage.plain = true,
            }
        }
    }
}
