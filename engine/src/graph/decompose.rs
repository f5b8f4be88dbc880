//! What each composite is in WebNN's operators, written once.
//!
//! A back end without a kernel for a composite gets this; a test holds every composite kernel against it.

use crate::tensor::{DataType, ElementType, Tensor};

use super::op::{
    Attention, Binary, Compare, Fused, Operand, ReduceKind, RotaryEmbedding, Step, Unary,
};
use super::pass::{Rewriter, prune};
use super::{Dim, Graph, GraphBuilder, GraphError, Node, Op, ValueId};

/// Replaces every composite for which `keep` says no. The graph must be without symbols, as index
/// arithmetic becomes constants.
pub fn decompose(
    graph: &Graph,
    keep: impl Fn(&Op, &[ElementType]) -> bool,
) -> Result<Graph, GraphError> {
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        let elements: Vec<ElementType> = node
            .inputs
            .iter()
            .map(|&id| graph.value(id).element)
            .collect();
        if !node.op.is_composite() || keep(&node.op, &elements) {
            rewriter.copy(node)?;
            continue;
        }
        let inputs = rewriter.get_all(&node.inputs)?;
        let new = expand(rewriter.builder(), node, &inputs)?;
        rewriter.replace(node.outputs[0], new);
    }
    Ok(prune(&rewriter.finish()?))
}

fn expand(b: &mut GraphBuilder, node: &Node, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
    match &node.op {
        Op::RmsNormalization { epsilon } => rms_normalization(b, inputs[0], inputs[1], *epsilon),
        Op::RotaryEmbedding(attributes) => rotary_embedding(b, inputs, *attributes),
        Op::Attention(attributes) => attention(b, inputs, *attributes),
        Op::BlockMatmul { bias, .. } => block_matmul(b, inputs, *bias),
        Op::KvAppend => kv_append(b, inputs),
        Op::Fused(fused) => unfuse(b, inputs, fused),
        Op::Gather {
            axis: 0,
            decode: true,
        } => {
            let table = to_f32(b, inputs[0])?;
            b.gather(table, inputs[1], 0)
        }
        other => b.op(other.clone(), inputs),
    }
}

/// `x / sqrt(mean(x²) + epsilon) · scale`
fn rms_normalization(
    b: &mut GraphBuilder,
    x: ValueId,
    scale: ValueId,
    epsilon: f32,
) -> Result<ValueId, GraphError> {
    let last = b.shape(x).len() - 1;
    let square = b.mul(x, x)?;
    let mean = b.reduce(ReduceKind::Mean, square, &[last], true)?;
    let epsilon = b.number(epsilon)?;
    let shifted = b.add_values(mean, epsilon)?;
    let root = b.unary(Unary::Sqrt, shifted)?;
    let normal = b.binary(Binary::Div, x, root)?;
    b.mul(normal, scale)
}

/// Pairs `(a, c)` become `(a·cos − c·sin, c·cos + a·sin)`.
fn rotary_embedding(
    b: &mut GraphBuilder,
    inputs: &[ValueId],
    attributes: RotaryEmbedding,
) -> Result<ValueId, GraphError> {
    let [x, cos, sin, position] = *inputs else {
        return Err(arity("rotary_embedding"));
    };
    let [batch, tokens, heads, size] = fixed4(b, x)?;
    let half = fixed(b, cos, 1)?;
    let rotated = 2 * half;
    let rows = positions(b, position, batch, tokens)?;
    let table = |b: &mut GraphBuilder, table| -> Result<ValueId, GraphError> {
        let rows = b.gather(table, rows, 0)?;
        b.reshape(rows, dims(&[batch, tokens, 1, half]))
    };
    let cos = table(b, cos)?;
    let sin = table(b, sin)?;
    let turned = b.slice_axis(x, 3, Dim::from(0), Dim::from(rotated))?;
    let (first, second) = if attributes.interleaved {
        let pairs = b.reshape(turned, dims(&[batch, tokens, heads, half, 2]))?;
        let mut pick = |at: usize| -> Result<ValueId, GraphError> {
            let one = b.slice_axis(pairs, 4, Dim::from(at), Dim::from(1))?;
            b.reshape(one, dims(&[batch, tokens, heads, half]))
        };
        (pick(0)?, pick(1)?)
    } else {
        (
            b.slice_axis(turned, 3, Dim::from(0), Dim::from(half))?,
            b.slice_axis(turned, 3, Dim::from(half), Dim::from(half))?,
        )
    };
    let combine =
        |b: &mut GraphBuilder, p: ValueId, q: ValueId, op: Binary| -> Result<ValueId, GraphError> {
            let left = b.mul(p, cos)?;
            let right = b.mul(q, sin)?;
            b.binary(op, left, right)
        };
    let new_first = combine(b, first, second, Binary::Sub)?;
    let new_second = combine(b, second, first, Binary::Add)?;
    let joined = if attributes.interleaved {
        let shape = dims(&[batch, tokens, heads, half, 1]);
        let first = b.reshape(new_first, shape.clone())?;
        let second = b.reshape(new_second, shape)?;
        let pairs = b.concat(&[first, second], 4)?;
        b.reshape(pairs, dims(&[batch, tokens, heads, rotated]))?
    } else {
        b.concat(&[new_first, new_second], 3)?
    };
    if rotated == size {
        return Ok(joined);
    }
    let rest = b.slice_axis(x, 3, Dim::from(rotated), Dim::from(size - rotated))?;
    b.concat(&[joined, rest], 3)
}

