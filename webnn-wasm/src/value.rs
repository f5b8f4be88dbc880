//! Arguments of a call, out of JavaScript.

use std::collections::BTreeMap;

use fewbit_webnn::{Operand, Value};
use js_sys::{Array, BigInt, Object, Reflect};
use wasm_bindgen::prelude::*;

/// Lists within lists within dictionaries: what operators take has no more.
const MOST_DEPTH: usize = 4;

/// The value; what is no value of any argument is `undefined`.
pub(crate) fn read(value: &JsValue, operands: &[Operand]) -> Value {
    at_depth(value, operands, 0)
}

fn at_depth(value: &JsValue, operands: &[Operand], depth: usize) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    if let Some(flag) = value.as_bool() {
        return Value::Bool(flag);
    }
    if let Some(number) = value.as_f64() {
        return Value::Number(number);
    }
    if let Some(text) = value.as_string() {
        return Value::Text(text);
    }
    if let Some(number) = value.dyn_ref::<BigInt>() {
        return Value::BigInt(integer(number));
    }
    if depth == MOST_DEPTH || !value.is_object() {
        return Value::Undefined;
    }
    if let Some(list) = value.dyn_ref::<Array>() {
        let values = list.iter();
        return Value::List(
            values
                .map(|value| at_depth(&value, operands, depth + 1))
                .collect(),
        );
    }
    let index = Reflect::get(value, &"fewbitOperand".into()).ok();
    if let Some(index) = index.and_then(|index| index.as_f64()) {
        let operand = operands.get(index as usize);
        return operand.map_or(Value::Undefined, |&operand| Value::Operand(operand));
    }
    let mut members = BTreeMap::new();
    for entry in Object::entries(value.unchecked_ref()).iter() {
        let entry: Array = entry.unchecked_into();
        if let Some(name) = entry.get(0).as_string() {
            members.insert(name, at_depth(&entry.get(1), operands, depth + 1));
        }
    }
    Value::Object(members)
}

/// The integer, or the nearest of 128 bits.
fn integer(number: &BigInt) -> i128 {
    let text = number.to_string(10).map(String::from).unwrap_or_default();
    let nearest = match text.starts_with('-') {
        true => i128::MIN,
        false => i128::MAX,
    };
    text.parse().unwrap_or(nearest)
}
