//! Which native back end, and the device it is.

use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::{Parallel, Serial, ThreadPool};
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Device, NumericPolicy};

/// A native back end of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeTarget {
    Cpu,
    /// Hardware where there is any, else a software adapter, which every result names.
    Wgpu,
    /// An execution provider of the ONNX Runtime that this process holds.
    #[cfg(feature = "ort")]
    Ort(crate::ort::Provider),
}

impl NativeTarget {
    pub const fn name(self) -> &'static str {
        match self {
            NativeTarget::Cpu => "cpu",
            NativeTarget::Wgpu => "wgpu",
            #[cfg(feature = "ort")]
            NativeTarget::Ort(provider) => provider.name(),
        }
    }

    /// The device, with so many threads (all of the machine's without a number) on the CPU.
    pub fn device(self, policy: NumericPolicy, threads: Option<usize>) -> Option<Box<dyn Device>> {
        match self {
            NativeTarget::Cpu => {
                let parallel: Rc<dyn Parallel> = match threads {
                    Some(0 | 1) => Rc::new(Serial),
                    Some(threads) => Rc::new(ThreadPool::new(threads)),
                    None => Rc::new(ThreadPool::for_this_machine()),
                };
                Some(Box::new(CpuDevice::new(CpuOptions {
                    policy,
                    kernels: Kernels::best(),
                    parallel,
                })))
            }
            #[cfg(feature = "wgpu")]
            NativeTarget::Wgpu => {
                use fewbit_engine::backend::gpu::{GpuDevice, GpuOptions};
                Some(Box::new(GpuDevice::new(GpuOptions {
                    policy,
                    ..GpuOptions::default()
                })))
            }
            #[cfg(not(feature = "wgpu"))]
            NativeTarget::Wgpu => None,
            #[cfg(feature = "ort")]
            NativeTarget::Ort(provider) => {
                Some(Box::new(crate::ort::OrtDevice::new(provider, threads)))
            }
        }
    }
}
