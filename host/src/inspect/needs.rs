//! The memory that a model takes.

use std::collections::BTreeMap;

use fewbit_engine::graph::memory::MemoryPlan;
use fewbit_engine::graph::{Bindings, Graph, GraphError};
use fewbit_engine::session::WeightSource;
use serde::Serialize;

use super::coverage::on_cpu;

/// Bytes that a model takes on the CPU with one text, picture or sound at a time; a GPU's are about the same.
#[derive(Clone, Debug, Serialize)]
pub struct Needs {
    /// Weights as the checkpoint has them.
    pub weights: u64,
    /// Caches, for as many tokens as `sizes` says under `capacity`.
    pub states: u64,
    /// What is computed on the way, in the largest run.
    pub activations: u64,
    pub total: u64,
    /// What the symbols of the graphs stand for in these numbers.
    pub sizes: Bindings,
}

/// Plans the memory of the graphs of a model.
pub(super) fn needs(
    parts: &[(&Graph, Bindings)],
    source: &WeightSource,
) -> Result<Needs, GraphError> {
    let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let mut activations = 0;
    let mut sizes = Bindings::new();
    for (graph, bindings) in parts {
        for (_, name, _) in graph.weights() {
            if let Some(entry) = source.checkpoint.find(name) {
                weights.insert(&entry.name, entry.bytes);
            }
        }
        let compiled = on_cpu(graph, bindings)?;
        for (_, name, value) in compiled.states() {
            let bytes = value
                .element
                .byte_len(&value.fixed_shape()?)
                .unwrap_or(usize::MAX);
            states.insert(name.to_owned(), bytes as u64);
        }
        let plan = MemoryPlan::new(&compiled, 64)?;
        activations = activations.max(plan.arena_bytes as u64);
        sizes.extend(bindings.clone());
    }
    let weights: u64 = weights.values().sum();
    let states: u64 = states
        .values()
        .fold(0, |sum, &bytes| sum.saturating_add(bytes));
    Ok(Needs {
        weights,
        states,
        activations,
        total: weights.saturating_add(states).saturating_add(activations),
        sizes,
    })
}
