//! One suite of operators for every back end: small graphs, run there and by the scalar reference.
//!
//! A case is a graph with its data and the runs to make of it, states kept from one to the next.
//! [`Case::check`] takes the back end as a parameter and gives one of the outcomes of the project's
//! vocabulary, so that the same cases make a test natively and a matrix in browsers.

mod composites;
mod draw;
mod elementwise;
mod extensions;
mod movement;
mod products;
mod reductions;
mod windows;

use std::collections::BTreeMap;

use super::cpu::reference::{EvaluateError, View, evaluate_graph};
use super::{Activations, Backend, BackendError, StateId, WeightId, WeightUse};
use crate::graph::decompose::decompose;
use crate::graph::{Dim, Graph, GraphBuilder, Node, Op, ValueId};
use crate::tensor::{DataType, ElementType, Tensor};

/// The errors that f32 arithmetic in another order, and WGSL's functions, may make: absolute, and relative.
const ATOL: f64 = 1e-4;
const RTOL: f64 = 1e-3;
/// The root mean square error, relative to that of the result, that 8-bit activations may make.
const INT8_ERROR: f64 = 0.02;

/// A small graph, its data, and the runs to make of it.
pub struct Case {
    pub name: String,
    graph: Graph,
    weights: Vec<Weight>,
    /// The inputs of each run.
    runs: Vec<Vec<(String, Tensor)>>,
}

struct Weight {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    usage: WeightUse,
}

/// How a case ended on a back end.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The largest error relative to what is allowed, from 0 to 1.
    Pass { worst: f64 },
    /// Ran, with wrong numbers: where and which.
    Mismatch(String),
    /// The back end has no kernel, by its own words.
    Unsupported(String),
    /// Did not run.
    Error(String),
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = elementwise::cases();
    cases.extend(reductions::cases());
    cases.extend(movement::cases());
    cases.extend(products::cases());
    cases.extend(windows::cases());
    cases.extend(composites::cases());
    cases.extend(extensions::cases());
    cases
}

impl Case {
    #[cfg(test)]
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the case on `backend` and compares every output of every run with the scalar reference.
    pub async fn check(&self, backend: &mut dyn Backend) -> Outcome {
        match self.compare(backend).await {
            Ok(outcome) => outcome,
            Err(Failure::Backend(BackendError::Unsupported { op, reason })) => {
                Outcome::Unsupported(format!("{op} ({reason})"))
            }
            Err(Failure::Backend(error)) => Outcome::Error(error.to_string()),
            Err(Failure::Reference(error)) => Outcome::Error(format!("reference: {error}")),
        }
    }

    async fn compare(&self, backend: &mut dyn Backend) -> Result<Outcome, Failure> {
        let loaded = self.load(backend).await?;
        let outcome = self.run_all(backend, &loaded).await;
        backend.drop_plan(loaded.plan);
        for id in loaded.states.into_values() {
            backend.drop_state(id);
        }
        outcome
    }

    async fn run_all(
        &self,
        backend: &mut dyn Backend,
        loaded: &Loaded,
    ) -> Result<Outcome, Failure> {
        let names: Vec<&str> = self.graph.outputs.iter().map(|(n, _)| n.as_str()).collect();
        let mut states = self.zero_states()?;
        let mut worst = 0.0f64;
        for (number, inputs) in self.runs.iter().enumerate() {
            let given: Vec<(&str, &Tensor)> =
                inputs.iter().map(|(name, t)| (name.as_str(), t)).collect();
            let got = backend.run(loaded.plan, &given, &names).await?;
            let expected = self.expected(inputs, &states)?;
            for (name, got) in names.iter().zip(&got) {
                match difference(got, &expected.outputs[*name], self.is_coarse(backend)) {
                    Ok(error) => worst = worst.max(error),
                    Err(what) => {
                        return Ok(Outcome::Mismatch(format!("run {number}, {name}: {what}")));
                    }
                }
            }
            states.extend(expected.states);
        }
        Ok(Outcome::Pass { worst })
    }

    async fn load(&self, backend: &mut dyn Backend) -> Result<Loaded, Failure> {
        let mut weights: BTreeMap<String, WeightId> = BTreeMap::new();
        for weight in &self.weights {
            let id =
                backend.create_weight(&weight.name, weight.element, &weight.shape, weight.usage)?;
            // In two pieces, as a stream would bring it.
            let middle = weight.bytes.len() / 8 * 4;
            backend.write_weight(id, 0, &weight.bytes[..middle])?;
            backend.write_weight(id, middle as u64, &weight.bytes[middle..])?;
            backend.finish_weight(id)?;
            weights.insert(weight.name.clone(), id);
        }
        let mut states: BTreeMap<String, StateId> = BTreeMap::new();
        for (name, zeros) in self.zero_states()? {
            states.insert(
                name,
                backend.create_state(zeros.data_type(), zeros.shape())?,
            );
        }
        let graph = decompose(&self.graph, |op, inputs| backend.supports(op, inputs))
            .map_err(BackendError::from)?;
        let plan = backend.compile(&graph, &weights, &states).await?;
        Ok(Loaded { plan, states })
    }

