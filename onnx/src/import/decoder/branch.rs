//! "Merged" decoders: an `If` on `use_cache_branch` with one branch for a first run and one for all after it. The second
//! one reads a cache, which may be empty, and does for both.

use std::collections::BTreeMap;

use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// The input that says which branch is taken.
const SWITCH: &str = "use_cache_branch";

/// The branch that reads the cache.
pub(super) const WITH_CACHE: &str = "then_branch";

/// Puts the nodes of a branch in the place of each `If` on the switch, which is no input then.
///
/// # Errors
/// An `If` on it without such a branch, or of which the branch gives other outputs.
pub(in crate::import) fn choose(graph: &mut GraphProto, branch: &str) -> Result<(), String> {
    let is_switch = |name: Option<&str>| name == Some(SWITCH);
    if !graph
        .input
        .iter()
        .any(|input| is_switch(input.name.as_deref()))
    {
        return Ok(());
    }
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        let switched = node.op_type.as_deref() == Some("If")
            && matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
            && is_switch(node.input.first().map(String::as_str));
        match switched {
            true => inline(graph, node, branch)?,
            false => graph.node.push(node),
        }
    }
    graph
        .input
        .retain(|input| !is_switch(input.name.as_deref()));
    Ok(())
}

fn inline(graph: &mut GraphProto, node: NodeProto, branch: &str) -> Result<(), String> {
    let is_it = |a: &AttributeProto| a.name.as_deref() == Some(branch);
    let branch = node.attribute.into_iter().find(is_it).and_then(|a| a.g);
    let Some(mut branch) = branch else {
        return Err("an If without the branch that is taken".to_owned());
    };
    if branch.output.len() != node.output.len() {
        let (own, wanted) = (branch.output.len(), node.output.len());
        return Err(format!("an If of {wanted} outputs, its branch of {own}"));
    }
    // What the branch makes is called as the If calls it; what it hands on, or gives twice, needs a node for that.
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut handed = Vec::new();
    let made: std::collections::BTreeSet<&String> =
        branch.node.iter().flat_map(|node| &node.output).collect();
    for (output, wanted) in branch.output.iter().zip(&node.output) {
        let name = output.name.clone().unwrap_or_default();
        if made.contains(&name) && !names.contains_key(&name) {
            names.insert(name, wanted.clone());
        } else {
            handed.push((name, wanted.clone()));
        }
    }
    let called = |name: &mut String| {
        if let Some(other) = names.get(name) {
            name.clone_from(other);
        }
    };
    for node in &mut branch.node {
        node.input
            .iter_mut()
            .chain(&mut node.output)
            .for_each(called);
    }
    for (mut name, wanted) in handed {
        called(&mut name);
        branch.node.push(NodeProto {
            input: vec![name],
            output: vec![wanted],
            op_type: Some("Identity".to_owned()),
            ..NodeProto::default()
        });
    }
    graph.node.append(&mut branch.node);
    graph.initializer.append(&mut branch.initializer);
    graph
        .sparse_initializer
        .append(&mut branch.sparse_initializer);
    Ok(())
}
