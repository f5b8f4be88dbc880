//! The back ends that a suite runs on. A suite is written once; a new back end is a line here.

use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::{Isa, Kernels};
use fewbit_engine::backend::cpu::threads::{Parallel, Serial, ThreadPool};
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Activations, Device, NumericPolicy};

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
    targets
}
