//! A plan: buffers, pipelines and bind groups made once, and one submission for each run.

use std::cell::Cell;

use super::device::Opened;
use super::element::{same_bytes, to_device, to_host};
use super::lower::{Content, Dispatch, Held, Lowered, Output, Place, Work};
use super::pipelines::Pipelines;
use super::readback;
use super::weights::storage;
use crate::backend::BackendError;
use crate::tensor::{DataType, ElementType, Tensor};

/// WebGPU's limit on workgroups along a dimension, the same everywhere.
const MAX_GROUPS: usize = 65_535;

struct Step {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 2],
}

struct Input {
    name: String,
    data_type: DataType,
    shape: Vec<usize>,
    buffer: wgpu::Buffer,
}

struct Read {
    output: Output,
    data_type: DataType,
    buffer: wgpu::Buffer,
    /// Bytes on the device.
    bytes: u64,
}

pub(crate) struct Plan {
    steps: Vec<Step>,
    inputs: Vec<Input>,
    outputs: Vec<Read>,
    /// What outputs are copied to, to be mapped. Made for the first run that reads as much.
    staging: Option<wgpu::Buffer>,
    bytes: Cell<u64>,
}

impl Plan {
    pub(crate) async fn new(
        opened: &Opened,
        pipelines: &mut Pipelines,
        held: &Held<'_>,
        lowered: Lowered,
    ) -> Result<Plan, BackendError> {
        let dispatches = &lowered.dispatches;
        pipelines
            .prepare(opened, dispatches.iter().map(|dispatch| &dispatch.kernel))
            .await?;
        let memory = opened
            .device
            .push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = opened
            .device
            .push_error_scope(wgpu::ErrorFilter::Validation);
        let plan = build(opened, pipelines, held, lowered);
        // Scopes go in reverse order.
        let validation = validation.pop();
        let memory = memory.pop();
        opened.scope_error("making a plan's bind groups", validation.await)?;
        opened.scope_error("making a plan's buffers", memory.await)?;
        opened.check()?;
        plan
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// One run: inputs in, all dispatches, the outputs named by `read` out.
    pub(crate) async fn run(
        &mut self,
        opened: &Opened,
        inputs: &[(&str, &Tensor)],
        read: &[&str],
    ) -> Result<Vec<Tensor>, BackendError> {
        opened.check()?;
        self.write_inputs(opened, inputs)?;
        let wanted = read
            .iter()
            .map(|name| {
                let found = self
                    .outputs
                    .iter()
                    .position(|read| read.output.name == *name);
                found
                    .ok_or_else(|| BackendError::Internal(format!("the plan has no output {name}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let bytes: u64 = wanted.iter().map(|&i| self.outputs[i].bytes).sum();
        let staging = self.staging(opened, bytes);
        let mut encoder = opened.device.create_command_encoder(&Default::default());
        self.encode(&mut encoder);
        let mut at = 0;
        for &i in &wanted {
            let read = &self.outputs[i];
            if read.bytes > 0 {
                encoder.copy_buffer_to_buffer(&read.buffer, 0, &staging, at, read.bytes);
            }
            at += read.bytes;
        }
        opened.queue.submit([encoder.finish()]);
        if bytes == 0 {
            opened.check()?;
        }
        let outputs = &self.outputs;
        readback::read(opened, &staging, bytes.max(4), |data| {
            let mut at = 0;
            wanted
                .iter()
                .map(|&i| {
                    let read = &outputs[i];
                    let end = at + read.bytes as usize;
                    let tensor = to_tensor(read, &data[at..end]);
                    at = end;
                    tensor
                })
                .collect()
        })
        .await
    }

    fn write_inputs(&self, opened: &Opened, given: &[(&str, &Tensor)]) -> Result<(), BackendError> {
        for input in &self.inputs {
            let fail = |message: String| BackendError::Input {
                name: input.name.clone(),
                message,
            };
            let tensor = given
                .iter()
                .find(|(name, _)| *name == input.name)
                .map(|(_, tensor)| *tensor)
                .ok_or_else(|| fail("it is missing".to_owned()))?;
            if tensor.data_type() != input.data_type || tensor.shape() != input.shape {
                return Err(fail(format!(
                    "{} {:?} given, {} {:?} needed",
                    tensor.data_type(),
                    tensor.shape(),
                    input.data_type,
                    input.shape
                )));
            }
            put(opened, &input.buffer, tensor).ok_or_else(|| BackendError::Unsupported {
                op: format!("input {}", input.name),
                reason: "a value needs more than the GPU's 32 bits".to_owned(),
            })?;
        }
        Ok(())
    }

    fn staging(&mut self, opened: &Opened, bytes: u64) -> wgpu::Buffer {
        if let Some(staging) = self
            .staging
            .as_ref()
            .filter(|staging| staging.size() >= bytes)
        {
            return staging.clone();
        }
        let staging = opened.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("outputs"),
            size: bytes.max(16),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let old = self.staging.as_ref().map_or(0, wgpu::Buffer::size);
        self.bytes.set(self.bytes.get() - old + staging.size());
        self.staging = Some(staging.clone());
        staging
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.group, &[]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
        }
    }
}

fn to_tensor(read: &Read, data: &[u8]) -> Result<Tensor, BackendError> {
    if same_bytes(read.data_type) {
        return Ok(Tensor::from_bytes(
            read.data_type,
            &read.output.shape,
            data,
        )?);
    }
    let mut tensor = Tensor::zeros(read.data_type, &read.output.shape)?;
    let words: Vec<u32> = data
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    to_host(read.data_type, &words, tensor.bytes_mut());
    Ok(tensor)
}

/// Writes a host tensor into a buffer in the device's form.
fn put(opened: &Opened, buffer: &wgpu::Buffer, tensor: &Tensor) -> Option<()> {
    if same_bytes(tensor.data_type()) {
        opened.queue.write_buffer(buffer, 0, tensor.bytes());
    } else {
        let words = to_device(tensor.data_type(), tensor.bytes())?;
        opened
            .queue
            .write_buffer(buffer, 0, bytemuck::cast_slice(&words));
    }
    Some(())
}

/// Everything a run needs, with all buffers of the plan.
fn build(
    opened: &Opened,
    pipelines: &Pipelines,
    held: &Held<'_>,
    lowered: Lowered,
) -> Result<Plan, BackendError> {
    let bytes = Cell::new(0);
    let new = |label: &str, size: u64| {
        let buffer = storage(opened, label, size);
        bytes.set(bytes.get() + buffer.size());
        buffer
    };
    let slots: Vec<_> = lowered
        .slots
        .iter()
        .map(|&size| new("slot", size))
        .collect();
    let mut own = Vec::new();
    let mut inputs = Vec::new();
    for content in lowered.own {
        match content {
            Content::Constant(tensor) => {
                let buffer = new("constant", 4 * tensor.elements() as u64);
                put(opened, &buffer, &tensor).ok_or_else(|| BackendError::Unsupported {
                    op: "constant".to_owned(),
                    reason: format!("{} beyond the GPU's 32 bits", tensor.data_type()),
                })?;
                own.push(buffer);
            }
            Content::Input {
                name,
                element,
                shape,
            } => {
                let buffer = new(&name, 4 * shape.iter().product::<usize>() as u64);
                own.push(buffer.clone());
                inputs.push(Input {
                    data_type: plain(element)?,
                    name,
                    shape,
                    buffer,
                });
            }
        }
    }
    let buffer_of = |place: Place| -> Result<wgpu::Buffer, BackendError> {
        Ok(match place {
            Place::Slot(i) => slots[i].clone(),
            Place::Own(i) => own[i].clone(),
            Place::Weight(id, part) => held.weight(id)?.parts[part].buffer.clone(),
            Place::State(id) => held.state(id)?.buffer.clone(),
        })
    };
    let params = upload_params(opened, &lowered.dispatches);
    let mut steps = Vec::with_capacity(lowered.dispatches.len());
    for (dispatch, offset) in lowered.dispatches.iter().zip(&params.1) {
        let pipeline = pipelines.get(&dispatch.kernel)?;
        let buffers = dispatch
            .bound
            .iter()
            .map(|&(number, place)| Ok((number, buffer_of(place)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &params.0,
                offset: *offset,
                size: wgpu::BufferSize::new(4 * dispatch.params.len() as u64),
            }),
        }];
        entries.extend(buffers.iter().map(|(number, buffer)| {
            let part = dispatch.part.as_ref();
            let part = part.filter(|part| part.of.contains(number));
            wgpu::BindGroupEntry {
                binding: *number,
                resource: match part {
                    Some(part) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: part.offset,
                        size: wgpu::BufferSize::new(part.bytes),
                    }),
                    // A slot may be larger for the sake of another value.
                    None => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: 0,
                        size: wgpu::BufferSize::new(buffer.size().min(opened.facts.max_binding)),
                    }),
                },
            }
        }));
        steps.push(Step {
            pipeline: pipeline.pipeline.clone(),
            group: opened.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.layout,
                entries: &entries,
            }),
            grid: grid(dispatch, pipeline.workgroup)?,
        });
    }
    let outputs = lowered
        .outputs
        .into_iter()
        .map(|output| {
            Ok(Read {
                data_type: plain(output.element)?,
                bytes: 4 * output.shape.iter().product::<usize>() as u64,
                buffer: buffer_of(output.place)?,
                output,
            })
        })
        .collect::<Result<Vec<_>, BackendError>>()?;
    Ok(Plan {
        steps,
        inputs,
        outputs,
        staging: None,
        bytes,
    })
}