    fn zero_states(&self) -> Result<BTreeMap<String, Tensor>, BackendError> {
        self.graph
            .states()
            .map(|(_, name, value)| {
                let data_type = value.element.plain().unwrap_or(DataType::F32);
                let zeros = Tensor::zeros(data_type, &value.fixed_shape()?)?;
                Ok((name.to_owned(), zeros))
            })
            .collect()
    }

    fn expected(
        &self,
        inputs: &[(String, Tensor)],
        states: &BTreeMap<String, Tensor>,
    ) -> Result<super::cpu::reference::Evaluated, EvaluateError> {
        let mut given: BTreeMap<String, View<'_>> = BTreeMap::new();
        given.extend(inputs.iter().map(|(name, t)| (name.clone(), t.into())));
        given.extend(states.iter().map(|(name, t)| (name.clone(), t.into())));
        given.extend(self.weights.iter().map(|weight| {
            let view = View {
                element: weight.element,
                shape: &weight.shape,
                bytes: &weight.bytes,
            };
            (weight.name.clone(), view)
        }));
        evaluate_graph(&self.graph, &given)
    }

    /// Whether activations are quantized to 8 bits on the way.
    fn is_coarse(&self, backend: &dyn Backend) -> bool {
        let blocks = self
            .weights
            .iter()
            .any(|weight| weight.usage.matmul && weight.element.block().is_some());
        let exact = |node: &Node| matches!(node.op, Op::BlockMatmul { exact: true, .. });
        let exact = self.graph.nodes.iter().any(exact);
        blocks && !exact && backend.info().activations == Activations::Int8
    }
}

struct Loaded {
    plan: super::PlanId,
    states: BTreeMap<String, StateId>,
}

enum Failure {
    Backend(BackendError),
    Reference(EvaluateError),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Failure {
        Failure::Backend(error)
    }
}

impl From<EvaluateError> for Failure {
    fn from(error: EvaluateError) -> Failure {
        Failure::Reference(error)
    }
}

/// The largest error relative to what is allowed, or what is wrong.
fn difference(got: &Tensor, expected: &Tensor, coarse: bool) -> Result<f64, String> {
    if got.shape() != expected.shape() || got.data_type() != expected.data_type() {
        return Err(format!("{got:?} instead of {expected:?}"));
    }
    let (got, expected) = (got.to_f64_vec(), expected.to_f64_vec());
    if coarse {
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let error = square(&mut got.iter().zip(&expected).map(|(g, e)| g - e)).sqrt();
        let size = square(&mut expected.iter().copied()).sqrt();
        let ratio = error / (INT8_ERROR * size + ATOL);
        // Not `ratio > 1`, which NaN would pass.
        return match ratio <= 1.0 {
            true => Ok(ratio),
            false => Err(format!("error {error} beside a result of size {size}")),
        };
    }
    let mut worst = 0.0f64;
    for (n, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
        if got == expected || (got.is_nan() && expected.is_nan()) {
            continue;
        }
        let ratio = (got - expected).abs() / (ATOL + RTOL * expected.abs());
        if ratio.is_nan() || ratio > 1.0 || expected.is_infinite() {
            return Err(format!("element {n} is {got}, {expected} expected"));
        }
        worst = worst.max(ratio);
    }
    Ok(worst)
}

/// A case under construction.
struct Draft {
    name: String,
    builder: GraphBuilder,
    weights: Vec<Weight>,
    inputs: Vec<(String, Tensor)>,
}

impl Draft {
    fn new(name: impl Into<String>) -> Draft {
        Draft {
            name: name.into(),
            builder: GraphBuilder::new(),
            weights: Vec::new(),
            inputs: Vec::new(),
        }
    }

    fn input(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("x{}", self.inputs.len());
        let shape = dims(tensor.shape());
        let id = self.builder.input(&name, tensor.data_type(), shape);
        self.inputs.push((name, tensor));
        id.expect("inputs have different names")
    }

    fn weight(
        &mut self,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
        usage: WeightUse,
    ) -> ValueId {
        let name = format!("w{}", self.weights.len());
        let id = self.builder.weight(&name, element, shape);
        self.weights.push(Weight {
            name,
            element,
            shape: shape.to_vec(),
            bytes,
            usage,
        });
        id.expect("weights have different names")
    }

    /// Adds the operator whose result the case is about.
    fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = &self.name;
        let id = self.builder.op(op, inputs);
        id.unwrap_or_else(|error| panic!("case {name}: {error}"))
    }

    /// The case of one run whose output is `y`.
    fn case(self, y: ValueId) -> Case {
        let inputs = self.inputs.clone();
        self.case_of_runs(y, vec![inputs])
    }

    fn case_of_runs(mut self, y: ValueId, runs: Vec<Vec<(String, Tensor)>>) -> Case {
        self.builder.output("y", y).expect("the only output");
        Case {
            name: self.name,
            graph: self.builder.finish(),
            weights: self.weights,
            runs,
        }
    }

    /// The case of one operator over inputs.
    fn of(name: impl Into<String>, op: Op, inputs: Vec<Tensor>) -> Case {
        let mut draft = Draft::new(name);
        let ids: Vec<ValueId> = inputs.into_iter().map(|t| draft.input(t)).collect();
        let y = draft.op(op, &ids);
        draft.case(y)
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::from(n)).collect()
}

#[cfg(test)]
mod tests;
