//! Operators along axes: normalizations, softmax, reductions.

use fewbit_shaders::{InputType, Kernel, Normalization, Normalize, Path};

use super::movement::Copy;
use super::{Lowering, Place, Work, dense_strides, unsupported};
use crate::backend::BackendError;
use crate::graph::Node;
use crate::graph::op::{LayerNormalization, Reduce, ReduceKind};

/// What a normalization over rows takes.
struct Rows {
    kind: Normalization,
    rows: usize,
    elements: usize,
    epsilon: f32,
    scale: Option<Place>,
    bias: Option<Place>,
}

impl Lowering<'_> {
    fn normalize(&mut self, rows: Rows, x: Place, y: Place) {
        let vec4 = rows.elements.is_multiple_of(4);
        let vectors = rows.elements / if vec4 { 4 } else { 1 };
        let path = self.opened.path;
        let kernel = Kernel::Normalize(Normalize {
            kind: rows.kind,
            path,
            scale: rows.scale.is_some(),
            bias: rows.bias.is_some(),
            added: false,
            total: false,
            vec4,
            workgroup: match path {
                Path::BarrierFree => 4,
                _ => 128,
            },
        });
        let params = vec![
            rows.rows as u32,
            vectors as u32,
            rows.elements as u32,
            rows.epsilon.to_bits(),
        ];
        let mut bound = vec![(1, x), (2, y)];
        bound.extend(rows.scale.map(|scale| (3, scale)));
        bound.extend(rows.bias.map(|bias| (4, bias)));
        let work = match path {
            Path::BarrierFree => Work::Invocations(rows.rows),
            _ => Work::Groups(rows.rows),
        };
        self.push(kernel, params, &bound, work);
    }

    pub(super) fn rms_normalization(
        &mut self,
        node: &Node,
        epsilon: f32,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let elements = self.shape(node.inputs[0]).last().copied().unwrap_or(1);
        let rows = Rows {
            kind: Normalization::Rms,
            rows: self
                .elements(node.inputs[0])
                .checked_div(elements)
                .unwrap_or(0),
            elements,
            epsilon,
            scale: Some(self.plain(op, node.inputs[1])?),
            bias: None,
        };
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        self.normalize(rows, x, y);
        Ok(())
    }

    pub(super) fn layer_normalization(
        &mut self,
        node: &Node,
        norm: &LayerNormalization,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let shape = self.shape(node.inputs[0]).to_vec();
        let outer = shape.len() - norm.axes.len();
        if !norm.axes.iter().copied().eq(outer..shape.len()) {
            return Err(unsupported(
                op,
                format!("axes {:?} that are not the last of {shape:?}", norm.axes),
            ));
        }
        let mut rest = node.inputs[1..].iter();
        let mut operand = |lowering: &mut Self, given: bool| match (given, rest.next()) {
            (true, Some(&id)) => lowering.plain(op, id).map(Some),
            _ => Ok(None),
        };
        let scale = match norm.scale {
            true => operand(self, true)?,
            false => None,
        };
        let bias = match norm.bias {
            true => operand(self, true)?,
            false => None,
        };
        let rows = Rows {
            kind: Normalization::Layer,
            rows: shape[..outer].iter().product(),
            elements: shape[outer..].iter().product(),
            epsilon: norm.epsilon,
            scale,
            bias,
        };
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        self.normalize(rows, x, y);
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &Node, axis: usize) -> Result<(), BackendError> {
        let op = node.op.name();
        let shape = self.shape(node.inputs[0]).to_vec();
        let elements = shape[axis];
        let rows = Rows {
            kind: Normalization::Softmax,
            rows: shape
                .iter()
                .product::<usize>()
                .checked_div(elements)
                .unwrap_or(0),
            elements,
            epsilon: 0.0,
            scale: None,
            bias: None,
        };
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        if axis + 1 == shape.len() {
            self.normalize(rows, x, y);
            return Ok(());
        }
        // The axis goes last, and back after.
        let bytes = 4 * self.elements(node.inputs[0]);
        let (before, after) = (self.temporary(op, bytes)?, self.temporary(op, bytes)?);
        let order: Vec<usize> = (0..shape.len())
            .filter(|&a| a != axis)
            .chain([axis])
            .collect();
        let size: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
        let dense = dense_strides(&shape);
        let strides: Vec<usize> = order.iter().map(|&a| dense[a]).collect();
        let moved = dense_strides(&size);
        let copy = |source_strides, place_strides| Copy {
            size: &size,
            source: 0,
            source_strides,
            place: 0,
            place_strides,
        };
        self.copy(op, x, before, &copy(&strides, &moved))?;
        self.normalize(rows, before, after);
        self.copy(op, after, y, &copy(&moved, &strides))
    }

    pub(super) fn reduce(&mut self, node: &Node, reduce: &Reduce) -> Result<(), BackendError> {
        let op = node.op.name();
        let shape = self.shape(node.inputs[0]).to_vec();
        let element = self.device_type(op, node.inputs[0])?;
        let kind = match reduce.kind {
            ReduceKind::L1 => "l1",
            ReduceKind::L2 => "l2",
            ReduceKind::LogSum => "log_sum",
            ReduceKind::LogSumExp => "log_sum_exp",
            ReduceKind::Max => "max",
            ReduceKind::Mean => "mean",
            ReduceKind::Min => "min",
            ReduceKind::Product => "product",
            ReduceKind::Sum => "sum",
            ReduceKind::SumSquare => "sum_square",
        };
        let plain = self.graph.value(node.inputs[0]).element.plain();
        let narrow = plain.is_some_and(|t| t.bytes() != 4 && !t.is_float());
        if narrow
            && !matches!(
                reduce.kind,
                ReduceKind::Max | ReduceKind::Min | ReduceKind::Sum
            )
        {
            return Err(unsupported(op, format!("over {plain:?} on the GPU")));
        }
        let float_only = matches!(
            reduce.kind,
            ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp | ReduceKind::Mean
        );
        if float_only && element != InputType::F32 {
            return Err(unsupported(op, format!("over {}", element.wgsl())));
        }
        let mut x = self.plain(op, node.inputs[0])?;
        let n: usize = reduce.axes.iter().map(|&a| shape[a]).product();
        if n == 0 {
            return Err(unsupported(op, "over no elements".to_owned()));
        }
        let total: usize = shape.iter().product();
        let neighbours = reduce.axes.windows(2).all(|w| w[1] == w[0] + 1);
        let (outer, inner) = match (neighbours, reduce.axes.first(), reduce.axes.last()) {
            (true, Some(&first), Some(&last)) => (
                shape[..first].iter().product::<usize>(),
                shape[last + 1..].iter().product::<usize>(),
            ),
            (true, ..) => (total, 1),
            (false, ..) => {
                // The reduced axes go last.
                let order: Vec<usize> = (0..shape.len())
                    .filter(|a| !reduce.axes.contains(a))
                    .chain(reduce.axes.iter().copied())
                    .collect();
                let size: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
                let dense = dense_strides(&shape);
                let strides: Vec<usize> = order.iter().map(|&a| dense[a]).collect();
                let moved = self.temporary(op, 4 * total)?;
                let copy = Copy {
                    size: &size,
                    source: 0,
                    source_strides: &strides,
                    place: 0,
                    place_strides: &dense_strides(&size),
                };
                self.copy(op, x, moved, &copy)?;
                x = moved;
                (total / n, 1)
            }
        };
        let y = self.make(op, node.outputs[0])?;
        let kernel = Kernel::Reduce {
            kind,
            element,
            workgroup: 32,
        };
        let params = [outer, n, inner, 0].map(|v| v as u32).to_vec();
        let work = Work::Invocations(outer * inner);
        self.push(kernel, params, &[(1, x), (2, y)], work);
        Ok(())
    }
}
