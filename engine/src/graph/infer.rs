//! Shape and type inference: what an operator makes of its inputs, or why it cannot.

use super::op::{LayerNormalization, Op, Slice};
use super::{Dim, GraphError, Shape, fixed_shape, product};
use crate::tensor::{DataType, ElementType};

/// An operand or a result: its element type and shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) element: ElementType,
    pub(super) shape: Shape,
}

impl Described {
    pub(super) fn new(element: impl Into<ElementType>, shape: Shape) -> Described {
        Described {
            element: element.into(),
            shape,
        }
    }
}

/// The single output of `op` over `inputs`.
pub(super) fn infer(op: &Op, inputs: &[Described]) -> Result<Described, GraphError> {
    let check = Check { op, inputs };
    match op {
        Op::Unary(_) | Op::Clamp { .. } => {
            check.count(1)?;
            check.plain(0)?;
            Ok(inputs[0].clone())
        }
        Op::Binary(_) => {
            check.count(2)?;
            let element = check.same_type(0, 1)?;
            Ok(Described::new(element, check.broadcast(0, 1)?))
        }
        Op::Compare(_) => {
            check.count(2)?;
            check.same_type(0, 1)?;
            Ok(Described::new(DataType::U8, check.broadcast(0, 1)?))
        }
        Op::Logical(_) => {
            check.count(2)?;
            check.typed(0, DataType::U8, "u8")?;
            check.typed(1, DataType::U8, "u8")?;
            Ok(Described::new(DataType::U8, check.broadcast(0, 1)?))
        }
        Op::Where => {
            check.count(3)?;
            check.typed(0, DataType::U8, "u8")?;
            let element = check.same_type(1, 2)?;
            let shape = check.broadcast(1, 2)?;
            let shape = broadcast(op.name(), &inputs[0].shape, &shape)?;
            Ok(Described::new(element, shape))
        }
        Op::Cast { to } => {
            check.count(1)?;
            check.plain(0)?;
            Ok(Described::new(*to, inputs[0].shape.clone()))
        }
        Op::Fused(_) => {
            let mut shape = Shape::new();
            for (i, input) in inputs.iter().enumerate() {
                check.typed(i, DataType::F32, "f32")?;
                shape = broadcast(op.name(), &shape, &input.shape)?;
            }
            Ok(Described::new(DataType::F32, shape))
        }
        Op::Reduce(reduce) => {
            check.count(1)?;
            let element = check.plain(0)?;
            check.axes(0, &reduce.axes)?;
            let mut shape = Shape::new();
            for (axis, dim) in inputs[0].shape.iter().enumerate() {
                if !reduce.axes.contains(&axis) {
                    shape.push(dim.clone());
                } else if reduce.keep_dimensions {
                    shape.push(Dim::from(1));
                }
            }
            Ok(Described::new(element, shape))
        }
        Op::Softmax { axis } => {
            check.count(1)?;
            check.plain(0)?;
            check.axes(0, &[*axis])?;
            Ok(inputs[0].clone())
        }
        Op::LayerNormalization(attributes) => check.layer_normalization(attributes),
        Op::CumulativeSum(sum) => {
            check.count(1)?;
            check.plain(0)?;
            check.axes(0, &[sum.axis])?;
            Ok(inputs[0].clone())
        }
        Op::Conv2d(conv) => check.conv2d(conv),
        Op::Pool2d(pool) => check.pool2d(pool),
        Op::Matmul => check.matmul(),
        Op::Reshape { shape } => {
            check.count(1)?;
            let element = check.plain(0)?;
            let same = match (product(&inputs[0].shape), product(shape)) {
                (Some(from), Some(to)) => from == to,
                // Two symbols in one product are beyond affine arithmetic; specialization checks again.
                _ => fixed_shape(&inputs[0].shape).is_none() || fixed_shape(shape).is_none(),
            };
            if !same {
                return Err(GraphError::Shapes {
                    op: op.name(),
                    left: format!("{:?}", inputs[0].shape),
                    right: format!("{shape:?}"),
                });
            }
            Ok(Described::new(element, shape.clone()))
        }
        Op::Transpose { permutation } => {
            check.count(1)?;
            let element = check.plain(0)?;
            let mut seen = permutation.clone();
            seen.sort_unstable();
            if !seen.iter().copied().eq(0..inputs[0].shape.len()) {
                return Err(check.operand(format!(
                    "{permutation:?} is no permutation of {} dimensions",
                    inputs[0].shape.len()
                )));
            }
            let shape = permutation
                .iter()
                .map(|&axis| inputs[0].shape[axis].clone())
                .collect();
            Ok(Described::new(element, shape))
        }
        Op::Concat { axis } => check.concat(*axis),
        Op::Slice(slice) => check.slice(slice),
        Op::Pad(pad) => check.pad(pad),
        Op::Expand { shape } => {
            check.count(1)?;
            let element = check.plain(0)?;
            if broadcast(op.name(), &inputs[0].shape, shape)? != *shape {
                return Err(GraphError::Shapes {
                    op: op.name(),
                    left: format!("{:?}", inputs[0].shape),
                    right: format!("{shape:?}"),
                });
            }
            Ok(Described::new(element, shape.clone()))
        }
        Op::Gather { axis, decode } => check.gather(*axis, *decode),
        Op::RmsNormalization { .. } => {
            check.count(2)?;
            check.typed(0, DataType::F32, "f32")?;
            check.typed(1, DataType::F32, "f32")?;
            if inputs[1].shape.len() != 1 || inputs[0].shape.last() != inputs[1].shape.last() {
                return Err(check.shapes(0, 1));
            }
            Ok(inputs[0].clone())
        }
        Op::RotaryEmbedding(_) => check.rotary(),
        Op::Attention(attention) => check.attention(attention.causal, attention.bias),
        Op::BlockMatmul { bias, .. } => check.block_matmul(*bias),
        Op::KvAppend => {
            check.count(3)?;
            check.rank(0, 4)?;
            check.rank(1, 4)?;
            check.same_type(0, 1)?;
            check.position(2, 0)?;
            let (state, new) = (&inputs[0].shape, &inputs[1].shape);
            if state[0] != new[0] || state[1] != new[2] || state[3] != new[3] {
                return Err(check.shapes(0, 1));
            }
            Ok(inputs[0].clone())
        }
        Op::DequantizeBlocks => {
            check.count(1)?;
            Ok(Described::new(DataType::F32, inputs[0].shape.clone()))
        }
        Op::ScatterNd(_) => check.scatter_nd(),
        Op::Extension(extension) => check.extension(*extension),
    }
}

