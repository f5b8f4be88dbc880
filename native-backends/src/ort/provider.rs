//! ONNX Runtime's execution providers, and how a session is told to use one.

use ort::ep::{self, ExecutionProviderDispatch};
use ort::memory::AllocationDevice;

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    Cpu,
    OpenVino,
    Cuda,
    TensorRt,
    MiGraphX,
    CoreMl,
    Qnn,
    DirectMl,
}

impl Provider {
    pub const ALL: [Provider; 8] = [
        Provider::Cpu,
        Provider::OpenVino,
        Provider::Cuda,
        Provider::TensorRt,
        Provider::MiGraphX,
        Provider::CoreMl,
        Provider::Qnn,
        Provider::DirectMl,
    ];

    /// As targets name it.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "ort-cpu",
            Provider::OpenVino => "ort-openvino",
            Provider::Cuda => "ort-cuda",
            Provider::TensorRt => "ort-tensorrt",
            Provider::MiGraphX => "ort-migraphx",
            Provider::CoreMl => "ort-coreml",
            Provider::Qnn => "ort-qnn",
            Provider::DirectMl => "ort-directml",
        }
    }

    /// As ONNX Runtime names it.
    pub const fn identifier(self) -> &'static str {
        match self {
            Provider::Cpu => "CPUExecutionProvider",
            Provider::OpenVino => "OpenVINOExecutionProvider",
            Provider::Cuda => "CUDAExecutionProvider",
            Provider::TensorRt => "TensorrtExecutionProvider",
            Provider::MiGraphX => "MIGraphXExecutionProvider",
            Provider::CoreMl => "CoreMLExecutionProvider",
            Provider::Qnn => "QNNExecutionProvider",
            Provider::DirectMl => "DmlExecutionProvider",
        }
    }

    /// Whether it is a library of its own that ONNX Runtime is told to load, and that then lists its devices.
    pub const fn is_plug_in(self) -> bool {
        matches!(self, Provider::Qnn)
    }

    /// Whether a session of it serves every size. Where sizes are not known, others leave them to the CPU.
    pub(super) const fn takes_symbols(self) -> bool {
        matches!(self, Provider::Cpu | Provider::OpenVino)
    }

    /// The options it gets, by ONNX Runtime's names: those that keep it at f32.
    pub(super) fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Provider::OpenVino => &[("device_type", "CPU"), ("precision", "FP32")],
            Provider::Cuda => &[("use_tf32", "0")],
            _ => &[],
        }
    }

    /// What registers it with a session; `None` for the CPU's, which is always there, and for plug-ins.
    pub(super) fn dispatch(self, threads: Option<usize>) -> Option<ExecutionProviderDispatch> {
        use ep::ArbitrarilyConfigurableExecutionProvider as _;
        let dispatch = match self {
            Provider::Cpu | Provider::Qnn => return None,
            Provider::OpenVino => {
                let mut provider = ep::OpenVINO::default();
                for (key, value) in self.options() {
                    provider = provider.with_arbitrary_config(key, value);
                }
                if let Some(threads) = threads {
                    provider = provider.with_num_threads(threads);
                }
                provider.build()
            }
            Provider::Cuda => ep::CUDA::default().with_tf32(false).build(),
            Provider::TensorRt => ep::TensorRT::default().build(),
            Provider::MiGraphX => ep::MIGraphX::default().build(),
            Provider::CoreMl => ep::CoreML::default()
                .with_static_input_shapes(true)
                .with_model_format(ep::coreml::ModelFormat::MLProgram)
                .build(),
            Provider::DirectMl => ep::DirectML::default().build(),
        };
        // Without this a provider that is not there is the CPU's, silently.
        Some(dispatch.error_on_failure())
    }

    /// Where its values are, if not in host memory.
    pub(super) fn memory(self) -> Option<AllocationDevice<'static>> {
        match self {
            Provider::Cuda | Provider::TensorRt => Some(AllocationDevice::CUDA),
            Provider::MiGraphX => Some(AllocationDevice::HIP),
            Provider::DirectMl => Some(AllocationDevice::DIRECTML),
            Provider::Cpu | Provider::OpenVino | Provider::CoreMl | Provider::Qnn => None,
        }
    }
}
