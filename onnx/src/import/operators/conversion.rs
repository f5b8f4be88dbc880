//! Conversions of element types.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::Extension;
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
    Entry::new("BitCast", 26, bitcast),
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

/// The same bits as elements of another type.
fn bitcast(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let to = type_number(node.int("to", 0)?)?;
    let bytes = |t: DataType| match t {
        DataType::Bool => DataType::U8,
        other => other,
    };
    if to == DataType::Bool && x.data_type != to {
        return unsupported("to bool");
    }
    if bytes(x.data_type) == bytes(to) {
        let id = x.id;
        return Ok(vec![Value { id, data_type: to }]);
    }
    let cast = Op::Extension(Extension::Bitcast { to });
    one(cx.op(cast, &[x], to))
}
