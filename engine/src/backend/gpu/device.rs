//! Opening a device: what it offers, what of it is used, and what went wrong on it.

use std::sync::{Arc, Mutex, PoisonError};

use fewbit_shaders::{Host, Path};

use super::Gpu;
use crate::backend::{Backend, BackendError, Device, NumericPolicy};
use crate::source::LocalFuture;

/// What the caller knows or wants of the GPU.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    pub policy: NumericPolicy,
    /// How reducing kernels work together; by default barrier-free on software adapters, else in
    /// subgroups where the device has them.
    pub path: Option<Path>,
    /// The adapter's name and whether it is software, where the caller knows better: a browser tells
    /// `wgpu` no vendor and no architecture.
    pub adapter_name: Option<String>,
    pub software: Option<bool>,
    /// Bind no more bytes at once than this, though the device could (for tests of splitting).
    pub max_binding: Option<u64>,
}

/// A GPU that can be opened, and opened anew after it was lost.
#[derive(Clone, Debug, Default)]
pub struct GpuDevice {
    pub options: GpuOptions,
}

impl GpuDevice {
    pub fn new(options: GpuOptions) -> GpuDevice {
        GpuDevice { options }
    }
}

impl Device for GpuDevice {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        Box::pin(async {
            let opened = Opened::new(&self.options).await?;
            Ok(Box::new(Gpu::new(opened)) as Box<dyn Backend>)
        })
    }
}

/// What an adapter is, for people and result rows.
#[derive(Clone, Debug)]
pub struct AdapterFacts {
    /// `unnamed` where the browser gives none.
    pub name: String,
    pub driver: String,
    /// The API underneath: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub api: String,
    pub software: bool,
    pub subgroups: bool,
    pub f16: bool,
    /// Smallest and largest subgroup, 0 if not told.
    pub subgroup_sizes: (u32, u32),
    pub max_binding: u64,
    pub max_buffer: u64,
    pub storage_buffers: u32,
}

/// An open device.
pub(crate) struct Opened {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) facts: AdapterFacts,
    pub(crate) faults: Faults,
    pub(crate) host: Host,
    /// How kernels that reduce work together.
    pub(crate) path: Path,
    /// Whether products may be made in f16.
    pub(crate) half: bool,
}

impl Opened {
    pub(crate) async fn new(options: &GpuOptions) -> Result<Opened, BackendError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|error| BackendError::Unavailable(format!("no GPU adapter: {error}")))?;
        let info = adapter.get_info();
        let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let features = adapter.features() & wanted;
        let limits = adapter.limits();
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("fewbit"),
                required_features: features,
                required_limits: limits.clone(),
                ..Default::default()
            })
            .await
            .map_err(|error| {
                BackendError::Unavailable(format!("adapter {}: {error}", info.name))
            })?;
        let facts = AdapterFacts {
            software: options.software.unwrap_or_else(|| is_software(&info)),
            name: options
                .adapter_name
                .clone()
                .unwrap_or_else(|| name_of(&info)),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            api: match info.backend {
                wgpu::Backend::BrowserWebGpu => "webgpu".to_owned(),
                other => other.to_str().to_owned(),
            },
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
            max_binding: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(options.max_binding.unwrap_or(u64::MAX)),
            max_buffer: limits.max_buffer_size,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
        };
        let faults = Faults::listen(&device);
        Ok(Opened {
            path: choose_path(options.path, &facts),
            half: options.policy.half && facts.f16,
            host: match info.backend {
                wgpu::Backend::BrowserWebGpu => Host::Browser,
                _ => Host::Native,
            },
            device,
            queue,
            facts,
            faults,
        })
    }
}

impl Opened {
    /// An error if the device is lost or has reported one since the last call.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        // Natively a loss is told only to who asks.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.faults.check()
    }

    /// What a scope caught; that the device is lost goes before what follows from it.
    pub(crate) fn scope_error(
        &self,
        what: &str,
        error: Option<wgpu::Error>,
    ) -> Result<(), BackendError> {
        let Some(error) = error else { return Ok(()) };
        self.check()?;
        Err(match error {
            wgpu::Error::OutOfMemory { .. } => BackendError::OutOfMemory(what.to_owned()),
            error => BackendError::Internal(format!("{what}: {error}")),
        })
    }
}

fn choose_path(asked: Option<Path>, facts: &AdapterFacts) -> Path {
    match asked {
        Some(Path::Subgroup) if !facts.subgroups => Path::Workgroup,
        Some(path) => path,
        None if facts.software => Path::BarrierFree,
        None if facts.subgroups => Path::Subgroup,
        None => Path::Workgroup,
    }
}

fn name_of(info: &wgpu::AdapterInfo) -> String {
    match info.name.trim() {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// Software adapters say so by their type, or only by their name.
fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let text = format!("{} {} {}", info.name, info.driver, info.driver_info).to_ascii_lowercase();
    info.device_type == wgpu::DeviceType::Cpu
        || [
            "swiftshader",
            "llvmpipe",
            "lavapipe",
            "microsoft basic render",
        ]
        .iter()
        .any(|name| text.contains(name))
}

/// What the device reports at its own time: that it is lost, or an error that no scope caught.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Reported>>);

#[derive(Default)]
struct Reported {
    lost: Option<String>,
    error: Option<Fault>,
}

enum Fault {
    Memory(String),
    Other(String),
}

impl Faults {
    /// Takes the device's reports; without a handler a native device panics on its first error.
    fn listen(device: &wgpu::Device) -> Faults {
        let faults = Faults::default();
        let to = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            to.lock().lost = Some(format!("{reason:?}: {message}"));
        });
        let to = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut reported = to.lock();
            // The first error is the cause, others follow from it.
            if reported.error.is_none() {
                reported.error = Some(match &error {
                    wgpu::Error::OutOfMemory { .. } => Fault::Memory(error.to_string()),
                    _ => Fault::Other(error.to_string()),
                });
            }
        }));
        faults
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reported> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), BackendError> {
        let mut reported = self.lock();
        if let Some(message) = &reported.lost {
            return Err(BackendError::DeviceLost(message.clone()));
        }
        match reported.error.take() {
            Some(Fault::Memory(message)) => Err(BackendError::OutOfMemory(message)),
            Some(Fault::Other(message)) => Err(BackendError::Internal(message)),
            None => Ok(()),
        }
    }

    /// Says that the device is lost, where that shows by other means before it is reported.
    pub(crate) fn lost(&self, message: &str) -> BackendError {
        let mut reported = self.lock();
        let message = reported.lost.get_or_insert_with(|| message.to_owned());
        BackendError::DeviceLost(message.clone())
    }
}
