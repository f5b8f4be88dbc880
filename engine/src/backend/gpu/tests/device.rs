//! Errors of the device and of what it is given; its loss.

use super::*;
use crate::graph::op::Unary;

#[test]
fn a_lost_device_is_a_typed_error_and_another_can_be_opened() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let mut case = Case::default();
    let id = case.input(Random(1).tensor(&[100]));
    let y = case.builder.unary(Unary::Exp, id).unwrap();
    let loaded = case.load(gpu, y).unwrap();
    loaded.run(gpu).unwrap();
    assert!(gpu.lose_device());
    let error = loaded.run(gpu).unwrap_err();
    assert!(matches!(error, BackendError::DeviceLost(_)), "{error:?}");
    // It stays lost, also for what is not a run.
    let error = gpu.create_state(DataType::F32, &[4]).unwrap_err();
    assert!(matches!(error, BackendError::DeviceLost(_)), "{error:?}");
    let mut fresh = pollster::block_on(Gpu::open(&GpuOptions::default())).unwrap();
    loaded.run(&mut fresh).unwrap();
}

#[test]
fn a_loss_between_submission_and_readback_is_seen() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let mut case = Case::default();
    let id = case.input(Random(1).tensor(&[100]));
    let y = case.builder.unary(Unary::Exp, id).unwrap();
    let loaded = case.load(gpu, y).unwrap();
    let none = BTreeMap::new();
    let plan = pollster::block_on(gpu.compile(&loaded.graph, &none, &BTreeMap::new())).unwrap();
    gpu.lose_device();
    let inputs: Vec<_> = loaded.inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let error = pollster::block_on(gpu.run(plan, &inputs, &["y"])).unwrap_err();
    assert!(matches!(error, BackendError::DeviceLost(_)), "{error:?}");
}

#[test]
fn wrong_inputs_are_named() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let mut case = Case::default();
    let id = case.input(Random(1).tensor(&[4]));
    let y = case.builder.unary(Unary::Exp, id).unwrap();
    let mut loaded = case.load(gpu, y).unwrap();
    loaded.inputs[0].1 = Random(1).tensor(&[5]);
    let error = loaded.run(gpu).unwrap_err();
    assert!(
        matches!(&error, BackendError::Input { name, .. } if name == "input0"),
        "{error:?}"
    );
    loaded.inputs.clear();
    let error = loaded.run(gpu).unwrap_err();
    assert!(matches!(error, BackendError::Input { .. }), "{error:?}");
}

#[test]
fn a_long_integer_beyond_32_bits_is_an_error() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let mut case = Case::default();
    let id = case.input(Tensor::from_i64(&[1], &[1 << 40]).unwrap());
    let y = case.builder.cast(id, DataType::F32).unwrap();
    let error = case.run(gpu, y).unwrap_err();
    assert!(
        matches!(&error, BackendError::Unsupported { op, .. } if op == "input input0"),
        "{error:?}"
    );
}

#[test]
fn operators_without_a_kernel_are_named() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let mut case = Case::default();
    let id = case.input(Tensor::from_bytes(DataType::F64, &[1], &[0; 8]).unwrap());
    let y = case.builder.unary(Unary::Abs, id).unwrap();
    let error = case.run(gpu, y).unwrap_err();
    assert!(
        matches!(&error, BackendError::Unsupported { op, .. } if op == "abs"),
        "{error:?}"
    );
}

#[test]
fn incomplete_and_misplaced_weights_are_errors() {
    let mut gpus = gpus();
    let Some(gpu) = gpus.first_mut() else { return };
    let usage = WeightUse::default();
    let id = gpu
        .create_weight("w", ElementType::F32, &[4], usage)
        .unwrap();
    gpu.write_weight(id, 0, &[0; 6]).unwrap();
    assert!(gpu.finish_weight(id).is_err());
    assert!(gpu.write_weight(id, 10, &[0; 4]).is_err());
    assert!(gpu.write_weight(id, 6, &[0; 11]).is_err());
    gpu.write_weight(id, 6, &[0; 10]).unwrap();
    gpu.finish_weight(id).unwrap();
    assert_eq!(gpu.memory().weights, 16);
}
