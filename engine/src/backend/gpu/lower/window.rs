//! Windows over images: convolutions and pools; and padding.

use fewbit_shaders::{Kernel, PadMode as Mode, Path};

use super::{Lowering, Work, unsupported};
use crate::backend::BackendError;
use crate::graph::Node;
use crate::graph::op::{Conv2d, CumulativeSum, Pad, PadMode, Pool2d, PoolKind};
use crate::tensor::ElementType;

const WORKGROUP: u32 = 64;

impl Lowering<'_> {
    pub(super) fn conv2d(&mut self, node: &Node, conv: &Conv2d) -> Result<(), BackendError> {
        let op = node.op.name();
        let [_, _, height, width] = self.four(node, node.inputs[0])?;
        let [outputs, channels, rows, columns] = self.four(node, node.inputs[1])?;
        let [batch, _, out_height, out_width] = self.four(node, node.outputs[0])?;
        let (images, outputs) = (batch * conv.groups, outputs / conv.groups);
        let places = out_height * out_width;
        let x = self.plain(op, node.inputs[0])?;
        let filter = self.plain(op, node.inputs[1])?;
        let mut bound = vec![(1, x), (2, filter)];
        if conv.bias {
            bound.push((4, self.plain(op, node.inputs[2])?));
        }
        bound.push((3, self.make(op, node.outputs[0])?));
        let mut params = [images, conv.groups, outputs, channels].to_vec();
        params.extend([height, width, rows, columns, places, out_width]);
        params.extend(conv.window.strides);
        params.extend(conv.window.dilations);
        params.extend([conv.window.padding[0], conv.window.padding[2]]);
        let params = params.into_iter().map(|n| n as u32).collect();
        let barrier_free = self.opened.path == Path::BarrierFree;
        // A tile of few outputs would mostly be empty: groups of one channel, for one.
        let tiled = !barrier_free && outputs >= 16;
        let (workgroup, work) = match tiled {
            true => {
                let tiles = outputs.div_ceil(32) * places.div_ceil(64);
                (128, Work::Groups(images * tiles))
            }
            false => {
                let tiles = outputs.div_ceil(4) * places.div_ceil(4);
                (32, Work::Invocations(images * tiles))
            }
        };
        let kernel = Kernel::Conv2d {
            tiled,
            bias: conv.bias,
            workgroup,
        };
        self.push(kernel, params, &bound, work);
        Ok(())
    }

    pub(super) fn pool2d(&mut self, node: &Node, pool: &Pool2d) -> Result<(), BackendError> {
        let op = node.op.name();
        let [.., height, width] = self.four(node, node.inputs[0])?;
        let [batch, channels, out_height, out_width] = self.four(node, node.outputs[0])?;
        let count = batch * channels * out_height * out_width;
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        let mut params = [count, height, width, out_height, out_width].to_vec();
        params.extend(pool.size);
        params.push(0);
        params.extend(pool.window.strides);
        params.extend(pool.window.dilations);
        params.extend([pool.window.padding[0], pool.window.padding[2], 0, 0]);
        let params = params.into_iter().map(|n| n as u32).collect();
        let kernel = Kernel::Pool2d {
            average: pool.kind == PoolKind::Average,
            workgroup: WORKGROUP,
        };
        self.push(kernel, params, &[(1, x), (2, y)], Work::Invocations(count));
        Ok(())
    }

    pub(super) fn pad(&mut self, node: &Node, pad: &Pad) -> Result<(), BackendError> {
        let op = node.op.name();
        let shape = self.shape(node.inputs[0]).to_vec();
        let out_shape = self.shape(node.outputs[0]).to_vec();
        if shape.len() > 8 {
            return Err(unsupported(op, format!("{} dimensions", shape.len())));
        }
        let (mode, fill) = match pad.mode {
            PadMode::Constant(value)
                if self.graph.value(node.inputs[0]).element == ElementType::F32 =>
            {
                (Mode::Constant, value.to_bits())
            }
            PadMode::Constant(0.0) => (Mode::Constant, 0),
            PadMode::Constant(value) => {
                return Err(unsupported(op, format!("integers padded with {value}")));
            }
            PadMode::Edge => (Mode::Edge, 0),
            PadMode::Reflection => (Mode::Reflection, 0),
        };
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        let count = self.elements(node.outputs[0]);
        let mut params = vec![0u32; 4 + 24];
        params[..2].copy_from_slice(&[count as u32, fill]);
        for d in 0..8 {
            let at = |values: &[usize], missing| {
                values.iter().rev().nth(d).map_or(missing, |&v| v as u32)
            };
            params[4 + d] = at(&shape, 1);
            params[12 + d] = at(&pad.before, 0);
            params[20 + d] = at(&out_shape, 1);
        }
        let kernel = Kernel::Pad {
            mode,
            workgroup: WORKGROUP,
        };
        self.push(kernel, params, &[(1, x), (2, y)], Work::Invocations(count));
        Ok(())
    }

    pub(super) fn cumulative_sum(
        &mut self,
        node: &Node,
        sum: CumulativeSum,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let element = self.device_type(op, node.inputs[0])?;
        let shape = self.shape(node.inputs[0]).to_vec();
        let outer: usize = shape[..sum.axis].iter().product();
        let inner: usize = shape[sum.axis + 1..].iter().product();
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        let flags = [sum.exclusive, sum.reversed].map(u32::from);
        let mut params = [outer * inner, shape[sum.axis], inner]
            .map(|n| n as u32)
            .to_vec();
        params.extend(flags);
        params.extend([0; 3]);
        let kernel = Kernel::CumulativeSum {
            element,
            workgroup: WORKGROUP,
        };
        let work = Work::Invocations(outer * inner);
        self.push(kernel, params, &[(1, x), (2, y)], work);
        Ok(())
    }

    fn four(&self, node: &Node, id: crate::graph::ValueId) -> Result<[usize; 4], BackendError> {
        match *self.shape(id) {
            [a, b, c, d] => Ok([a, b, c, d]),
            ref other => Err(unsupported(node.op.name(), format!("a shape of {other:?}"))),
        }
    }
}
