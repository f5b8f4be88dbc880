//! Graphs of several files over one list of weights.

use fewbit_engine::graph::{Graph, Source};
use fewbit_engine::session::WeightSource;

fn named(prefix: &str, name: &str) -> String {
    format!("{prefix}:{name}")
}

/// The graph with its weights under names of their own.
pub(super) fn renamed(mut graph: Graph, prefix: &str) -> Graph {
    for value in &mut graph.values {
        if let Source::Weight(weight) = &mut value.source {
            *weight = named(prefix, weight);
        }
    }
    graph
}

/// Puts the weights of a [`renamed`] graph to others.
pub(super) fn add_weights(files: &mut WeightSource, own: WeightSource, prefix: &str) {
    let first = files.files.len();
    files.files.extend(own.files);
    for (key, mut entry) in own.checkpoint.tensors {
        entry.name = named(prefix, &key);
        entry.file += first;
        files.checkpoint.tensors.insert(named(prefix, &key), entry);
    }
}
