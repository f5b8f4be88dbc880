//! Products: with weights in their stored format, and of two activations.

use fewbit_shaders::{InputType, Kernel, Linear, LinearPath, Path, WeightFormat};

use super::{Lowering, Place, Work, broadcast_strides, dense_strides, unsupported};
use crate::backend::BackendError;
use crate::backend::gpu::weights::Layout;
use crate::graph::{Node, ValueId};

impl Lowering<'_> {
    /// `x [.., k] · weight [n, k]ᵀ (+ bias)`, and the addition that follows it if that was joined to it.
    pub(super) fn block_matmul(
        &mut self,
        index: usize,
        node: &Node,
        bias: bool,
        exact: bool,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let bias = match bias {
            true => Some(self.plain(op, node.inputs[2])?),
            false => None,
        };
        let (residual, to) = match self.residuals.get(&index) {
            Some(&(residual, to)) => (Some(self.place(residual)?), to),
            None => (None, node.outputs[0]),
        };
        let [n, k] = *self.shape(w) else {
            return Err(unsupported(op, format!("weight of {:?}", self.shape(w))));
        };
        let m = self.elements(x).checked_div(k).unwrap_or(0);
        let x = self.plain(op, x)?;
        let parts = self.weight_parts(op, w, n)?;
        let y = self.make(op, to)?;
        for part in parts {
            let Part {
                place,
                format,
                first,
                rows,
            } = part;
            if k % 4 != 0 {
                // Plain weights in rows that are no whole vectors.
                let mut params = vec![m as u32, rows as u32, k as u32, 1];
                params.extend([k as u32, 1, 1, k as u32]);
                params.extend([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
                params.extend([first as u32, n as u32, 0, 0]);
                let kernel = Kernel::Matmul {
                    format,
                    bias: bias.is_some(),
                    workgroup: 32,
                };
                let mut bound = vec![(1, x), (2, place), (3, y)];
                bound.extend(bias.map(|bias| (4, bias)));
                let work = Work::Invocations(m.div_ceil(4) * rows.div_ceil(4));
                self.push(kernel, params, &bound, work);
                continue;
            }
            let (path, workgroup, work) = self.linear_path(format, exact, m, rows);
            let kernel = Kernel::Linear(Linear {
                format,
                path,
                bias: bias.is_some(),
                residual: residual.is_some(),
                workgroup,
            });
            let params = [m, rows, k, first, n, 0, 0, 0].map(|v| v as u32).to_vec();
            let mut bound = vec![(1, x), (2, place), (3, y)];
            bound.extend(bias.map(|bias| (4, bias)));
            bound.extend(residual.map(|residual| (5, residual)));
            self.push(kernel, params, &bound, work);
        }
        Ok(())
    }

    /// How a product of `m` rows of activations and `n` of weights is cut; an exact one is not multiplied in f16.
    fn linear_path(
        &self,
        format: WeightFormat,
        exact: bool,
        m: usize,
        n: usize,
    ) -> (LinearPath, u32, Work) {
        match self.opened.path {
            Path::BarrierFree if m <= 2 => {
                let rows = if n >= 4096 { 4 } else { 2 };
                let work = Work::Invocations(m * n.div_ceil(rows));
                (LinearPath::Rows { rows: rows as u32 }, 16, work)
            }
            Path::BarrierFree => {
                let (tm, tn) = (4, 2);
                let work = Work::Invocations(m.div_ceil(tm) * n.div_ceil(tn));
                let path = LinearPath::Registers {
                    tm: tm as u32,
                    tn: tn as u32,
                };
                (path, 32, work)
            }
            path if m <= 4 => {
                let subgroups = path == Path::Subgroup;
                let work = Work::Groups(m * n.div_ceil(4));
                (LinearPath::Vector { rows: 4, subgroups }, 64, work)
            }
            _ => {
                let f16 = self.opened.half && !exact && format != WeightFormat::F32;
                let work = Work::Groups(m.div_ceil(32) * n.div_ceil(64));
                (LinearPath::Tiled { f16 }, 128, work)
            }
        }
    }

    /// A weight's parts, or the one buffer of a value that is none.
    fn weight_parts(
        &mut self,
        op: &'static str,
        id: ValueId,
        rows: usize,
    ) -> Result<Vec<Part>, BackendError> {
        Ok(match self.weight_of(id)? {
            Some((weight_id, weight)) => {
                let format = match weight.layout {
                    Layout::Stored(format) => format,
                    Layout::Widened(data_type) if data_type.is_float() => WeightFormat::F32,
                    Layout::Widened(data_type) => {
                        return Err(unsupported(op, format!("a {data_type} weight")));
                    }
                };
                let parts = weight.parts.iter().enumerate();
                parts
                    .map(|(i, part)| Part {
                        place: Place::Weight(weight_id, i),
                        format,
                        first: part.first,
                        rows: part.rows,
                    })
                    .collect()
            }
            None => vec![Part {
                place: self.plain(op, id)?,
                format: WeightFormat::F32,
                first: 0,
                rows,
            }],
        })
    }

    /// `a [.., m, k] · b [.., k, n]`, batches broadcast.
    pub(super) fn matmul(&mut self, node: &Node) -> Result<(), BackendError> {
        let op = node.op.name();
        let (a, b, to) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let element = self.device_type(op, to)?;
        if element != InputType::F32 {
            return Err(unsupported(
                op,
                format!("over {} on the GPU", element.wgsl()),
            ));
        }
        let (a_shape, b_shape) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        let shape = self.shape(to).to_vec();
        let rank = shape.len();
        let ([.., m, k], [.., n]) = (a_shape.as_slice(), b_shape.as_slice()) else {
            return Err(unsupported(op, format!("{a_shape:?} by {b_shape:?}")));
        };
        let (m, k, n) = (*m, *k, *n);
        let batch = &shape[..rank - 2];
        if batch.len() > 4 {
            return Err(unsupported(op, format!("{} batch dimensions", batch.len())));
        }
        // Strides of batches count whole matrices.
        let a_batch = broadcast_strides(&a_shape[..a_shape.len() - 2], batch);
        let b_batch = broadcast_strides(&b_shape[..b_shape.len() - 2], batch);
        let batches: usize = batch.iter().product();
        let innermost = |values: &[usize], factor: usize, missing: u32| -> [u32; 4] {
            std::array::from_fn(|i| {
                let value = values.iter().rev().nth(i);
                value.map_or(missing, |&v| (v * factor) as u32)
            })
        };
        let mut params = vec![m as u32, n as u32, k as u32, batches as u32];
        let (a_strides, b_strides) = (dense_strides(&[m, k]), dense_strides(&[k, n]));
        params.extend([a_strides[0], 1, b_strides[0], 1].map(|v| v as u32));
        params.extend(innermost(batch, 1, 1));
        params.extend(innermost(&a_batch, m * k, 0));
        params.extend(innermost(&b_batch, k * n, 0));
        params.extend([0, n as u32, 0, 0]);
        let (a, b) = (self.plain(op, a)?, self.plain(op, b)?);
        let y = self.make(op, to)?;
        let kernel = Kernel::Matmul {
            format: WeightFormat::F32,
            bias: false,
            workgroup: 32,
        };
        let work = Work::Invocations(batches * m.div_ceil(4) * n.div_ceil(4));
        self.push(kernel, params, &[(1, a), (2, b), (3, y)], work);
        Ok(())
    }
}

struct Part {
    place: Place,
    format: WeightFormat,
    first: usize,
    rows: usize,
}