fn plain(element: ElementType) -> Result<DataType, BackendError> {
    element.plain().ok_or_else(|| BackendError::Unsupported {
        op: "input or output".to_owned(),
        reason: format!("of block format {element}"),
    })
}

/// The parameters of all dispatches in one buffer, and where each one's begin.
fn upload_params(opened: &Opened, dispatches: &[Dispatch]) -> (wgpu::Buffer, Vec<u64>) {
    let alignment = opened.device.limits().min_uniform_buffer_offset_alignment as usize / 4;
    let mut words: Vec<u32> = Vec::new();
    let mut offsets = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        words.resize(words.len().next_multiple_of(alignment.max(1)), 0);
        offsets.push(4 * words.len() as u64);
        words.extend(&dispatch.params);
    }
    let buffer = opened.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("parameters"),
        size: (4 * words.len() as u64).max(16),
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    opened
        .queue
        .write_buffer(&buffer, 0, bytemuck::cast_slice(&words));
    (buffer, offsets)
}

/// Workgroups along two dimensions; kernels number them row by row.
fn grid(dispatch: &Dispatch, workgroup: u32) -> Result<[u32; 2], BackendError> {
    let groups = match dispatch.work {
        Work::Groups(groups) => groups,
        Work::Invocations(count) => count.div_ceil(workgroup as usize),
    };
    let rows = groups.div_ceil(MAX_GROUPS);
    if rows > MAX_GROUPS {
        return Err(BackendError::Unsupported {
            op: format!("{:?}", dispatch.kernel),
            reason: format!("{groups} workgroups"),
        });
    }
    Ok([groups.div_ceil(rows.max(1)) as u32, rows as u32])
}
