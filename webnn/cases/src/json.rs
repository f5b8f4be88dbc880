//! Cases as JSON, in the form that the Web Platform Tests' ones are in.

use serde_json::{Map, Value as Json, json};

use fewbit_webnn::Value;

use crate::{Arg, Operator, SEED, T};

impl Operator {
    /// The first `count` cases as a file of them, each named by its operator, its number and the call. In every second
    /// one all tensors but the first are constants.
    pub fn json(&self, count: usize) -> Json {
        let tests = self.cases(count).into_iter().enumerate().map(|(at, drawn)| {
            let mut inputs = Map::new();
            let mut json = |arg: &Arg| match arg {
                Arg::Value(value) => argument(value),
                Arg::Tensor(tensor) => {
                    let name = format!("in{}", inputs.len());
                    let mut told = data(tensor);
                    if at % 2 == 1 && !inputs.is_empty() {
                        told["constant"] = true.into();
                    }
                    inputs.insert(name.clone(), told);
                    name.into()
                }
            };
            let mut arguments: Vec<Json> = drawn
                .arguments
                .iter()
                .enumerate()
                .map(|(at, arg)| json!({ (format!("argument{at}")): json(arg) }))
                .collect();
            let options = drawn.options.iter();
            let options: Map<String, Json> = options
                .map(|(name, arg)| ((*name).to_owned(), json(arg)))
                .collect();
            arguments.push(json!({ "options": options }));
            let outputs: Vec<String> = (0..drawn.expected.len())
                .map(|at| format!("out{at}"))
                .collect();
            let expected: Map<String, Json> = outputs
                .iter()
                .cloned()
                .zip(drawn.expected.iter().map(data))
                .collect();
            // As the methods return it: an operand, or a sequence of them.
            let made = match self.name {
                "gru" | "lstm" | "lstmCell" => json!(outputs),
                _ => json!(outputs[0]),
            };
            let coarse = if drawn.expected[0].data_type.is_float() {
                2f64.powi(-24)
            } else {
                0.0
            };
            json!({
                "name": format!("{} {at} {}", self.name, drawn.told()),
                "graph": {
                    "inputs": inputs,
                    "operators": [{ "name": self.name, "arguments": arguments, "outputs": made }],
                    "expectedOutputs": expected,
                },
                "tolerance": { "ulp": self.ulp as u64, "atol": self.absolute.max(coarse) },
            })
        });
        json!({ "operation": self.name, "seed": SEED, "tests": tests.collect::<Vec<_>>() })
    }
}

fn data(tensor: &T) -> Json {
    let values: Vec<Json> = tensor
        .values
        .iter()
        .map(|&x| match tensor.data_type.is_float() {
            true if x.is_finite() => json!(x),
            true => x.to_string().replace("inf", "Infinity").into(),
            false => json!(x as i64),
        })
        .collect();
    json!({ "data": values, "descriptor": { "shape": tensor.shape, "dataType": tensor.data_type.name() } })
}

fn argument(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Number(x) if x.is_finite() => json!(x),
        Value::Number(x) => x.to_string().replace("inf", "Infinity").into(),
        Value::BigInt(x) => format!("{x}n").into(),
        Value::Text(text) => json!(text),
        Value::List(values) => values.iter().map(argument).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Json::Object(
                members
                    .map(|(name, value)| (name.clone(), argument(value)))
                    .collect(),
            )
        }
        Value::Undefined | Value::Null | Value::Operand(_) => Json::Null,
    }
}
