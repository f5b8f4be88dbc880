//! The back ends that a suite runs on. A suite is written once; a new back end is a line here.

use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::{Isa, Kernels};
use fewbit_engine::backend::cpu::threads::{Parallel, Serial, ThreadPool};
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::mixed::MixedDevice;
use fewbit_engine::backend::{Activations, Device, NumericPolicy};

use crate::choosy::Choosy;

pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) device: Box<dyn Device>,
}

/// Every back end and instruction set of this machine.
pub(crate) fn all(activations: Activations) -> Vec<Target> {
    let policy = NumericPolicy {
        activations,
        half: false,
    };
    let mut targets = Vec::new();
    for isa in Isa::available() {
        let kernels = Kernels::with(isa).expect("an available instruction set");
        let pools: [(&str, Rc<dyn Parallel>); 2] = [
            ("1 thread", Rc::new(Serial)),
            ("3 threads", Rc::new(ThreadPool::new(3))),
        ];
        for (threads, parallel) in pools {
            targets.push(Target {
                name: format!("cpu, {}, {threads}", isa.name()),
                device: Box::new(CpuDevice::new(CpuOptions {
                    policy,
                    kernels,
                    parallel,
                })),
            });
        }
    }
    targets.extend(mixed(policy));
    #[cfg(feature = "gpu")]
    targets.extend(gpu(policy));
    targets
}

/// A back end that refuses operators, beside one that takes all.
fn mixed(policy: NumericPolicy) -> impl Iterator<Item = Target> {
    let refusals: [(&'static [&'static str], bool); 3] = [
        (&["softmax", "layer_normalization", "sigmoid"], false),
        // Where it is, the states are.
        (&["attention", "gather"], true),
        (&["kv_append", "matmul", "block_matmul"], false),
    ];
    refusals.into_iter().map(move |(refuses, composites)| {
        let cpu = || {
            Box::new(CpuDevice::new(CpuOptions {
                policy,
                kernels: Kernels::best(),
                parallel: Rc::new(Serial),
            }))
        };
        let choosy = Choosy {
            device: cpu(),
            refuses,
            composites,
        };
        Target {
            name: format!("mixed, without {}", refuses.join(", ")),
            device: Box::new(MixedDevice::new(Box::new(choosy), cpu())),
        }
    })
}

/// The GPU by each path that its adapter has; none, with the reason printed, where there is no adapter.
#[cfg(feature = "gpu")]
pub(crate) fn gpu(policy: NumericPolicy) -> Vec<Target> {
    use fewbit_engine::backend::gpu::{Gpu, GpuDevice, GpuOptions, Path};

    let mut targets = Vec::new();
    for path in Path::ALL {
        let options = GpuOptions {
            policy,
            path: Some(path),
            ..GpuOptions::default()
        };
        match pollster::block_on(Gpu::open(&options)) {
            Ok(gpu) if gpu.path() == path => targets.push(Target {
                name: format!("gpu, {}, {path:?}", gpu.adapter().name),
                device: Box::new(GpuDevice::new(options)),
            }),
            Ok(gpu) => println!("skipped: {} has no {path:?}", gpu.adapter().name),
            Err(error) => {
                println!("skipped: {error}");
                break;
            }
        }
    }
    targets
}