/// `softmax(scale · q·kᵀ + bias, hidden keys out) · v`
fn attention(
    b: &mut GraphBuilder,
    inputs: &[ValueId],
    attributes: Attention,
) -> Result<ValueId, GraphError> {
    let [batch, tokens, heads, size] = fixed4(b, inputs[0])?;
    let [_, kv_heads, keys, _] = fixed4(b, inputs[1])?;
    let group = heads / kv_heads;
    // [batch, kv_heads, group·tokens, size]: a group's query heads stand together as more rows.
    let q = b.transpose(inputs[0], &[0, 2, 1, 3])?;
    let q = b.reshape(q, dims(&[batch, kv_heads, group * tokens, size]))?;
    let k = b.transpose(inputs[1], &[0, 1, 3, 2])?;
    let scores = b.matmul(q, k)?;
    let scale = b.number(attributes.scale)?;
    let scores = b.mul(scores, scale)?;
    let mut scores = b.reshape(scores, dims(&[batch, heads, tokens, keys]))?;
    if attributes.bias {
        scores = b.add_values(scores, inputs[inputs.len() - 1])?;
    }
    if attributes.causal {
        let rows = positions(b, inputs[3], batch, tokens)?;
        let rows = b.reshape(rows, dims(&[batch, 1, tokens, 1]))?;
        let columns = range(b, keys)?;
        let columns = b.reshape(columns, dims(&[1, 1, 1, keys]))?;
        let hidden = b.compare(Compare::Greater, columns, rows)?;
        // A finite number: some back ends make NaN of an infinity.
        let never = b.number(-1e30)?;
        scores = b.op(Op::Where, &[hidden, never, scores])?;
    }
    let weights = b.softmax(scores, 3)?;
    let weights = b.reshape(weights, dims(&[batch, kv_heads, group * tokens, keys]))?;
    let out = b.matmul(weights, inputs[2])?;
    let out = b.reshape(out, dims(&[batch, heads, tokens, size]))?;
    b.transpose(out, &[0, 2, 1, 3])
}

/// `x · dequantized weightᵀ + bias`
fn block_matmul(
    b: &mut GraphBuilder,
    inputs: &[ValueId],
    bias: bool,
) -> Result<ValueId, GraphError> {
    let weight = to_f32(b, inputs[1])?;
    let weight = b.transpose(weight, &[1, 0])?;
    let x_shape = b.shape(inputs[0]).to_vec();
    let (k, rows) = x_shape.split_last().ok_or_else(|| arity("block_matmul"))?;
    let count: usize = rows.iter().filter_map(Dim::fixed).product();
    let x = b.reshape(inputs[0], vec![Dim::from(count), k.clone()])?;
    let mut out = b.matmul(x, weight)?;
    if bias {
        out = b.add_values(out, inputs[2])?;
    }
    let mut shape = rows.to_vec();
    shape.push(b.shape(out)[1].clone());
    b.reshape(out, shape)
}

