//! Pipelines by variant key: each is assembled and compiled once.

use std::collections::HashMap;

use fewbit_shaders::{Access, Host, Kernel, Shader};

use super::device::Opened;
use crate::backend::BackendError;
use crate::source::LocalFuture;

/// A compiled variant.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// Invocations of a workgroup.
    pub(crate) workgroup: u32,
}

/// How a shader becomes a pipeline. It stands behind a trait because `wgpu` has no asynchronous form
/// yet and the browser has: another compiler can use that without the plans knowing.
pub(crate) trait Compile {
    fn compile<'a>(
        &'a self,
        opened: &'a Opened,
        shader: Shader,
    ) -> LocalFuture<'a, Result<Pipeline, BackendError>>;
}

/// Through `wgpu`: the call returns at once in a browser, whose own process compiles on; natively it compiles here.
pub(crate) struct WgpuCompiler;

impl Compile for WgpuCompiler {
    fn compile<'a>(
        &'a self,
        opened: &'a Opened,
        shader: Shader,
    ) -> LocalFuture<'a, Result<Pipeline, BackendError>> {
        let device = &opened.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let entries: Vec<_> = shader
            .bindings
            .iter()
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding: binding.number,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match binding.access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(shader.name),
            entries: &entries,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(shader.name),
            source: wgpu::ShaderSource::Wgsl(shader.wgsl.into()),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(shader.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let error = scope.pop();
        Box::pin(async move {
            opened.scope_error(shader.name, error.await)?;
            Ok(Pipeline {
                pipeline,
                layout,
                workgroup: shader.workgroup,
            })
        })
    }
}

/// The pipelines of a device.
pub(crate) struct Pipelines {
    compiler: Box<dyn Compile>,
    made: HashMap<Kernel, Pipeline>,
}

impl Pipelines {
    pub(crate) fn new() -> Pipelines {
        Pipelines {
            compiler: Box::new(WgpuCompiler),
            made: HashMap::new(),
        }
    }

    /// Compiles what is missing of `kernels`, all at the same time.
    pub(crate) async fn prepare(
        &mut self,
        opened: &Opened,
        kernels: impl Iterator<Item = &Kernel>,
    ) -> Result<(), BackendError> {
        let mut missing: Vec<&Kernel> = Vec::new();
        for kernel in kernels {
            if !self.made.contains_key(kernel) && !missing.contains(&kernel) {
                missing.push(kernel);
            }
        }
        let mut pending = Vec::new();
        for kernel in missing {
            let shader = assemble(kernel, opened.host)?;
            pending.push((kernel, self.compiler.compile(opened, shader)));
        }
        let mut made = Vec::new();
        for (kernel, future) in pending {
            made.push((kernel.clone(), future.await?));
        }
        self.made.extend(made);
        opened.check()
    }

    pub(crate) fn get(&self, kernel: &Kernel) -> Result<&Pipeline, BackendError> {
        self.made
            .get(kernel)
            .ok_or_else(|| BackendError::Internal(format!("{kernel:?} was not compiled")))
    }
}

fn assemble(kernel: &Kernel, host: Host) -> Result<Shader, BackendError> {
    kernel
        .assemble(host)
        .map_err(|error| BackendError::Internal(error.to_string()))
}
