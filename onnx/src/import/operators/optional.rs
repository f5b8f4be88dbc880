//! Values that may be missing, of which a graph has those that are there.

use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Value};
use crate::import::error::Refusal;
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("OptionalHasElement", 15, has_element),
    Entry::new("OptionalGetElement", 15, get_element),
];

fn has_element(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let there = node.optional(0).is_some();
    one(cx.number(f64::from(u8::from(there)), DataType::Bool))
}

fn get_element(_: &mut Context, node: &Node<'_>) -> Outputs {
    one(node.input(0))
}
