//! What a decoder needs where its cache is in place: no lengths of it, and nothing that makes them.

use std::collections::BTreeSet;

use super::{Role, Roles};
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// Drops what the outputs do not need.
pub(super) fn trim(graph: &mut GraphProto, roles: &Roles) {
    for node in &mut graph.node {
        without_lengths(node, roles);
    }
    let outputs = graph.output.iter().flat_map(|output| output.name.clone());
    let mut needed: BTreeSet<String> = outputs.collect();
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            names_of(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    let wanted = |name: Option<&String>| name.is_some_and(|name| needed.contains(name));
    graph
        .initializer
        .retain(|tensor| wanted(tensor.name.as_ref()));
    // A cache that nothing reads is one that is not understood, and is told so.
    graph.input.retain(|input| {
        let name = input.name.as_ref();
        let role = name.and_then(|name| roles.get(name));
        wanted(name) || matches!(role, Some(Role::Cache { .. }))
    });
}

/// What a node reads, its subgraphs' nodes among it.
fn names_of(node: &NodeProto, names: &mut BTreeSet<String>) {
    names.extend(node.input.iter().cloned());
    let graphs = |attribute: &AttributeProto| attribute.g.clone();
    let mut open: Vec<GraphProto> = node.attribute.iter().filter_map(graphs).collect();
    while let Some(graph) = open.pop() {
        names.extend(graph.output.iter().flat_map(|output| output.name.clone()));
        for node in &graph.node {
            names.extend(node.input.iter().cloned());
            open.extend(node.attribute.iter().filter_map(graphs));
        }
    }
}

/// `GroupQueryAttention` over a cache in place knows its position; `seqlens_k` and `total_sequence_length` say it again.
fn without_lengths(node: &mut NodeProto, roles: &Roles) {
    let is_cache = |name: &String| matches!(roles.get(name), Some(Role::Cache { .. }));
    let grouped = node.op_type.as_deref() == Some("GroupQueryAttention")
        && node.domain.as_deref() == Some("com.microsoft")
        && node.input.get(3).is_some_and(is_cache);
    if grouped {
        node.input
            .iter_mut()
            .skip(5)
            .take(2)
            .for_each(String::clear);
    }
}
