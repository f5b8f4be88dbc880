//! One step of a plan: an operator made ready, with the kernel chosen and all sizes worked out.

use crate::backend::{Activations, BackendError};
use crate::graph::Op;
use crate::graph::op::Pool2d;
use crate::tensor::{DataType, ElementType};

mod choose;

use super::arena::{Address, Place};
use super::kernels::{
    Attention, Bias, Chain, Convolution, Matmul, Padded, Rotary, Strided, Strides, head,
};
use super::reference::{self, View};
use super::run::Run;

/// An operator with its operands.
pub(super) struct Step {
    kernel: Kernel,
    inputs: Vec<Place>,
    output: Place,
}

enum Kernel {
    BlockMatmul {
        bias: bool,
        exact: bool,
    },
    DecodeRows,
    GatherRows {
        row: usize,
    },
    RmsNormalization {
        epsilon: f32,
    },
    LayerNormalization {
        epsilon: f32,
        scale: bool,
        bias: bool,
    },
    Softmax,
    Attention {
        scale: f32,
        causal: bool,
        bias: bool,
    },
    Rotary {
        interleaved: bool,
    },
    KvAppend,
    Matmul(Matmul),
    Conv2d {
        conv: Convolution,
        bias: bool,
    },
    Pool2d(Pool2d),
    Pad(Padded),
    Strided(Strided),
    Chain(Chain),
    /// The scalar reference, for what is rare or small.
    Reference(Op),
}

impl Step {
    /// `precise`: sums along axes are made in f64 and rounded once, whatever it costs.
    pub(super) fn new(
        op: &Op,
        inputs: Vec<Place>,
        output: Place,
        precise: bool,
    ) -> Result<Step, BackendError> {
        let kernel = match precise && choose::sums(op) {
            true => Kernel::Reference(op.clone()),
            false => choose::kernel(op, &inputs, &output),
        };
        Ok(Step {
            kernel,
            inputs,
            output,
        })
    }

    pub(super) fn run(&self, run: &mut Run<'_, '_>) -> Result<(), BackendError> {
        let kernels = run.stores.options.kernels;
        let parallel = run.stores.options.parallel.clone();
        let parallel = parallel.as_ref();
        match &self.kernel {
            Kernel::KvAppend => return self.kv_append(run),
            Kernel::Reference(op) => return self.reference(run, op),
            Kernel::GatherRows { row } => return self.gather_rows(run, *row),
            Kernel::DecodeRows => return self.decode_rows(run),
            Kernel::Strided(strided) => return self.strided(run, strided),
            _ => {}
        }
        // Everything else is f32 in and out.
        let out = run.output(&self.output)?;
        match &self.kernel {
            Kernel::BlockMatmul { bias, exact } => {
                let x = run.f32(&self.inputs[0])?;
                let bias = if *bias {
                    Some(run.f32(&self.inputs[2])?)
                } else {
                    None
                };
                let activations = match exact {
                    true => Activations::Float,
                    false => run.stores.options.policy.activations,
                };
                let Address::Weight(id) = self.inputs[1].address else {
                    return Err(BackendError::Unsupported {
                        op: "block_matmul".into(),
                        reason: "the weight is computed".into(),
                    });
                };
                let weight = &run.stores.weights[id.0];
                let packed = weight.packed.as_ref().ok_or_else(|| {
                    BackendError::Internal(format!("weight {} is not packed", weight.name))
                })?;
                let head = packed.n() >= head::FROM_ROWS && bias.is_none();
                let quantized =
                    packed.element().block().is_some() && activations == Activations::Int8;
                if head && quantized {
                    head::twice(kernels, parallel, x, packed, out);
                } else {
                    kernels.linear(parallel, x, packed, bias, activations.into(), out);
                }
            }
            Kernel::RmsNormalization { epsilon } => {
                let (x, scale) = (run.f32(&self.inputs[0])?, run.f32(&self.inputs[1])?);
                kernels.rms_norm(parallel, x, scale, *epsilon, out);
            }
            Kernel::LayerNormalization {
                epsilon,
                scale,
                bias,
            } => {
                let x = run.f32(&self.inputs[0])?;
                let row = self.output.row();
                let scale_values = if *scale {
                    Some(run.f32(&self.inputs[1])?)
                } else {
                    None
                };
                let at = 1 + usize::from(*scale);
                let bias_values = if *bias {
                    Some(run.f32(&self.inputs[at])?)
                } else {
                    None
                };
                kernels.layer_norm(parallel, x, row, scale_values, bias_values, *epsilon, out);
            }
            Kernel::Softmax => {
                let x = run.f32(&self.inputs[0])?;
                kernels.softmax(parallel, x, self.output.row(), out);
            }
            Kernel::Attention {
                scale,
                causal,
                bias,
            } => {
                self.attention(run, *scale, *causal, *bias, out)?;
            }
            Kernel::Rotary { interleaved } => self.rotary(run, *interleaved, out)?,
            Kernel::Matmul(product) => {
                let (a, b) = (run.f32(&self.inputs[0])?, run.f32(&self.inputs[1])?);
                kernels.matmul(parallel, product, a, b, out);
            }
            Kernel::Conv2d { conv, bias } => {
                self.conv2d(run, conv, *bias, out)?;
            }
            Kernel::Pool2d(pool) => {
                let x = run.f32(&self.inputs[0])?;
                let [.., height, width] = four(&self.inputs[0].shape);
                let [.., out_height, out_width] = four(&self.output.shape);
                let (size, out_size) = ([height, width], [out_height, out_width]);
                kernels.pool2d(parallel, pool, x, size, out, out_size);
            }
            Kernel::Pad(padded) => padded.run(run.f32(&self.inputs[0])?, out),
            Kernel::Chain(chain) => {
                let inputs: Result<Vec<&[f32]>, _> =
                    self.inputs.iter().map(|place| run.f32(place)).collect();
                chain.run(kernels, parallel, &inputs?, out);
            }
            Kernel::KvAppend
            | Kernel::Reference(_)
            | Kernel::GatherRows { .. }
            | Kernel::DecodeRows
            | Kernel::Strided(_) => {}
        }
        Ok(())
    }

