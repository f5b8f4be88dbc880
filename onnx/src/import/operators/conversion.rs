//! Conversions of element types.

use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Value};
use crate::import::error::{Refusal, unsupported};
use crate::import::node::Node;
use crate::import::table::Entry;
use crate::proto::{data_type_name, data_type_of};

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Cast", 6, cast),
    Entry::new("CastLike", 15, cast_like),
];

fn cast(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    // Both are about 8-bit floats, which no tensor here has.
    node.ignore(&["saturate", "round_mode"]);
    let to = type_number(node.int("to", 0)?)?;
    one(cx.cast(x, to))
}

fn cast_like(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, like) = (node.input(0)?, node.input(1)?);
    node.ignore(&["saturate", "round_mode"]);
    one(cx.cast(x, like.data_type))
}

/// The type that an attribute names by its number.
pub(super) fn type_number(number: i64) -> Result<DataType, Refusal> {
    let number = i32::try_from(number).unwrap_or(-1);
    match data_type_of(number) {
        Some(data_type) => Ok(data_type),
        None => unsupported(format!("type {}", data_type_name(number))),
    }
}
