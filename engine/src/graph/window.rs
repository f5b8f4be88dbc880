//! Shape inference of what slides a window over images or grows their borders.

use super::infer::{Check, Described};
use super::op::{Conv2d, Pad, PadMode, Pool2d, Window};
use super::{Dim, GraphError, Shape};
use crate::tensor::{DataType, ElementType};

/// More padding, or a larger window, than any model has; products of two stay in range.
const MOST: usize = 1 << 24;

impl Check<'_> {
    pub(super) fn conv2d(&self, conv: &Conv2d) -> Result<Described, GraphError> {
        self.count(2 + usize::from(conv.bias))?;
        self.typed(0, DataType::F32, "f32")?;
        self.rank(0, 4)?;
        self.rank(1, 4)?;
        let filter = &self.inputs[1];
        if !matches!(
            filter.element,
            ElementType::Plain(DataType::F32 | DataType::F16 | DataType::Bf16)
        ) {
            return Err(GraphError::Type {
                op: self.op.name(),
                got: filter.element,
                wanted: "a filter of f32, f16 or bf16",
            });
        }
        let sizes: Option<Vec<usize>> = filter.shape.iter().map(Dim::fixed).collect();
        let Some([outputs, channels, height, width]) = sizes.as_deref() else {
            return Err(self.operand(format!("a filter of {:?}", filter.shape)));
        };
        let groups = conv.groups;
        let whole = groups > 0 && outputs.is_multiple_of(groups);
        let given = channels.checked_mul(groups).map(Dim::from);
        if !whole || given.as_ref() != Some(&self.inputs[0].shape[1]) {
            return Err(self.operand(format!(
                "{groups} groups, a filter of {:?} and channels of {:?} do not go together",
                filter.shape, self.inputs[0].shape
            )));
        }
        if conv.bias {
            self.typed(2, DataType::F32, "an f32 bias")?;
            if self.inputs[2].shape[..] != filter.shape[..1] {
                return Err(self.shapes(1, 2));
            }
        }
        let outputs = filter.shape[0].clone();
        let shape = self.slide(&conv.window, [*height, *width], outputs)?;
        Ok(Described::new(DataType::F32, shape))
    }

    pub(super) fn pool2d(&self, pool: &Pool2d) -> Result<Described, GraphError> {
        self.count(1)?;
        self.typed(0, DataType::F32, "f32")?;
        self.rank(0, 4)?;
        let [top, bottom, left, right] = pool.window.padding;
        for (size, before, after) in [(pool.size[0], top, bottom), (pool.size[1], left, right)] {
            // A window wholly in the padding would have nothing to take the mean or the largest of.
            if before >= size || after >= size {
                return Err(self.operand(format!(
                    "padding of {before} and {after} by a window of {size}"
                )));
            }
        }
        let channels = self.inputs[0].shape[1].clone();
        let shape = self.slide(&pool.window, pool.size, channels)?;
        Ok(Described::new(DataType::F32, shape))
    }

    /// The output of a window of `size` over input 0, with these channels.
    fn slide(&self, window: &Window, size: [usize; 2], channels: Dim) -> Result<Shape, GraphError> {
        let x = &self.inputs[0].shape;
        let [top, bottom, left, right] = window.padding;
        let along = |axis: usize, padding: [usize; 2]| -> Result<Dim, GraphError> {
            let (size, stride) = (size[axis], window.strides[axis]);
            let dilation = window.dilations[axis];
            let sane = [size, stride, dilation]
                .iter()
                .all(|n| (1..=MOST).contains(n))
                && padding.iter().all(|&n| n <= MOST);
            if !sane {
                return Err(self.operand(format!(
                    "a window of {size}, stride {stride}, dilation {dilation}, padding {padding:?}"
                )));
            }
            let reach = (size - 1) * dilation + 1;
            let padded = x[2 + axis].clone() + Dim::from(padding[0] + padding[1]);
            let room = padded.clone() - Dim::from(reach);
            if room.symbols().next().is_none() && room.fixed().is_none() {
                return Err(self.operand(format!("a window of {reach} over {padded}")));
            }
            Ok(room.floor_div(stride)? + Dim::from(1))
        };
        let height = along(0, [top, bottom])?;
        let width = along(1, [left, right])?;
        Ok(vec![x[0].clone(), channels, height, width])
    }

    pub(super) fn pad(&self, pad: &Pad) -> Result<Described, GraphError> {
        self.count(1)?;
        let element = self.plain(0)?;
        let x = &self.inputs[0].shape;
        if pad.before.len() != x.len() || pad.after.len() != x.len() {
            return Err(self.operand(format!(
                "padding {:?} and {:?} of {} dimensions",
                pad.before,
                pad.after,
                x.len()
            )));
        }
        let mut shape = Shape::new();
        for (axis, dim) in x.iter().enumerate() {
            let (before, after) = (pad.before[axis], pad.after[axis]);
            let most = before.max(after);
            let enough = match (pad.mode, dim.fixed()) {
                (PadMode::Constant(_), _) | (_, None) => true,
                (PadMode::Edge, Some(size)) => size > 0 || most == 0,
                (PadMode::Reflection, Some(size)) => most < size || most == 0,
            };
            if most > MOST || !enough {
                return Err(self.operand(format!(
                    "axis {axis}: padding of {before} and {after} by {dim} elements"
                )));
            }
            shape.push(dim.clone() + Dim::from(before + after));
        }
        Ok(Described::new(element, shape))
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::op::{Conv2d, Pad, PadMode, Pool2d, PoolKind, Window};
    use crate::graph::{Dim, GraphBuilder, Op, fixed_shape};
    use crate::tensor::DataType;

    fn conv(window: Window, groups: usize) -> Op {
        Op::Conv2d(Conv2d {
            window,
            groups,
            bias: false,
        })
    }

    fn of(op: &Op, shapes: &[&[usize]]) -> Result<Vec<usize>, String> {
        let mut b = GraphBuilder::new();
        let ids: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let shape = shape.iter().map(|&n| Dim::from(n)).collect();
                b.input(&i.to_string(), DataType::F32, shape).unwrap()
            })
            .collect();
        let y = b.op(op.clone(), &ids).map_err(|error| error.to_string())?;
        Ok(fixed_shape(b.shape(y)).unwrap())
    }

    #[test]
    fn sizes_are_the_specifications() {
        let window = Window {
            padding: [1, 2, 3, 0],
            strides: [2, 3],
            dilations: [2, 1],
        };
        // Height: (10 + 3 − 5) / 2 + 1; width: (11 + 3 − 2) / 3 + 1.
        assert_eq!(
            of(&conv(window, 2), &[&[4, 6, 10, 11], &[8, 3, 3, 2]]).unwrap(),
            [4, 8, 5, 5]
        );
        let pool = Op::Pool2d(Pool2d {
            kind: PoolKind::Max,
            size: [3, 3],
            window: Window {
                padding: [1; 4],
                strides: [2; 2],
                ..Window::default()
            },
        });
        assert_eq!(of(&pool, &[&[1, 2, 8, 7]]).unwrap(), [1, 2, 4, 4]);
    }

    #[test]
    fn symbolic_sizes_keep_what_same_padding_keeps_and_divide_the_rest() {
        let mut b = GraphBuilder::new();
        let shape = vec![
            Dim::from(1),
            Dim::from(3),
            Dim::symbol("height"),
            Dim::symbol("width"),
        ];
        let x = b.input("x", DataType::F32, shape).unwrap();
        let shape = [8, 3, 3, 3].map(Dim::from).to_vec();
        let filter = b.input("filter", DataType::F32, shape).unwrap();
        let same = Window {
            padding: [1; 4],
            ..Window::default()
        };
        let y = b.op(conv(same, 1), &[x, filter]).unwrap();
        assert_eq!(
            b.shape(y)[2..],
            [Dim::symbol("height"), Dim::symbol("width")]
        );
        let halving = Window {
            strides: [2, 2],
            ..same
        };
        let y = b.op(conv(halving, 1), &[x, filter]).unwrap();
        assert_eq!(b.shape(y)[2].to_string(), "floor((height+1)/2)");
    }

    #[test]
    fn what_does_not_go_together_is_an_error() {
        let plain = Window::default();
        for (op, shapes) in [
            (conv(plain, 1), [&[1, 4, 5, 5], &[2, 3, 3, 3]]),
            (conv(plain, 0), [&[1, 4, 5, 5], &[2, 4, 3, 3]]),
            (conv(plain, 2), [&[1, 4, 5, 5], &[3, 2, 3, 3]]),
            (conv(plain, 1), [&[1, 4, 5, 2], &[2, 4, 3, 3]]),
            (conv(plain, usize::MAX), [&[1, 4, 5, 5], &[2, 4, 3, 3]]),
            (
                conv(
                    Window {
                        strides: [0, 1],
                        ..plain
                    },
                    1,
                ),
                [&[1, 4, 5, 5], &[2, 4, 3, 3]],
            ),
            (
                conv(
                    Window {
                        dilations: [1, usize::MAX],
                        ..plain
                    },
                    1,
                ),
                [&[1, 4, 5, 5], &[2, 4, 3, 3]],
            ),
        ] {
            assert!(
                of(&op, &shapes.map(|s: &[usize; 4]| s.as_slice())).is_err(),
                "{op:?}"
            );
        }
        let pad = |mode| {
            Op::Pad(Pad {
                before: vec![2],
                after: vec![0],
                mode,
            })
        };
        assert!(of(&pad(PadMode::Reflection), &[&[2]]).is_err());
        assert_eq!(of(&pad(PadMode::Reflection), &[&[3]]).unwrap(), [5]);
        assert_eq!(of(&pad(PadMode::Edge), &[&[1]]).unwrap(), [3]);
        assert!(of(&pad(PadMode::Edge), &[&[0]]).is_err());
        assert_eq!(of(&pad(PadMode::Constant(0.0)), &[&[0]]).unwrap(), [2]);
    }
}
