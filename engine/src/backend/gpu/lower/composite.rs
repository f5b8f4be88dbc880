//! The composites around attention.

use fewbit_shaders::{Attention as AttentionKernel, AttentionPath, Kernel, Path};

use super::{Lowering, Work, broadcast_strides, unsupported};
use crate::backend::BackendError;
use crate::graph::Node;
use crate::graph::op::{Attention, RotaryEmbedding};

const WORKGROUP: u32 = 64;

impl Lowering<'_> {
    pub(super) fn rotary(
        &mut self,
        node: &Node,
        rotary: &RotaryEmbedding,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let [batch, tokens, heads, size] = *self.shape(node.inputs[0]) else {
            return Err(unsupported(op, "x of another rank than 4".to_owned()));
        };
        let [positions, half] = *self.shape(node.inputs[1]) else {
            return Err(unsupported(op, "tables of another rank than 2".to_owned()));
        };
        let params = [batch, tokens, heads, size, half, positions, 0, 0]
            .map(|v| v as u32)
            .to_vec();
        let mut bound = Vec::new();
        for (i, &id) in node.inputs.iter().enumerate() {
            bound.push((i as u32 + 1, self.plain(op, id)?));
        }
        bound.push((5, self.make(op, node.outputs[0])?));
        let kernel = Kernel::Rotary {
            interleaved: rotary.interleaved,
            workgroup: WORKGROUP,
        };
        let work = Work::Invocations(batch * tokens * heads * size);
        self.push(kernel, params, &bound, work);
        Ok(())
    }

    pub(super) fn kv_append(&mut self, node: &Node) -> Result<(), BackendError> {
        let op = node.op.name();
        let [batch, tokens, heads, size] = *self.shape(node.inputs[1]) else {
            return Err(unsupported(
                op,
                "new values of another rank than 4".to_owned(),
            ));
        };
        let capacity = self.shape(node.inputs[0])[2];
        let state = self.place(node.inputs[0])?;
        let vec4 = size % 4 == 0;
        let width = if vec4 { size / 4 } else { size };
        let params = [batch, tokens, heads, width, capacity, 0, 0, 0]
            .map(|v| v as u32)
            .to_vec();
        let fresh = self.plain(op, node.inputs[1])?;
        let position = self.plain(op, node.inputs[2])?;
        let kernel = Kernel::KvAppend {
            vec4,
            workgroup: WORKGROUP,
        };
        let work = Work::Invocations(batch * tokens * heads * width);
        self.push(
            kernel,
            params,
            &[(1, fresh), (2, position), (3, state)],
            work,
        );
        Ok(())
    }

    pub(super) fn attention(
        &mut self,
        node: &Node,
        attention: &Attention,
    ) -> Result<(), BackendError> {
        let op = node.op.name();
        let [batch, tokens, heads, size] = *self.shape(node.inputs[0]) else {
            return Err(unsupported(op, "q of another rank than 4".to_owned()));
        };
        let [_, kv_heads, keys, _] = *self.shape(node.inputs[1]) else {
            return Err(unsupported(op, "k of another rank than 4".to_owned()));
        };
        let [q, k, v] = [0, 1, 2].map(|i| self.plain(op, node.inputs[i]));
        let (q, k, v) = (q?, k?, v?);
        let mut bound = vec![(1, q), (2, k), (3, v)];
        let mut next = 3;
        if attention.causal {
            bound.push((5, self.plain(op, node.inputs[next])?));
            next += 1;
        }
        let mut strides = vec![0; 4];
        if attention.bias {
            let id = node.inputs[next];
            strides = broadcast_strides(self.shape(id), &[batch, heads, tokens, keys]);
            bound.push((6, self.plain(op, id)?));
        }
        bound.push((4, self.make(op, node.outputs[0])?));
        let mut params = [batch, heads, kv_heads, tokens, keys]
            .map(|v| v as u32)
            .to_vec();
        params.extend([attention.scale.to_bits(), 0, 0]);
        params.extend(strides.iter().map(|&v| v as u32));
        let count = batch * heads * tokens;
        let (path, workgroup, work) = match self.opened.path {
            // So few that each should be a task of its own, or so many that they go in vectors. Larger heads than
            // these take a driver minutes to compile into registers.
            Path::BarrierFree if size <= 128 && (size % 4 == 0 || size <= 32) => {
                let workgroup = if count <= 64 { 4 } else { 16 };
                (
                    AttentionPath::Registers,
                    workgroup,
                    Work::Invocations(count),
                )
            }
            path => {
                let subgroups = path == Path::Subgroup;
                (AttentionPath::Tiled { subgroups }, 64, Work::Groups(count))
            }
        };
        let kernel = Kernel::Attention(AttentionKernel {
            path,
            size: size as u32,
            causal: attention.causal,
            bias: attention.bias,
            workgroup,
        });
        self.push(kernel, params, &bound, work);
        Ok(())
    }
}