    fn attention(
        &self,
        run: &Run<'_, '_>,
        scale: f32,
        causal: bool,
        bias: bool,
        out: &mut [f32],
    ) -> Result<(), BackendError> {
        let [batch, tokens, heads, head_dim] = four(&self.inputs[0].shape);
        let [_, kv_heads, keys, _] = four(&self.inputs[1].shape);
        let bias = if bias {
            let place = &self.inputs[self.inputs.len() - 1];
            let steps = broadcast_steps(&place.shape);
            Some(Bias {
                data: run.f32(place)?,
                batch: steps[0],
                head: steps[1],
                query: steps[2],
                key: steps[3],
            })
        } else {
            None
        };
        let options = run.stores.options;
        let attention = Attention {
            batch,
            tokens,
            heads,
            kv_heads,
            head_dim,
            keys,
            q: run.f32(&self.inputs[0])?,
            q_strides: Strides::token_major(tokens, heads, head_dim),
            k: run.f32(&self.inputs[1])?,
            k_strides: Strides::head_major(kv_heads, keys, head_dim),
            v: run.f32(&self.inputs[2])?,
            v_strides: Strides::head_major(kv_heads, keys, head_dim),
            lengths: None,
            causal,
            starts: if causal {
                Some(run.i32(&self.inputs[3])?)
            } else {
                None
            },
            scale,
            bias,
        };
        let strides = Strides::token_major(tokens, heads, head_dim);
        options
            .kernels
            .attention(options.parallel.as_ref(), &attention, out, strides);
        Ok(())
    }

    fn conv2d(
        &self,
        run: &Run<'_, '_>,
        conv: &Convolution,
        bias: bool,
        out: &mut [f32],
    ) -> Result<(), BackendError> {
        let options = run.stores.options;
        let (kernels, parallel) = (options.kernels, options.parallel.as_ref());
        let x = run.f32(&self.inputs[0])?;
        let bias = match bias {
            true => Some(run.f32(&self.inputs[2])?),
            false => None,
        };
        if let Address::Weight(id) = self.inputs[1].address
            && let Some(filter) = &run.stores.weights[id.0].filter
            && filter.groups() == conv.groups
        {
            kernels.conv2d(parallel, conv, x, filter, bias, out);
            return Ok(());
        }
        if self.inputs[1].element == ElementType::F32 {
            let filter = run.f32(&self.inputs[1])?;
            kernels.conv2d_unpacked(parallel, conv, x, filter, bias, out);
            return Ok(());
        }
        let mut filter = vec![0.0; self.inputs[1].shape.iter().product()];
        let element = self.inputs[1].element;
        crate::tensor::decode(element, run.bytes(&self.inputs[1])?, &mut filter)
            .map_err(|error| BackendError::Internal(error.to_string()))?;
        kernels.conv2d_unpacked(parallel, conv, x, &filter, bias, out);
        Ok(())
    }

    fn rotary(
        &self,
        run: &Run<'_, '_>,
        interleaved: bool,
        out: &mut [f32],
    ) -> Result<(), BackendError> {
        let [_, tokens, heads, head_dim] = four(&self.inputs[0].shape);
        let rows = self.inputs[1].shape[0];
        let mut positions = Vec::new();
        for &start in run.i32(&self.inputs[3])? {
            let first = usize::try_from(start).ok();
            let first = first
                .filter(|first| first + tokens <= rows)
                .ok_or_else(|| BackendError::Input {
                    name: "position".into(),
                    message: format!(
                        "{tokens} tokens from position {start} on; there are {rows} positions"
                    ),
                })?;
            positions.extend((first..first + tokens).map(|position| position as i32));
        }
        let rotary = Rotary {
            heads,
            head_dim,
            rotary_dim: 2 * self.inputs[1].row(),
            interleaved,
        };
        let (x, cos, sin) = (
            run.f32(&self.inputs[0])?,
            run.f32(&self.inputs[1])?,
            run.f32(&self.inputs[2])?,
        );
        let options = run.stores.options;
        options.kernels.rotary(
            options.parallel.as_ref(),
            &rotary,
            x,
            cos,
            sin,
            &positions,
            out,
        );
        Ok(())
    }

