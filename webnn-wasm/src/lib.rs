//! WebNN's `MLGraphBuilder` for the thread of a page, as `web/src/webnn/` wants it.
//!
//! A module of its own: a page that has no WebNN loads it with the first context. Calls are checked synchronously by
//! [`fewbit_webnn`]; `build` gives the graph as bytes ([`OpenModel::to_bytes`]), which a worker runs. Nothing is computed here.
//!
//! No panic is meant to be reachable. Should one be, the module is poisoned and can be made again.
#![cfg(target_arch = "wasm32")]

mod value;

use fewbit_engine::format::Checkpoint;
use fewbit_engine::model::{BuiltModel, Feedforward, GRAPH, ModelKind};
use fewbit_engine::session::WeightSource;
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel};
use fewbit_webnn::{BuildError, Builder, DataType, Descriptor, Exception, Operand, pairs};
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// An `MLGraphBuilder`. Operands are numbers, counted from 0.
#[wasm_bindgen(js_name = Builder)]
pub struct JsBuilder {
    builder: Builder,
    operands: Vec<Operand>,
}

#[wasm_bindgen(js_class = Builder)]
impl JsBuilder {
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> JsBuilder {
        JsBuilder {
            builder: Builder::new(),
            operands: Vec::new(),
        }
    }

    /// `input(name, descriptor)`.
    pub fn input(&mut self, name: &str, data_type: &str, shape: Vec<f64>) -> Result<u32, JsValue> {
        let descriptor = descriptor("input", data_type, &shape)?;
        let made = self.builder.input(name, &descriptor);
        made.map(|operand| self.hold(operand)).map_err(thrown)
    }

    /// `constant(descriptor, buffer)`.
    pub fn constant(
        &mut self,
        data_type: &str,
        shape: Vec<f64>,
        bytes: &[u8],
    ) -> Result<u32, JsValue> {
        let descriptor = descriptor("constant", data_type, &shape)?;
        let made = self.builder.constant(&descriptor, bytes);
        made.map(|operand| self.hold(operand)).map_err(thrown)
    }

    /// `constant(dataType, value)`.
    pub fn number(&mut self, data_type: &str, value: &JsValue) -> Result<u32, JsValue> {
        let data_type = type_named("constant", data_type)?;
        let value = value::read(value, &self.operands);
        let made = self.builder.number(data_type, &value);
        made.map(|operand| self.hold(operand)).map_err(thrown)
    }

    /// Any other method: its name and arguments. An operand among them is `{ fewbitOperand: number }`, a sequence an
    /// `Array`, a dictionary a plain object.
    pub fn call(&mut self, operator: &str, arguments: &Array) -> Result<Vec<u32>, JsValue> {
        let arguments: Vec<fewbit_webnn::Value> = arguments
            .iter()
            .map(|argument| value::read(&argument, &self.operands))
            .collect();
        let made = self.builder.call(operator, &arguments).map_err(thrown)?;
        Ok(made.into_iter().map(|operand| self.hold(operand)).collect())
    }

    /// An operand's `dataType`.
    #[wasm_bindgen(js_name = dataType)]
    pub fn data_type(&self, operand: u32) -> String {
        let described = self.described(operand);
        described.map_or(String::new(), |described| {
            described.data_type.name().to_owned()
        })
    }

    /// An operand's `shape`.
    pub fn shape(&self, operand: u32) -> Vec<f64> {
        let described = self.described(operand);
        let shape = described.map_or(Vec::new(), |described| described.shape);
        shape.into_iter().map(|size| size as f64).collect()
    }

