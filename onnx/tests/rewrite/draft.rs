//! Graphs written by hand, and both sides of a rewrite computed by the scalar reference.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::graph::op::{Binary, Reduce, ReduceKind, Unary};
use fewbit_engine::graph::{Dim, Graph, GraphBuilder, Op, ValueId};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};
use fewbit_onnx::rewrite;

#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) b: GraphBuilder,
    given: BTreeMap<String, Tensor>,
    seed: u32,
    /// Whether all floats are of 16 bits.
    half: bool,
}

/// A tensor of halves.
fn halved(tensor: &Tensor) -> Tensor {
    let values = tensor.as_f32().unwrap().iter();
    let bytes: Vec<u8> = values
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect();
    Tensor::from_bytes(DataType::F16, tensor.shape(), &bytes).unwrap()
}

impl Draft {
    /// In halves, or in f32.
    pub(crate) fn of(half: bool) -> Draft {
        Draft {
            half,
            ..Draft::default()
        }
    }

    fn float(&self) -> DataType {
        match self.half {
            true => DataType::F16,
            false => DataType::F32,
        }
    }

    fn noise(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                self.seed = self
                    .seed
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        let tensor = Tensor::from_f32(shape, &values).unwrap();
        match self.half {
            true => halved(&tensor),
            false => tensor,
        }
    }

    fn name(&self) -> String {
        format!("v{}", self.given.len())
    }

    pub(crate) fn input(&mut self, shape: &[usize]) -> ValueId {
        let (name, tensor) = (self.name(), self.noise(shape));
        self.given.insert(name.clone(), tensor);
        let shape = shape.iter().map(|&size| Dim::from(size)).collect();
        self.b.input(&name, self.float(), shape).unwrap()
    }

    /// An input of 0 and 1, both in every row of three or more.
    pub(crate) fn condition(&mut self, shape: &[usize]) -> ValueId {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..count).map(|i| u8::from(i % 3 == 0)).collect();
        let name = self.name();
        let tensor = Tensor::from_bytes(DataType::U8, shape, &bytes).unwrap();
        self.given.insert(name.clone(), tensor);
        let shape = shape.iter().map(|&size| Dim::from(size)).collect();
        self.b.input(&name, DataType::U8, shape).unwrap()
    }

    pub(crate) fn weight(&mut self, shape: &[usize]) -> ValueId {
        let (name, tensor) = (self.name(), self.noise(shape));
        self.given.insert(name.clone(), tensor);
        let element = ElementType::Plain(self.float());
        self.b.weight(&name, element, shape).unwrap()
    }

    pub(crate) fn number(&mut self, value: f32) -> ValueId {
        match self.half {
            true => {
                let number = Tensor::from_f32(&[], &[value]).unwrap();
                self.b.constant(halved(&number))
            }
            false => self.b.number(value).unwrap(),
        }
    }

    pub(crate) fn unary(&mut self, op: Unary, x: ValueId) -> ValueId {
        self.b.unary(op, x).unwrap()
    }

    pub(crate) fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.b.binary(op, a, b).unwrap()
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Add, a, b)
    }

    pub(crate) fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Mul, a, b)
    }

    /// With a number on the right.
    pub(crate) fn with(&mut self, op: Binary, x: ValueId, value: f32) -> ValueId {
        let value = self.number(value);
        self.binary(op, x, value)
    }

    pub(crate) fn mean(&mut self, x: ValueId, axis: usize) -> ValueId {
        let reduce = Op::Reduce(Reduce {
            kind: ReduceKind::Mean,
            axes: vec![axis],
            keep_dimensions: true,
        });
        self.b.op(reduce, &[x]).unwrap()
    }

    pub(crate) fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> ValueId {
        self.b.transpose(x, permutation).unwrap()
    }

    pub(crate) fn matmul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.b.matmul(a, b).unwrap()
    }

    /// Rewrites the graph that makes `y`, and holds the numbers of both against each other; the operators that are left, but for
    /// those that make halves wide and narrow again.
    pub(crate) fn rewritten(mut self, y: ValueId) -> Vec<&'static str> {
        self.b.output("y", y).unwrap();
        let graph = self.b.finish();
        let new = rewrite(&graph).unwrap();
        let given: BTreeMap<String, View<'_>> = self
            .given
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.into()))
            .collect();
        let compute = |graph: &Graph| evaluate_graph(graph, &given).unwrap().outputs["y"].clone();
        let (before, after) = (compute(&graph), compute(&new));
        assert_eq!(before.shape(), after.shape());
        assert_eq!(before.data_type(), after.data_type());
        // Of halves each step on the way was rounded.
        let most = if self.half { 4e-3 } else { 2e-6 };
        let pairs = before.to_f64_vec().into_iter().zip(after.to_f64_vec());
        for (a, b) in pairs {
            assert!((a - b).abs() <= most * a.abs().max(1.0), "{a} is {b} after");
        }
        let names = new.nodes.iter().map(|node| node.op.name());
        names.filter(|&name| !self.half || name != "cast").collect()
    }
}