/// Each row of the state takes the token that belongs there, or keeps what it has; rows beyond the
/// capacity do not exist and so take nothing.
fn kv_append(b: &mut GraphBuilder, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
    let [state, new, position] = *inputs else {
        return Err(arity("kv_append"));
    };
    let [batch, heads, capacity, size] = fixed4(b, state)?;
    let tokens = fixed(b, new, 1)?;
    // Which row of the state takes which token: column c of the state takes token c − position, if there is one.
    let columns = range(b, capacity)?;
    let columns = b.reshape(columns, dims(&[1, capacity]))?;
    let start = b.reshape(position, dims(&[batch, 1]))?;
    let token = b.binary(Binary::Sub, columns, start)?;
    let first = b.constant(Tensor::from_i32(&[], &[0])?);
    let end = b.constant(Tensor::from_i32(&[], &[tokens as i32])?);
    let after = b.compare(Compare::GreaterOrEqual, token, first)?;
    let before = b.compare(Compare::Lesser, token, end)?;
    let written = b.op(Op::Logical(super::op::Logical::And), &[after, before])?;
    let written = b.reshape(written, dims(&[batch, 1, capacity, 1]))?;
    if tokens == 1 {
        // The one token broadcasts to all columns.
        let spread = b.transpose(new, &[0, 2, 1, 3])?;
        return b.op(Op::Where, &[written, spread, state]);
    }
    // Rows of `new` flattened over batch and tokens, so that one gather serves all batch rows.
    let zero = b.constant(Tensor::from_i32(&[], &[0])?);
    let last = b.constant(Tensor::from_i32(&[], &[tokens as i32 - 1])?);
    let token = b.binary(Binary::Max, token, zero)?;
    let token = b.binary(Binary::Min, token, last)?;
    let offsets: Vec<i32> = (0..batch).map(|row| (row * tokens) as i32).collect();
    let offsets = b.constant(Tensor::from_i32(&[batch, 1], &offsets)?);
    let rows = b.add_values(token, offsets)?;
    let flat = b.reshape(new, dims(&[batch * tokens, heads, size]))?;
    let spread = b.gather(flat, rows, 0)?;
    let spread = b.transpose(spread, &[0, 2, 1, 3])?;
    b.op(Op::Where, &[written, spread, state])
}

fn unfuse(b: &mut GraphBuilder, inputs: &[ValueId], fused: &Fused) -> Result<ValueId, GraphError> {
    let mut made: Vec<ValueId> = Vec::new();
    for step in &fused.steps {
        let get = |b: &mut GraphBuilder, operand: Operand| match operand {
            Operand::Input(i) => Ok(inputs[i]),
            Operand::Step(i) => Ok(made[i]),
            Operand::Number(value) => b.number(value),
        };
        let new = match *step {
            Step::Unary(op, x) => {
                let x = get(b, x)?;
                b.unary(op, x)?
            }
            Step::Binary(op, x, y) => {
                let x = get(b, x)?;
                let y = get(b, y)?;
                b.binary(op, x, y)?
            }
            Step::Clamp(x, min, max) => {
                let x = get(b, x)?;
                b.op(Op::Clamp { min, max }, &[x])?
            }
        };
        made.push(new);
    }
    made.last()
        .copied()
        .ok_or_else(|| arity("fused_elementwise"))
}

/// `position[b] + t` as i32 `[batch, tokens]`
fn positions(
    b: &mut GraphBuilder,
    position: ValueId,
    batch: usize,
    tokens: usize,
) -> Result<ValueId, GraphError> {
    let start = b.reshape(position, dims(&[batch, 1]))?;
    let steps = range(b, tokens)?;
    let steps = b.reshape(steps, dims(&[1, tokens]))?;
    b.add_values(start, steps)
}

fn range(b: &mut GraphBuilder, count: usize) -> Result<ValueId, GraphError> {
    let values: Vec<i32> = (0..count as i32).collect();
    Ok(b.constant(Tensor::from_i32(&[count], &values)?))
}

fn to_f32(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, GraphError> {
    match b.element(x) {
        ElementType::Block(_) => b.op(Op::DequantizeBlocks, &[x]),
        _ => b.cast(x, DataType::F32),
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::from(n)).collect()
}

fn fixed(b: &GraphBuilder, x: ValueId, axis: usize) -> Result<usize, GraphError> {
    b.shape(x)
        .get(axis)
        .and_then(Dim::fixed)
        .ok_or_else(|| GraphError::NotSpecialized(format!("{:?}", b.shape(x))))
}

fn fixed4(b: &GraphBuilder, x: ValueId) -> Result<[usize; 4], GraphError> {
    Ok([
        fixed(b, x, 0)?,
        fixed(b, x, 1)?,
        fixed(b, x, 2)?,
        fixed(b, x, 3)?,
    ])
}

fn arity(op: &'static str) -> GraphError {
    GraphError::Operand {
        op,
        message: "wrong number of inputs".into(),
    }
}
