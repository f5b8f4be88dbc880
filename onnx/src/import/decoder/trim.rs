//! What a decoder needs where its cache is in place: no lengths of it, and nothing that makes them.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use crate::proto::{AttributeProto, GraphProto, NodeProto};

type Roles = BTreeMap<String, Role>;

/// Drops what the outputs do not need, inputs too.
pub(in crate::import) fn drop_unneeded(graph: &mut GraphProto) {
    trim(graph, &Roles::new());
}

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

/// Whether anything but `GroupQueryAttention` reads a cache, or which tokens count.
pub(super) fn reads_lengths(graph: &GraphProto, roles: &Roles) -> bool {
    let of_length = |name: &String| {
        let role = roles.get(name);
        matches!(role, Some(Role::Cache { .. } | Role::Mask))
    };
    let others = graph.node.iter().filter(|node| !is_grouped(node, roles));
    others.into_iter().any(|node| {
        let mut names = BTreeSet::new();
        names_of(node, &mut names);
        names.iter().any(of_length)
    })
}

fn is_grouped(node: &NodeProto, roles: &Roles) -> bool {
    let is_cache = |name: &String| matches!(roles.get(name), Some(Role::Cache { .. }));
    node.op_type.as_deref() == Some("GroupQueryAttention")
        && node.domain.as_deref() == Some("com.microsoft")
        && node.input.get(3).is_some_and(is_cache)
}

/// `GroupQueryAttention` over a cache in place knows its position; `seqlens_k` and `total_sequence_length` say it again.
fn without_lengths(node: &mut NodeProto, roles: &Roles) {
    if is_grouped(node, roles) {
        node.input
            .iter_mut()
            .skip(5)
            .take(2)
            .for_each(String::clear);
    }
}