    /// `build(outputs)`: `{ graph, inputs, outputs }`, where `graph` is bytes for a runtime and the others are lists of
    /// `[name, dataType, shape]`. With `in_pairs`, 64-bit integers are computed as pairs of 32-bit words, and cross so: `uint32` of
    /// one more dimension of 2; `pairs` says whether that was needed.
    pub async fn build(
        mut self,
        names: Vec<String>,
        operands: Vec<u32>,
        in_pairs: bool,
    ) -> Result<JsValue, JsValue> {
        let mut outputs: Vec<(&str, Operand)> = Vec::new();
        for (name, &index) in names.iter().zip(&operands) {
            let known = self.operands.get(index as usize);
            let operand = known
                .ok_or_else(|| refused("TypeError", "build(): an operand is another builder's"))?;
            outputs.push((name, *operand));
        }
        let built = self.builder.build(&outputs).map_err(thrown)?;
        let split = in_pairs && pairs::needed(&built.graph);
        let graph = match split {
            true => pairs::split(&built.graph)
                .map_err(|error| refused("NotSupportedError", &format!("build(): {error}")))?,
            false => built.graph,
        };
        let open = OpenModel {
            built: BuiltModel {
                architecture: GRAPH,
                graph,
                kind: ModelKind::Feedforward(Feedforward::default()),
            },
            source: WeightSource {
                checkpoint: Checkpoint::default(),
                files: Vec::new(),
            },
            gguf: None,
        };
        let bytes = open.to_bytes(&ModelFiles::default()).await;
        let bytes =
            bytes.map_err(|error| refused("OperationError", &format!("build(): {error}")))?;
        let answer = Object::new();
        let described = |list: &[(String, Descriptor)]| -> Array {
            list.iter()
                .map(|(name, descriptor)| {
                    let shape: Array = descriptor
                        .shape
                        .iter()
                        .map(|&size| JsValue::from(size as f64))
                        .collect();
                    Array::of3(&name.into(), &descriptor.data_type.name().into(), &shape)
                })
                .collect()
        };
        for (key, value) in [
            ("graph", Uint8Array::from(bytes.as_slice()).into()),
            ("inputs", described(&built.inputs).into()),
            ("outputs", described(&built.outputs).into()),
            ("pairs", JsValue::from(split)),
        ] {
            // Setting a property of a fresh object cannot fail.
            let _ = Reflect::set(&answer, &key.into(), &value);
        }
        Ok(answer.into())
    }
}

impl JsBuilder {
    fn hold(&mut self, operand: Operand) -> u32 {
        self.operands.push(operand);
        self.operands.len() as u32 - 1
    }

    fn described(&self, operand: u32) -> Option<Descriptor> {
        self.builder
            .descriptor(*self.operands.get(operand as usize)?)
    }
}

/// The names of all operators.
#[wasm_bindgen(js_name = operatorNames)]
pub fn operator_names() -> Vec<String> {
    fewbit_webnn::OPERATORS
        .iter()
        .map(|&name| name.to_owned())
        .collect()
}

fn descriptor(method: &str, data_type: &str, shape: &[f64]) -> Result<Descriptor, JsValue> {
    let data_type = type_named(method, data_type)?;
    let sizes: Option<Vec<usize>> = shape
        .iter()
        .map(|&size| {
            let whole = size.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&size);
            whole.then_some(size as usize)
        })
        .collect();
    let sizes = sizes.ok_or_else(|| {
        refused(
            "TypeError",
            &format!("{method}(): shape: {shape:?} are no unsigned longs"),
        )
    })?;
    Ok(Descriptor::new(data_type, &sizes))
}

fn type_named(method: &str, data_type: &str) -> Result<DataType, JsValue> {
    DataType::named(data_type).ok_or_else(|| {
        refused(
            "TypeError",
            &format!("{method}(): {data_type:?} is no MLOperandDataType"),
        )
    })
}

fn thrown(error: BuildError) -> JsValue {
    let name = match error.exception {
        Exception::TypeError => "TypeError",
        Exception::InvalidStateError => "InvalidStateError",
        Exception::NotSupportedError => "NotSupportedError",
    };
    refused(name, &format!("{}(): {}", error.method, error.rule))
}

/// What the page's own code makes an exception of.
fn refused(exception: &str, message: &str) -> JsValue {
    Array::of2(&exception.into(), &message.into()).into()
}
