//! Operators whose output places depend on the elements.

use fewbit_shaders::{Join, Kernel};

use super::movement::Copy;
use super::{Lowering, Work, dense_strides, unsupported};
use crate::backend::BackendError;
use crate::graph::Node;
use crate::graph::op::Scatter;

const WORKGROUP: u32 = 64;

impl Lowering<'_> {
    pub(super) fn scatter_nd(&mut self, node: &Node, scatter: Scatter) -> Result<(), BackendError> {
        let op = node.op.name();
        let [x, indices, updates] = node.inputs[..] else {
            return Err(unsupported(op, format!("{} inputs", node.inputs.len())));
        };
        let element = self.device_type(op, x)?;
        let join = match scatter {
            Scatter::Replace => None,
            Scatter::Add => Some(Join::Add),
            Scatter::Mul => Some(Join::Mul),
            Scatter::Max => Some(Join::Max),
            Scatter::Min => Some(Join::Min),
        };
        let given = self.graph.value(x).element;
        let whole = given.plain().is_some_and(|t| t.bytes() == 4);
        if join.is_some() && !whole {
            return Err(unsupported(op, format!("joining elements of {given}")));
        }
        let shape = self.shape(x).to_vec();
        let depth = self.shape(indices).last().copied().unwrap_or(0);
        if depth > 8 {
            return Err(unsupported(op, format!("over {depth} dimensions")));
        }
        let count = self.elements(updates);
        let row: usize = shape[depth..].iter().product();
        let size = [shape.iter().product()];
        let (from, indices) = (self.plain(op, x)?, self.plain(op, indices)?);
        let updates = self.plain(op, updates)?;
        let to = self.make(op, node.outputs[0])?;
        let copy = Copy {
            size: &size,
            source: 0,
            source_strides: &[1],
            place: 0,
            place_strides: &[1],
        };
        self.copy(op, from, to, &copy)?;
        if size[0] == 0 {
            return Ok(());
        }
        let mut params = vec![0u32; 4 + 16];
        params[..3].copy_from_slice(&[count, row, depth].map(|n| n as u32));
        for (d, stride) in dense_strides(&shape).into_iter().take(depth).enumerate() {
            params[4 + d] = shape[d] as u32;
            params[12 + d] = stride as u32;
        }
        let kernel = Kernel::Scatter {
            element,
            join,
            workgroup: WORKGROUP,
        };
        let bound = [(1, indices), (2, updates), (3, to)];
        self.push(kernel, params, &bound, Work::Invocations(count));
        Ok(())
    }

    pub(super) fn top_k(
        &mut self,
        node: &Node,
        axis: usize,
        k: usize,
        largest: bool,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let element = self.device_type(op, node.inputs[0])?;
        let shape = self.shape(node.inputs[0]).to_vec();
        let lines =
            shape[..axis].iter().product::<usize>() * shape[axis + 1..].iter().product::<usize>();
        let inner: usize = shape[axis + 1..].iter().product();
        let x = self.plain(op, node.inputs[0])?;
        let y = self.make(op, node.outputs[0])?;
        let params = [lines, shape[axis], inner, k].map(|n| n as u32).to_vec();
        let kernel = Kernel::TopK {
            element,
            largest,
            workgroup: WORKGROUP,
        };
        let work = Work::Invocations(lines * shape[axis] * usize::from(k > 0));
        self.push(kernel, params, &[(1, x), (2, y)], work);
        Ok(())
    }
}
