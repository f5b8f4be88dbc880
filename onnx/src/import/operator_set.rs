//! Which operator a node is, by the versions that the file asks for.

use std::collections::BTreeMap;

use super::control;
use super::table::{self, DEFAULT_DOMAIN, Entry};
use super::{ImportError, UnsupportedOperator};
use crate::proto::{GraphProto, ModelProto, NodeProto};

pub(super) fn domain_of(name: Option<&str>) -> &str {
    match name {
        None | Some("") => DEFAULT_DOMAIN,
        Some(name) => name,
    }
}

/// The version of each domain's operator set.
pub(super) type Versions = BTreeMap<String, i64>;

pub(super) fn versions(model: &ModelProto) -> Versions {
    let imports = model.opset_import.iter();
    imports
        .map(|set| {
            let domain = domain_of(set.domain.as_deref());
            (domain.to_owned(), set.version.unwrap_or(0))
        })
        .collect()
}

/// How a node is called in errors: by its name, else by its place.
pub(super) fn called(node: &NodeProto, at: usize) -> String {
    match node.name.as_deref() {
        None | Some("") => format!("number {at}"),
        Some(name) => name.to_owned(),
    }
}

/// The table's entry for every node, or all those that have none.
pub(super) fn entries(
    graph: &GraphProto,
    versions: &Versions,
    file: &str,
) -> Result<Vec<(&'static Entry, i64)>, ImportError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (at, node) in graph.node.iter().enumerate() {
        match entry_of(node, at, versions) {
            Ok(entry) => found.push(entry),
            Err(operator) => missing.push(operator),
        }
        for body in control::bodies(node) {
            match entries(body, versions, file) {
                Err(ImportError::Unsupported { operators, .. }) => missing.extend(operators),
                other => _ = other?,
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(ImportError::Unsupported {
        file: file.to_owned(),
        operators: missing,
    })
}

/// The table's entry for a node, and the version of the operator set.
pub(super) fn entry_of(
    node: &NodeProto,
    at: usize,
    versions: &Versions,
) -> Result<(&'static Entry, i64), UnsupportedOperator> {
    let domain = domain_of(node.domain.as_deref());
    let op_type = node.op_type.as_deref().unwrap_or_default();
    let opset = versions.get(domain).copied();
    let entry = match opset {
        Some(opset) => table::find(domain, op_type, opset),
        None => Err("the file does not say of which version".to_owned()),
    };
    let opset = opset.unwrap_or(0);
    match entry {
        Ok(entry) => Ok((entry, opset)),
        Err(reason) => Err(UnsupportedOperator {
            node: called(node, at),
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            opset,
            reason,
        }),
    }
}
