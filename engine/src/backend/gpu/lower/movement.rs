//! Operators that move elements: strided copies and gathers.

use fewbit_shaders::{Kernel, WeightFormat};

use super::{Lowering, Place, Work, broadcast_strides, dense_strides, unsupported};
use crate::backend::gpu::weights::{Layout, Weight};
use crate::backend::{BackendError, WeightId};
use crate::graph::op::Slice;
use crate::graph::{Dim, Node};

const WORKGROUP: u32 = 64;

/// A copy over a box of `size`: where it begins and how it steps, in elements.
pub(super) struct Copy<'a> {
    pub(super) size: &'a [usize],
    pub(super) source: usize,
    pub(super) source_strides: &'a [usize],
    pub(super) place: usize,
    pub(super) place_strides: &'a [usize],
}

impl Lowering<'_> {
    pub(super) fn copy(
        &mut self,
        op: &'static str,
        from: Place,
        to: Place,
        copy: &Copy<'_>,
    ) -> Result<(), BackendError> {
        if copy.size.len() > 8 {
            return Err(unsupported(op, format!("{} dimensions", copy.size.len())));
        }
        let count: usize = copy.size.iter().product();
        let mut params = vec![0u32; 4 + 24];
        params[..3].copy_from_slice(&[count as u32, copy.source as u32, copy.place as u32]);
        for d in 0..8 {
            let at = |values: &[usize], missing: u32| {
                values.iter().rev().nth(d).map_or(missing, |&v| v as u32)
            };
            params[4 + d] = at(copy.size, 1).max(1);
            params[12 + d] = at(copy.source_strides, 0);
            params[20 + d] = at(copy.place_strides, 0);
        }
        let kernel = Kernel::Copy {
            workgroup: WORKGROUP,
        };
        self.push(
            kernel,
            params,
            &[(1, from), (2, to)],
            Work::Invocations(count),
        );
        Ok(())
    }

    pub(super) fn transpose(
        &mut self,
        node: &Node,
        permutation: &[usize],
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let strides = dense_strides(self.shape(node.inputs[0]));
        let size = self.shape(node.outputs[0]).to_vec();
        let source_strides: Vec<usize> = permutation.iter().map(|&axis| strides[axis]).collect();
        let from = self.plain(op, node.inputs[0])?;
        let to = self.make(op, node.outputs[0])?;
        let copy = Copy {
            size: &size,
            source: 0,
            source_strides: &source_strides,
            place: 0,
            place_strides: &dense_strides(&size),
        };
        self.copy(op, from, to, &copy)
    }

    pub(super) fn slice(&mut self, node: &Node, slice: &Slice) -> Result<(), BackendError> {
        let op = node.op.name();
        let strides = dense_strides(self.shape(node.inputs[0]));
        let size = self.shape(node.outputs[0]).to_vec();
        let starts = slice.starts.iter().map(Dim::fixed);
        let starts: Vec<usize> = starts
            .collect::<Option<_>>()
            .ok_or_else(|| unsupported(op, "a start that is a symbol".to_owned()))?;
        let source = starts.iter().zip(&strides).map(|(s, d)| s * d).sum();
        let source_strides: Vec<usize> = strides
            .iter()
            .zip(&slice.strides)
            .map(|(a, b)| a * b)
            .collect();
        let from = self.plain(op, node.inputs[0])?;
        let to = self.make(op, node.outputs[0])?;
        let copy = Copy {
            size: &size,
            source,
            source_strides: &source_strides,
            place: 0,
            place_strides: &dense_strides(&size),
        };
        self.copy(op, from, to, &copy)
    }

    pub(super) fn expand(&mut self, node: &Node) -> Result<(), BackendError> {
        let op = node.op.name();
        let size = self.shape(node.outputs[0]).to_vec();
        let source_strides = broadcast_strides(self.shape(node.inputs[0]), &size);
        let from = self.plain(op, node.inputs[0])?;
        let to = self.make(op, node.outputs[0])?;
        let copy = Copy {
            size: &size,
            source: 0,
            source_strides: &source_strides,
            place: 0,
            place_strides: &dense_strides(&size),
        };
        self.copy(op, from, to, &copy)
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<(), BackendError> {
        let op = node.op.name();
        let strides = dense_strides(self.shape(node.outputs[0]));
        let to = self.make(op, node.outputs[0])?;
        let mut at = 0;
        for &input in &node.inputs {
            let size = self.shape(input).to_vec();
            let from = self.plain(op, input)?;
            let copy = Copy {
                size: &size,
                source: 0,
                source_strides: &dense_strides(&size),
                place: at * strides[axis],
                place_strides: &strides,
            };
            self.copy(op, from, to, &copy)?;
            at += size[axis];
        }
        Ok(())
    }

    /// Elements along an axis; rows of a weight in its stored format on axis 0.
    pub(super) fn gather(&mut self, node: &Node, axis: usize) -> Result<(), BackendError> {
        let op = node.op.name();
        let (x, indices, to) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let shape = self.shape(x).to_vec();
        let count = self.elements(indices);
        if let (Some((id, weight)), 0) = (self.weight_of(x)?, axis)
            && let Layout::Stored(format) = weight.layout
        {
            let indices = self.plain(op, indices)?;
            let y = self.make(op, to)?;
            return self.gather_rows(op, (id, weight), format, (indices, count), y);
        }
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let x = self.plain(op, x)?;
        let indices = self.plain(op, indices)?;
        let y = self.make(op, to)?;
        let params = [outer, shape[axis], inner, count]
            .map(|v| v as u32)
            .to_vec();
        let kernel = Kernel::Gather {
            workgroup: WORKGROUP,
        };
        let work = Work::Invocations(outer * count * inner);
        self.push(kernel, params, &[(1, x), (2, indices), (3, y)], work);
        Ok(())
    }

    fn gather_rows(
        &mut self,
        op: &'static str,
        (id, weight): (WeightId, &Weight),
        format: WeightFormat,
        (indices, count): (Place, usize),
        y: Place,
    ) -> Result<(), BackendError> {
        // Rows as the weight was cut: along its last dimension.
        let [rows, k] = weight.shape[..] else {
            return Err(unsupported(
                op,
                format!("a table of shape {:?}", weight.shape),
            ));
        };
        let vec4 = k % 4 == 0;
        for (i, part) in weight.parts.iter().enumerate() {
            let params = [count, k, rows, part.first, part.rows, 0, 0, 0].map(|v| v as u32);
            let kernel = Kernel::GatherRows {
                format,
                vec4,
                workgroup: WORKGROUP,
            };
            let bound = [(1, indices), (2, Place::Weight(id, i)), (3, y)];
            let work = Work::Invocations(count * k / if vec4 { 4 } else { 1 });
            self.push(kernel, params.to_vec(), &bound, work);
        }
        Ok(())
    }

    pub(super) fn dequantize(&mut self, node: &Node) -> Result<(), BackendError> {
        let op = node.op.name();
        let to = self.make(op, node.outputs[0])?;
        match self.weight_of(node.inputs[0])? {
            Some((id, weight)) if matches!(weight.layout, Layout::Stored(_)) => {
                self.decode(id, weight, to);
                Ok(())
            }
            // A widened weight, or a value: f32 on the device already.
            _ => {
                let size = [self.elements(node.inputs[0])];
                let from = self.plain(op, node.inputs[0])?;
                let copy = Copy {
                    size: &size,
                    source: 0,
                    source_strides: &[1],
                    place: 0,
                    place_strides: &[1],
                };
                self.copy(op, from, to, &copy)
            }
        }
    }

    /// Writes a weight in its stored format to `to` as f32.
    pub(super) fn decode(&mut self, id: WeightId, weight: &Weight, to: Place) {
        let Layout::Stored(format) = weight.layout else {
            return;
        };
        let k = weight.shape.last().copied().unwrap_or(1);
        let vec4 = k % 4 == 0;
        for (i, part) in weight.parts.iter().enumerate() {
            let params = [part.rows, k, part.first, 0].map(|v| v as u32).to_vec();
            let kernel = Kernel::Decode {
                format,
                vec4,
                workgroup: WORKGROUP,
            };
            let work = Work::Invocations(part.rows * k / if vec4 { 4 } else { 1 });
            self.push(kernel, params, &[(1, Place::Weight(id, i)), (2, to)], work);
        }
    }
}
