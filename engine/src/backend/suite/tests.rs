use std::collections::BTreeSet;
use std::rc::Rc;

use super::*;
use crate::backend::cpu::kernels::{Isa, Kernels};
use crate::backend::cpu::threads::{Parallel, Serial};
use crate::backend::cpu::{CpuDevice, CpuOptions};
use crate::backend::{Device, NumericPolicy};
use crate::graph::op::{Binary, Reduce, ReduceKind};

/// Every case passes on the CPU: each instruction set, activations in floats and in 8 bits, one thread and several.
#[test]
fn the_cpu_passes() {
    for isa in Isa::available() {
        for activations in [Activations::Float, Activations::Int8] {
            passes(isa, activations, Rc::new(Serial));
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        let pool = crate::backend::cpu::threads::ThreadPool::new(3);
        passes(Kernels::best().isa(), Activations::Float, Rc::new(pool));
    }
}

/// Cases without a GPU kernel, which the back end must name as unsupported.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
const NOT_ON_THE_GPU: &[&str] = &[];

/// Every case that the GPU has kernels for passes on each path of each adapter there is; where there is none,
/// the test says so.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
#[test]
fn the_gpu_passes() {
    use crate::backend::gpu::{GpuDevice, GpuOptions, Path};
    for path in Path::ALL {
        let device = GpuDevice::new(GpuOptions {
            path: Some(path),
            ..GpuOptions::default()
        });
        let mut backend = match pollster::block_on(device.open()) {
            Ok(backend) => backend,
            Err(BackendError::Unavailable(reason)) => {
                println!("skipped: {reason}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let info = backend.info();
        println!("{path:?} on {}", info.adapter);
        let mut failed = Vec::new();
        for case in cases() {
            match pollster::block_on(case.check(backend.as_mut())) {
                Outcome::Pass { .. } => {}
                Outcome::Unsupported(_) if NOT_ON_THE_GPU.contains(&case.name.as_str()) => {}
                other => failed.push(format!("{}: {other:?}", case.name)),
            }
        }
        let shown = failed.join("\n");
        assert!(failed.is_empty(), "{path:?} on {}:\n{shown}", info.adapter);
    }
}

fn passes(isa: Isa, activations: Activations, parallel: Rc<dyn Parallel>) {
    let options = CpuOptions {
        policy: NumericPolicy {
            activations,
            half: false,
        },
        kernels: Kernels::with(isa).expect("an available instruction set"),
        parallel,
    };
    let device = CpuDevice::new(options);
    let mut backend = pollster::block_on(device.open()).unwrap();
    let mut failed = Vec::new();
    for case in cases() {
        match pollster::block_on(case.check(backend.as_mut())) {
            Outcome::Pass { .. } => {}
            other => failed.push(format!("{}: {other:?}", case.name)),
        }
    }
    let shown = failed.join("\n");
    assert!(failed.is_empty(), "{isa:?} {activations:?}:\n{shown}");
}

/// `(softmax(rms_norm(x)) + n · wᵀ) · max(x)`, the products being of whole numbers: a graph that goes by the range of a run.
fn measured() -> Case {
    let mut random = draw::Random::new(47);
    let mut draft = Draft::new("measured");
    let x = draft.input(random.tensor(&[1, 8, 64]));
    let scale = draft.input(random.tensor(&[64]));
    let numbers = draft.input(random.integers(&[1, 8, 64], -255, 255));
    let numbers = draft.op(Op::Cast { to: DataType::F32 }, &[numbers]);
    let whole = random.integers(&[64 * 64], -127, 127);
    let whole: Vec<f32> = whole.to_f64_vec().into_iter().map(|x| x as f32).collect();
    let bytes = whole.iter().flat_map(|x| x.to_le_bytes()).collect();
    let usage = WeightUse {
        matmul: true,
        ..WeightUse::default()
    };
    let weight = draft.weight(ElementType::F32, &[64, 64], bytes, usage);
    let most = Op::Reduce(Reduce {
        kind: ReduceKind::Max,
        axes: vec![0, 1, 2],
        keep_dimensions: true,
    });
    let most = draft.op(most, &[x]);
    let normal = draft.op(Op::RmsNormalization { epsilon: 1e-6 }, &[x, scale]);
    let shares = draft.op(Op::Softmax { axis: 2 }, &[normal]);
    let product = Op::BlockMatmul {
        bias: false,
        exact: true,
    };
    let product = draft.op(product, &[numbers, weight]);
    let sum = draft.op(Op::Binary(Binary::Add), &[shares, product]);
    let y = draft.op(Op::Binary(Binary::Mul), &[sum, most]);
    draft.case(y)
}

/// Where ranges are measured and integers multiplied, all instruction sets make the same bits, those of the reference.
#[test]
fn what_is_rounded_by_the_range_of_a_run_is_the_same_everywhere() {
    for isa in Isa::available() {
        let options = CpuOptions {
            policy: NumericPolicy::default(),
            kernels: Kernels::with(isa).expect("an available instruction set"),
            parallel: Rc::new(Serial),
        };
        let mut backend = pollster::block_on(CpuDevice::new(options).open()).unwrap();
        match pollster::block_on(measured().check(backend.as_mut())) {
            Outcome::Pass { worst: 0.0 } => {}
            other => panic!("{isa:?}: {other:?}"),
        }
    }
}

#[test]
fn every_operator_has_a_case_and_no_name_comes_twice() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    let covered: BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| case.graph.nodes.iter().map(|node| node.op.name()))
        .collect();
    for name in [
        "abs",
        "add",
        "pow",
        "equal",
        "logical_and",
        "clamp",
        "where",
        "cast",
        "fused_elementwise",
        "reduce_sum",
        "softmax",
        "layer_normalization",
        "cumulative_sum",
        "conv2d",
        "average_pool2d",
        "max_pool2d",
        "pad",
        "matmul",
        "reshape",
        "transpose",
        "concat",
        "slice",
        "expand",
        "gather",
        "rms_normalization",
        "rotary_embedding",
        "attention",
        "block_matmul",
        "kv_append",
        "dequantize_blocks",
        "scatter_nd",
        "top_k",
        "bitwise_and",
        "bitcast",
        "atan",
    ] {
        assert!(covered.contains(name), "{name}");
    }
}

#[test]
fn wrong_numbers_are_seen() {
    let f = |values: &[f32]| Tensor::from_f32(&[values.len()], values).unwrap();
    let right = f(&[1.0, -2.0, 100.0]);
    assert_eq!(difference(&right, &right, false), Ok(0.0));
    assert!(difference(&f(&[1.0, -2.0, 100.05]), &right, false).is_ok());
    assert!(difference(&f(&[1.0, -2.0, 100.5]), &right, false).is_err());
    assert!(difference(&f(&[1.0, f32::NAN, 100.0]), &right, false).is_err());
    assert!(difference(&f(&[1.0, f32::NAN, 100.0]), &right, true).is_err());
    assert!(difference(&f(&[1.0, -2.0, 101.0]), &right, true).is_ok());
    assert!(difference(&f(&[1.0, -2.0, 103.0]), &right, true).is_err());
    assert!(difference(&f(&[1.0, -2.0]), &right, false).is_err());
    let endless = f(&[f32::INFINITY]);
    assert!(difference(&f(&[f32::MAX]), &endless, false).is_err());
    assert_eq!(difference(&endless, &endless, false), Ok(0.0));
    let integers = Tensor::from_i32(&[1], &[1]).unwrap();
    assert!(difference(&integers, &f(&[1.0]), false).is_err());
}
