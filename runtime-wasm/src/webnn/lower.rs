//! From the engine's graph to the browser's operands, node by node.

mod node;

use std::collections::BTreeMap;

use fewbit_engine::backend::{BackendError, WeightId};
use fewbit_engine::graph::{Graph, Source, ValueId};
use fewbit_engine::tensor::DataType;
use js_sys::{Array, ArrayBuffer, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

use super::api::{self, Builder, Operand, set};
use super::backend::{Connection, type_name};
use super::weights::Weight;

/// Chromium takes no larger constants; a larger weight is cut into rows and put together again.
const MAX_CONSTANT_BYTES: usize = 120 << 20;

pub(super) struct Lower<'a> {
    connection: &'a Connection,
    builder: Builder,
    graph: &'a Graph,
    ids: &'a BTreeMap<String, WeightId>,
    weights: &'a [Weight],
    operands: Vec<Option<Operand>>,
    /// Weights decoded to f32, where the graph sees them in another type.
    decoded: BTreeMap<ValueId, Operand>,
    /// Bytes of constants so far.
    pub(super) bytes: u64,
}

impl<'a> Lower<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        graph: &'a Graph,
        ids: &'a BTreeMap<String, WeightId>,
        weights: &'a [Weight],
    ) -> Result<Lower<'a>, BackendError> {
        let builder = Builder::new(&connection.context)
            .map_err(|thrown| connection.fault("MLGraphBuilder", &thrown))?;
        Ok(Lower {
            connection,
            builder,
            graph,
            ids,
            weights,
            operands: vec![None; graph.values.len()],
            decoded: BTreeMap::new(),
            bytes: 0,
        })
    }

    pub(super) fn finish(self, outputs: &Object) -> Result<Promise, JsValue> {
        self.builder.build(outputs)
    }

    /// A value's type and sizes.
    pub(super) fn plain(&self, id: ValueId) -> Result<(DataType, Vec<usize>), BackendError> {
        let value = self.graph.value(id);
        let data_type = value.element.plain().ok_or_else(|| {
            BackendError::Internal(format!(
                "{} blocks where elements are wanted",
                value.element
            ))
        })?;
        Ok((data_type, value.fixed_shape()?))
    }

    pub(super) fn input(&mut self, id: ValueId, name: &str) -> Result<(), BackendError> {
        let (data_type, shape) = self.plain(id)?;
        let descriptor = self.descriptor(data_type, &shape)?;
        let arguments = Array::of2(&JsValue::from(name), &descriptor);
        self.operands[id.index()] = Some(self.call("input", &arguments)?);
        Ok(())
    }

    /// The operand of a value; weights and constants become constants when they are first asked for.
    pub(super) fn operand(&mut self, id: ValueId) -> Result<Operand, BackendError> {
        if let Some(operand) = &self.operands[id.index()] {
            return Ok(operand.clone());
        }
        let operand = match &self.graph.value(id).source {
            Source::Constant(tensor) => {
                let bytes = Uint8Array::from(tensor.bytes()).buffer();
                self.constant(tensor.data_type(), tensor.shape(), &bytes)?
            }
            Source::Weight(name) => {
                let weight = self.weight(name)?;
                let data_type = weight
                    .plain()
                    .filter(|&plain| api::type_name(plain).is_some());
                let Some(data_type) = data_type else {
                    return Err(BackendError::Unsupported {
                        op: weight.element.to_string(),
                        reason: "WebNN has no such element type".into(),
                    });
                };
                let shape = self.graph.value(id).fixed_shape()?;
                let rows = |from, to| Ok(weight.stored(from, to));
                self.in_rows(data_type, &shape, &rows)?
            }
            other => {
                return Err(BackendError::Internal(format!(
                    "{other:?} was not made yet"
                )));
            }
        };
        self.operands[id.index()] = Some(operand.clone());
        Ok(operand)
    }

    /// The operand of a value as f32: a weight of blocks or of halves is decoded before it goes in.
    fn float(&mut self, id: ValueId) -> Result<Operand, BackendError> {
        if let Some(operand) = self.decoded.get(&id) {
            return Ok(operand.clone());
        }
        let value = self.graph.value(id);
        let is_float = value.element.plain() == Some(DataType::F32);
        let operand = match &value.source {
            _ if is_float => return self.operand(id),
            Source::Weight(name) => {
                let weight = self.weight(name)?;
                let shape = value.fixed_shape()?;
                let rows = |from, to| weight.decoded(from, to);
                self.in_rows(DataType::F32, &shape, &rows)?
            }
            _ => {
                let operand = self.operand(id)?;
                self.apply(
                    "cast",
                    &[("input", &operand)],
                    &[JsValue::from("float32")],
                    None,
                )?
            }
        };
        self.decoded.insert(id, operand.clone());
        Ok(operand)
    }

    fn weight(&self, name: &str) -> Result<&'a Weight, BackendError> {
        let weight = self.ids.get(name).and_then(|id| self.weights.get(id.0));
        weight.ok_or_else(|| BackendError::Internal(format!("there is no weight named {name}")))
    }

    /// A constant of a weight, in parts where it is too large to be one.
    fn in_rows(
        &mut self,
        data_type: DataType,
        shape: &[usize],
        rows: &dyn Fn(usize, usize) -> Result<ArrayBuffer, BackendError>,
    ) -> Result<Operand, BackendError> {
        let (count, inner) = match shape {
            [] => (1, 1),
            [count, inner @ ..] => (*count, inner.iter().product::<usize>()),
        };
        let row = (inner * data_type.bytes()).max(1);
        let step = MAX_CONSTANT_BYTES.min(self.connection.limits.tensor_bytes() as usize) / row;
        if step >= count {
            return self.constant(data_type, shape, &rows(0, count)?);
        }
        if step == 0 {
            return Err(BackendError::Unsupported {
                op: "constant".into(),
                reason: format!("{row} bytes in a row, which a constant cannot have"),
            });
        }
        let parts = Array::new();
        for from in (0..count).step_by(step) {
            let to = (from + step).min(count);
            let mut part = shape.to_vec();
            part[0] = to - from;
            let part = self.constant(data_type, &part, &rows(from, to)?)?;
            parts.push(&part);
        }
        self.call("concat", &Array::of2(&parts, &JsValue::from(0)))
    }

    fn constant(
        &mut self,
        data_type: DataType,
        shape: &[usize],
        bytes: &ArrayBuffer,
    ) -> Result<Operand, BackendError> {
        self.bytes += u64::from(bytes.byte_length());
        let descriptor = self.descriptor(data_type, shape)?;
        self.call("constant", &Array::of2(&descriptor, bytes))
    }

    fn descriptor(&self, data_type: DataType, shape: &[usize]) -> Result<Object, BackendError> {
        if shape.contains(&0) {
            return Err(BackendError::Unsupported {
                op: "MLOperandDescriptor".into(),
                reason: format!("shape {shape:?}: WebNN has no dimensions of 0"),
            });
        }
        Ok(api::descriptor(type_name(data_type)?, shape))
    }

    pub(super) fn identity(&self, x: &Operand) -> Result<Operand, BackendError> {
        self.apply("identity", &[("input", x)], &[], None)
    }

    /// `builder[operator](...operands, ...more, options)`, after `opSupportLimits()` was asked.
    fn apply(
        &self,
        operator: &str,
        operands: &[(&str, &Operand)],
        more: &[JsValue],
        options: Option<Options<'_>>,
    ) -> Result<Operand, BackendError> {
        self.connection.limits.check(operator, operands)?;
        let arguments: Array = operands.iter().map(|(_, operand)| *operand).collect();
        for value in more {
            arguments.push(value);
        }
        if let Some(options) = options {
            self.connection.limits.check(operator, &options.operands)?;
            for (name, operand) in &options.operands {
                set(&options.object, name, *operand);
            }
            arguments.push(&options.object);
        }
        self.call(operator, &arguments)
    }

    fn call(&self, operator: &str, arguments: &Array) -> Result<Operand, BackendError> {
        api::call(&self.builder, operator, arguments)
            .map(|made| made.unchecked_into())
            .map_err(|thrown| self.connection.refusal(operator, &thrown))
    }
}

/// The last argument of an operator.
struct Options<'a> {
    object: Object,
    operands: Vec<(&'static str, &'a Operand)>,
}

impl<'a> Options<'a> {
    fn new() -> Options<'a> {
        Options {
            object: Object::new(),
            operands: Vec::new(),
        }
    }

    fn set(self, name: &str, value: impl Into<JsValue>) -> Options<'a> {
        set(&self.object, name, value);
        self
    }

    fn operand(mut self, name: &'static str, operand: Option<&'a Operand>) -> Options<'a> {
        self.operands.extend(operand.map(|operand| (name, operand)));
        self
    }
}
