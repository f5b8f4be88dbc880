//! Kernels on whatever adapter there is, against plain loops, over shapes that are no multiples of a tile.
//!
//! Every test runs over each path that the adapter has. On a machine without an adapter they say so and pass.

mod attention;
mod device;
mod elementwise;
mod movement;
mod norms;
mod products;

use std::collections::BTreeMap;

use super::{Gpu, GpuOptions, Path};
use crate::backend::{Backend, BackendError, NumericPolicy, WeightUse};
use crate::graph::{Dim, Graph, GraphBuilder, ValueId};
use crate::tensor::{DataType, ElementType, Tensor};

/// The error that results may have in f32.
const ATOL: f64 = 2e-4;
const RTOL: f64 = 1e-3;

/// An open GPU for each path, or none with the reason printed.
fn gpus() -> Vec<Gpu> {
    gpus_with(GpuOptions::default())
}

fn gpus_with(options: GpuOptions) -> Vec<Gpu> {
    let mut found = Vec::new();
    for path in Path::ALL {
        let options = GpuOptions {
            path: Some(path),
            ..options.clone()
        };
        match pollster::block_on(Gpu::open(&options)) {
            Ok(gpu) if gpu.path() == path => found.push(gpu),
            Ok(gpu) => println!("skipped: {} has no subgroups", gpu.adapter().name),
            Err(BackendError::Unavailable(reason)) => {
                println!("skipped: {reason}");
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

/// Options under which f16 arithmetic is allowed.
fn half() -> GpuOptions {
    GpuOptions {
        policy: NumericPolicy {
            half: true,
            ..NumericPolicy::default()
        },
        ..GpuOptions::default()
    }
}

struct WeightData {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    usage: WeightUse,
}

/// A small graph with its data.
#[derive(Default)]
struct Case {
    builder: GraphBuilder,
    inputs: Vec<(String, Tensor)>,
    weights: Vec<WeightData>,
    states: Vec<(String, Vec<usize>)>,
}

impl Case {
    fn input(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("input{}", self.inputs.len());
        let id = self
            .builder
            .input(&name, tensor.data_type(), dims(tensor.shape()))
            .unwrap();
        self.inputs.push((name, tensor));
        id
    }

    fn weight(&mut self, element: ElementType, shape: &[usize], bytes: Vec<u8>) -> ValueId {
        self.weight_for(
            element,
            shape,
            bytes,
            WeightUse {
                matmul: true,
                ..WeightUse::default()
            },
        )
    }

    fn weight_for(
        &mut self,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
        usage: WeightUse,
    ) -> ValueId {
        let name = format!("weight{}", self.weights.len());
        let id = self.builder.weight(&name, element, shape).unwrap();
        self.weights.push(WeightData {
            name,
            element,
            shape: shape.to_vec(),
            bytes,
            usage,
        });
        id
    }

    fn state(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("state{}", self.states.len());
        let id = self
            .builder
            .state(&name, DataType::F32, dims(shape))
            .unwrap();
        self.states.push((name, shape.to_vec()));
        id
    }

    /// The graph with `output` as `y`, and its data on the device, ready to run.
    fn load(self, gpu: &mut Gpu, output: ValueId) -> Result<Loaded, BackendError> {
        let Case {
            mut builder,
            inputs,
            weights,
            states,
        } = self;
        builder.output("y", output).unwrap();
        let graph = builder.finish();
        let mut weight_ids = BTreeMap::new();
        for weight in weights {
            let WeightData { name, bytes, .. } = weight;
            let id = gpu.create_weight(&name, weight.element, &weight.shape, weight.usage)?;
            // In uneven chunks, as they come from a stream.
            let mut at = 0usize;
            for size in [3, 1, 1_000_001, usize::MAX] {
                let chunk = &bytes[at..bytes.len().min(at.saturating_add(size))];
                gpu.write_weight(id, at as u64, chunk)?;
                at += chunk.len();
            }
            gpu.finish_weight(id)?;
            weight_ids.insert(name, id);
        }
        let mut state_ids = BTreeMap::new();
        for (name, shape) in states {
            state_ids.insert(name, gpu.create_state(DataType::F32, &shape)?);
        }
        Ok(Loaded {
            graph,
            inputs,
            weight_ids,
            state_ids,
        })
    }

    fn run(self, gpu: &mut Gpu, output: ValueId) -> Result<Tensor, BackendError> {
        let loaded = self.load(gpu, output)?;
        loaded.run(gpu)
    }
}

struct Loaded {
    graph: Graph,
    inputs: Vec<(String, Tensor)>,
    weight_ids: BTreeMap<String, crate::backend::WeightId>,
    state_ids: BTreeMap<String, crate::backend::StateId>,
}

impl Loaded {
    fn run(&self, gpu: &mut Gpu) -> Result<Tensor, BackendError> {
        let plan = pollster::block_on(gpu.compile(&self.graph, &self.weight_ids, &self.state_ids))?;
        let inputs: Vec<_> = self.inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let mut outputs = pollster::block_on(gpu.run(plan, &inputs, &["y"]))?;
        gpu.drop_plan(plan);
        Ok(outputs.remove(0))
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::from(n)).collect()
}

/// Reproducible numbers in -1 .. 1.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn next(&mut self) -> f32 {
        (self.bits() as f64 / f64::from(1u32 << 30) - 1.0) as f32
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_f32(shape, &self.values(shape.iter().product())).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

fn compare(what: &str, got: &[f32], expected: &[f32]) {
    compare_within(what, got, expected, ATOL, RTOL);
}

fn compare_within(what: &str, got: &[f32], expected: &[f32], atol: f64, rtol: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let (got, expected) = (f64::from(got), f64::from(expected));
        assert!(
            (got - expected).abs() <= atol + rtol * expected.abs(),
            "{what}: element {i} is {got}, expected {expected}"
        );
    }
}