/// NumPy's rule: dimensions are matched from the last, and 1 goes with anything.
pub(super) fn broadcast(
    op: &'static str,
    left: &[Dim],
    right: &[Dim],
) -> Result<Shape, GraphError> {
    let rank = left.len().max(right.len());
    let mut shape = Vec::with_capacity(rank);
    for i in (1..=rank).rev() {
        let l = left.len().checked_sub(i).map(|at| &left[at]);
        let r = right.len().checked_sub(i).map(|at| &right[at]);
        shape.push(match (l, r) {
            (Some(d), None) | (None, Some(d)) => d.clone(),
            (Some(l), Some(r)) if l == r || r.is_one() => l.clone(),
            (Some(l), Some(r)) if l.is_one() => r.clone(),
            _ => {
                return Err(GraphError::Shapes {
                    op,
                    left: format!("{left:?}"),
                    right: format!("{right:?}"),
                });
            }
        });
    }
    Ok(shape)
}

pub(super) struct Check<'a> {
    pub(super) op: &'a Op,
    pub(super) inputs: &'a [Described],
}

impl Check<'_> {
    pub(super) fn operand(&self, message: String) -> GraphError {
        GraphError::Operand {
            op: self.op.name(),
            message,
        }
    }

    pub(super) fn shapes(&self, a: usize, b: usize) -> GraphError {
        GraphError::Shapes {
            op: self.op.name(),
            left: format!("{:?}", self.inputs[a].shape),
            right: format!("{:?}", self.inputs[b].shape),
        }
    }

    pub(super) fn count(&self, wanted: usize) -> Result<(), GraphError> {
        if self.inputs.len() == wanted {
            Ok(())
        } else {
            Err(self.operand(format!(
                "{} inputs given, {wanted} wanted",
                self.inputs.len()
            )))
        }
    }

    pub(super) fn rank(&self, input: usize, wanted: usize) -> Result<(), GraphError> {
        let rank = self.inputs[input].shape.len();
        if rank == wanted {
            Ok(())
        } else {
            Err(self.operand(format!(
                "input {input} has {rank} dimensions, {wanted} wanted"
            )))
        }
    }

    pub(super) fn plain(&self, input: usize) -> Result<DataType, GraphError> {
        self.inputs[input].element.plain().ok_or(GraphError::Type {
            op: self.op.name(),
            got: self.inputs[input].element,
            wanted: "a plain type",
        })
    }

    pub(super) fn typed(
        &self,
        input: usize,
        data_type: DataType,
        wanted: &'static str,
    ) -> Result<(), GraphError> {
        if self.inputs[input].element == ElementType::Plain(data_type) {
            Ok(())
        } else {
            Err(GraphError::Type {
                op: self.op.name(),
                got: self.inputs[input].element,
                wanted,
            })
        }
    }

    pub(super) fn same_type(&self, a: usize, b: usize) -> Result<DataType, GraphError> {
        let data_type = self.plain(a)?;
        if self.inputs[b].element != ElementType::Plain(data_type) {
            return Err(self.operand(format!(
                "element types {} and {} differ",
                self.inputs[a].element, self.inputs[b].element
            )));
        }
        Ok(data_type)
    }

    pub(super) fn broadcast(&self, a: usize, b: usize) -> Result<Shape, GraphError> {
        broadcast(self.op.name(), &self.inputs[a].shape, &self.inputs[b].shape)
    }

    pub(super) fn axes(&self, input: usize, axes: &[usize]) -> Result<(), GraphError> {
        let rank = self.inputs[input].shape.len();
        let sorted = axes.windows(2).all(|pair| pair[0] < pair[1]);
        if sorted && axes.iter().all(|&axis| axis < rank) {
            Ok(())
        } else {
            Err(self.operand(format!("axes {axes:?} of {rank} dimensions")))
        }
    }

    /// A start position a batch row: i32 of shape `[batch]`, the batch being dimension 0 of input `of`.
    fn position(&self, input: usize, of: usize) -> Result<(), GraphError> {
        self.typed(input, DataType::I32, "i32 positions")?;
        if self.inputs[input].shape.as_slice() == &self.inputs[of].shape[..1] {
            Ok(())
        } else {
            Err(self.shapes(of, input))
        }
    }

    fn layer_normalization(
        &self,
        attributes: &LayerNormalization,
    ) -> Result<Described, GraphError> {
        let LayerNormalization {
            axes, scale, bias, ..
        } = attributes;
        self.count(1 + usize::from(*scale) + usize::from(*bias))?;
        self.plain(0)?;
        self.axes(0, axes)?;
        let wanted: Shape = axes
            .iter()
            .map(|&a| self.inputs[0].shape[a].clone())
            .collect();
        for input in 1..self.inputs.len() {
            self.same_type(0, input)?;
            if self.inputs[input].shape != wanted {
                return Err(self.shapes(0, input));
            }
        }
        Ok(self.inputs[0].clone())
    }

    fn matmul(&self) -> Result<Described, GraphError> {
        self.count(2)?;
        let element = self.same_type(0, 1)?;
        let (a, b) = (&self.inputs[0].shape, &self.inputs[1].shape);
        if a.len() < 2 || b.len() < 2 || a[a.len() - 1] != b[b.len() - 2] {
            return Err(self.shapes(0, 1));
        }
        let mut shape = broadcast(self.op.name(), &a[..a.len() - 2], &b[..b.len() - 2])?;
        shape.push(a[a.len() - 2].clone());
        shape.push(b[b.len() - 1].clone());
        Ok(Described::new(element, shape))
    }

    fn concat(&self, axis: usize) -> Result<Described, GraphError> {
        let Some(first) = self.inputs.first() else {
            return Err(self.operand("no inputs".into()));
        };
        let element = self.plain(0)?;
        self.axes(0, &[axis])?;
        let mut shape = first.shape.clone();
        for (i, input) in self.inputs.iter().enumerate().skip(1) {
            self.same_type(0, i)?;
            let fits = input.shape.len() == shape.len()
                && (0..shape.len()).all(|d| d == axis || input.shape[d] == shape[d]);
            if !fits {
                return Err(self.shapes(0, i));
            }
            shape[axis] = shape[axis].clone() + input.shape[axis].clone();
        }
        Ok(Described::new(element, shape))
    }

    fn slice(&self, slice: &Slice) -> Result<Described, GraphError> {
        self.count(1)?;
        let element = self.plain(0)?;
        let shape = &self.inputs[0].shape;
        let rank = shape.len();
        if [slice.starts.len(), slice.sizes.len(), slice.strides.len()] != [rank; 3] {
            return Err(self.operand(format!(
                "starts, sizes and strides want {rank} entries each"
            )));
        }
        let mut out = Vec::with_capacity(rank);
        for (axis, dim) in shape.iter().enumerate() {
            let (start, size, stride) =
                (&slice.starts[axis], &slice.sizes[axis], slice.strides[axis]);
            if stride == 0 {
                return Err(self.operand(format!("the stride of axis {axis} is 0")));
            }
            if let (Some(start), Some(size), Some(dim)) = (start.fixed(), size.fixed(), dim.fixed())
                && start.checked_add(size).is_none_or(|end| end > dim)
            {
                return Err(self.operand(format!(
                    "axis {axis}: {start}..{start}+{size} is outside 0..{dim}"
                )));
            }
            out.push(match (size.fixed(), stride) {
                (_, 1) => size.clone(),
                (Some(size), stride) => Dim::from(size.div_ceil(stride)),
                (None, _) => {
                    return Err(self.operand(format!("axis {axis}: a stride over a symbolic size")));
                }
            });
        }
        Ok(Described::new(element, out))
    }

    fn gather(&self, axis: usize, decode: bool) -> Result<Described, GraphError> {
        self.count(2)?;
        self.axes(0, &[axis])?;
        let element = match self.inputs[0].element {
            element if decode => {
                if axis != 0 || self.inputs[0].shape.len() != 2 {
                    return Err(self.operand("only rows of a matrix are decoded".into()));
                }
                let float = element.plain().is_none_or(DataType::is_float);
                if !float {
                    return Err(GraphError::Type {
                        op: self.op.name(),
                        got: element,
                        wanted: "a block format or a float type",
                    });
                }
                DataType::F32
            }
            _ => self.plain(0)?,
        };
        self.indices(1)?;
        let mut shape = self.inputs[0].shape[..axis].to_vec();
        shape.extend_from_slice(&self.inputs[1].shape);
        shape.extend_from_slice(&self.inputs[0].shape[axis + 1..]);
        Ok(Described::new(element, shape))
    }

    fn rotary(&self) -> Result<Described, GraphError> {
        self.count(4)?;
        for input in 0..3 {
            self.typed(input, DataType::F32, "f32")?;
        }
        self.rank(0, 4)?;
        self.rank(1, 2)?;
        self.position(3, 0)?;
        if self.inputs[1].shape != self.inputs[2].shape {
            return Err(self.shapes(1, 2));
        }
        let size = self.inputs[0].shape[3].fixed();
        let half = self.inputs[1].shape[1].fixed();
        match (size, half) {
            (Some(size), Some(half)) if half * 2 <= size => Ok(self.inputs[0].clone()),
            _ => Err(self.shapes(0, 1)),
        }
    }

    fn attention(&self, causal: bool, bias: bool) -> Result<Described, GraphError> {
        self.count(3 + usize::from(causal) + usize::from(bias))?;
        for input in 0..3 {
            self.typed(input, DataType::F32, "f32")?;
            self.rank(input, 4)?;
        }
        let (q, k, v) = (
            &self.inputs[0].shape,
            &self.inputs[1].shape,
            &self.inputs[2].shape,
        );
        if k[..3] != v[..3] {
            return Err(self.shapes(1, 2));
        }
        let grouped = match (q[2].fixed(), k[1].fixed()) {
            (Some(heads), Some(kv_heads)) => kv_heads > 0 && heads % kv_heads == 0,
            _ => false,
        };
        if !grouped || q[0] != k[0] || q[3] != k[3] || k[3] != v[3] {
            return Err(self.shapes(0, 1));
        }
        if causal {
            self.position(3, 0)?;
        }
        if bias {
            let at = self.inputs.len() - 1;
            self.typed(at, DataType::F32, "an f32 bias")?;
            let full = [q[0].clone(), q[2].clone(), q[1].clone(), k[2].clone()];
            if broadcast(self.op.name(), &self.inputs[at].shape, &full)? != full {
                return Err(self.shapes(0, at));
            }
        }
        Ok(self.inputs[0].clone())
    }

    fn block_matmul(&self, bias: bool) -> Result<Described, GraphError> {
        self.count(2 + usize::from(bias))?;
        self.typed(0, DataType::F32, "f32 activations")?;
        self.rank(1, 2)?;
        if self.inputs[1]
            .element
            .plain()
            .is_some_and(|t| !t.is_float())
        {
            return Err(GraphError::Type {
                op: self.op.name(),
                got: self.inputs[1].element,
                wanted: "a block format or a float type",
            });
        }
        let weight = &self.inputs[1].shape;
        let Some((k, rest)) = self.inputs[0].shape.split_last() else {
            return Err(self.shapes(0, 1));
        };
        if *k != weight[1] {
            return Err(self.shapes(0, 1));
        }
        if bias {
            self.typed(2, DataType::F32, "an f32 bias")?;
            if self.inputs[2].shape[..] != weight[..1] {
                return Err(self.shapes(1, 2));
            }
        }
        let mut shape = rest.to_vec();
        shape.push(weight[0].clone());
        Ok(Described::new(DataType::F32, shape))
    }
}