    fn kv_append(&self, run: &mut Run<'_, '_>) -> Result<(), BackendError> {
        let [batch, heads, capacity, size] = four(&self.inputs[0].shape);
        let tokens = self.inputs[1].shape[1];
        let new = run.f32(&self.inputs[1])?;
        let positions = run.i32(&self.inputs[2])?;
        let state = run.state(&self.inputs[0])?;
        for (row, &position) in positions.iter().enumerate().take(batch) {
            let start = usize::try_from(position).unwrap_or(capacity);
            for token in 0..tokens.min(capacity.saturating_sub(start)) {
                for head in 0..heads {
                    let from = ((row * tokens + token) * heads + head) * size;
                    let to = ((row * heads + head) * capacity + start + token) * size;
                    state[to..to + size].copy_from_slice(&new[from..from + size]);
                }
            }
        }
        Ok(())
    }

    fn gather_rows(&self, run: &Run<'_, '_>, row: usize) -> Result<(), BackendError> {
        let rows = self.inputs[0].shape[0];
        let element = self.output.element.plain().map_or(4, DataType::bytes);
        let bytes = row * element;
        let table = run.bytes(&self.inputs[0])?;
        let out = run.output_bytes(&self.output)?;
        for (&index, out) in run
            .i32(&self.inputs[1])?
            .iter()
            .zip(out.chunks_exact_mut(bytes.max(1)))
        {
            let at = wrap(index, rows);
            out.copy_from_slice(&table[at * bytes..(at + 1) * bytes]);
        }
        Ok(())
    }

    fn decode_rows(&self, run: &Run<'_, '_>) -> Result<(), BackendError> {
        let [rows, k] = [self.inputs[0].shape[0], self.inputs[0].shape[1]];
        let Address::Weight(id) = self.inputs[0].address else {
            return Err(BackendError::Internal(
                "a table to decode is no weight".into(),
            ));
        };
        let weight = &run.stores.weights[id.0];
        let indices = run.i32(&self.inputs[1])?;
        let out = run.output(&self.output)?.chunks_exact_mut(k.max(1));
        match (&weight.packed, &weight.plain) {
            (Some(packed), _) => {
                for (&index, out) in indices.iter().zip(out) {
                    packed.row(wrap(index, rows), out);
                }
            }
            (None, Some(plain)) => {
                let table = plain.as_f32()?;
                for (&index, out) in indices.iter().zip(out) {
                    let at = wrap(index, rows);
                    out.copy_from_slice(&table[at * k..(at + 1) * k]);
                }
            }
            (None, None) => {
                return Err(BackendError::Internal(format!(
                    "table {} was never finished",
                    weight.name
                )));
            }
        }
        Ok(())
    }

    fn strided(&self, run: &Run<'_, '_>, strided: &Strided) -> Result<(), BackendError> {
        let input = run.bytes(&self.inputs[0])?;
        let out = run.output_bytes(&self.output)?;
        let size = self.output.element.plain().map_or(4, DataType::bytes);
        strided.copy_bytes(size, input, out);
        Ok(())
    }

    fn reference(&self, run: &Run<'_, '_>, op: &Op) -> Result<(), BackendError> {
        let views: Result<Vec<View<'_>>, BackendError> = self
            .inputs
            .iter()
            .map(|place| {
                Ok(View {
                    element: place.element,
                    shape: &place.shape,
                    bytes: run.bytes(place)?,
                })
            })
            .collect();
        let result =
            reference::evaluate(op, &views?).map_err(|error| BackendError::Unsupported {
                op: op.name().into(),
                reason: error.to_string(),
            })?;
        run.output_bytes(&self.output)?
            .copy_from_slice(result.bytes());
        Ok(())
    }
}

/// The steps of a bias of up to four dimensions; 0 where it is repeated.
fn broadcast_steps(shape: &[usize]) -> [usize; 4] {
    let mut steps = [0; 4];
    let mut step = 1;
    for (back, &size) in shape.iter().rev().enumerate().take(4) {
        if size != 1 {
            steps[3 - back] = step;
        }
        step *= size;
    }
    steps
}

/// WebNN's rule for indices: negative ones count from the end, others are clamped into the axis.
fn wrap(index: i32, size: usize) -> usize {
    let index = i64::from(index);
    let from_end = if index < 0 {
        index + size as i64
    } else {
        index
    };
    from_end.clamp(0, size as i64 - 1) as usize
}

fn four(shape: &[usize]) -> [usize; 4] {
    match *shape {
        [a, b, c, d] => [a, b, c, d],
        _ => [0; 4],
    }
}
