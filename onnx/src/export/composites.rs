//! Composites in ONNX's operators. What each computes is what `graph::decompose` says; here sizes may be known only when
//! the model runs.

use fewbit_engine::graph::op::{Attention, RotaryEmbedding};
use fewbit_engine::graph::{Dim, Node, ValueId};
use fewbit_engine::tensor::DataType;

use super::ExportError;
use super::operators::unsupported;
use super::writer::{Writer, int, ints};

/// Pairs `(a, c)` become `(a·cos − c·sin, c·cos + a·sin)`.
pub(super) fn rotary_embedding(
    writer: &mut Writer<'_>,
    node: &Node,
    attributes: RotaryEmbedding,
) -> Result<(), ExportError> {
    let [x, cos, sin, position] = node.inputs[..] else {
        return Err(unsupported(
            node,
            "with other inputs than x, cos, sin, position",
        ));
    };
    let shape = writer.graph.value(x).shape.clone();
    let table = &writer.graph.value(cos).shape;
    let ([batch, tokens, heads, size], [_, half]) = (&shape[..], &table[..]) else {
        return Err(unsupported(node, "of another rank"));
    };
    let (Some(size), Some(half)) = (size.fixed(), half.fixed()) else {
        return Err(unsupported(node, "with heads of a size that is no number"));
    };
    let rotated = 2 * half;
    let with_last = |last: usize| -> Vec<Dim> {
        vec![batch.clone(), tokens.clone(), heads.clone(), last.into()]
    };
    let name = writer.read(node.op.name(), x)?;
    let cos = rows(writer, node, cos, position, [batch, tokens])?;
    let sin = rows(writer, node, sin, position, [batch, tokens])?;
    let [first, second] = match attributes.interleaved {
        true => [(0, rotated, 2), (1, rotated, 2)],
        false => [(0, half, 1), (half, rotated, 1)],
    }
    .map(|(start, end, step)| (start as i64, end as i64, step));
    let first = along_last(writer, &name, first)?;
    let second = along_last(writer, &name, second)?;
    let mut combine = |p: &str, q: &str, op: &str| {
        let left = writer.inner("Mul", vec![p.to_owned(), cos.clone()], vec![]);
        let right = writer.inner("Mul", vec![q.to_owned(), sin.clone()], vec![]);
        writer.inner(op, vec![left, right], vec![])
    };
    let new_first = combine(&first, &second, "Sub");
    let new_second = combine(&second, &first, "Add");
    let mut parts = match attributes.interleaved {
        true => {
            let mut column = with_last(half);
            column.push(1.into());
            let first = writer.reshape(new_first, &with_last(half), &column)?;
            let second = writer.reshape(new_second, &with_last(half), &column)?;
            let pairs = writer.inner("Concat", vec![first, second], vec![int("axis", 4)]);
            let mut of_pairs = with_last(half);
            of_pairs.push(2.into());
            vec![writer.reshape(pairs, &of_pairs, &with_last(rotated))?]
        }
        false => vec![new_first, new_second],
    };
    if rotated < size {
        parts.push(along_last(writer, &name, (rotated as i64, size as i64, 1))?);
    }
    let axis = vec![int("axis", 3)];
    match parts.len() {
        1 => {
            writer.alias(node.outputs[0], parts.swap_remove(0));
            Ok(())
        }
        _ => writer.node("Concat", parts, axis, node.outputs[0]),
    }
}

/// A table's rows for the tokens of a run, `[batch, tokens, 1, columns]`.
fn rows(
    writer: &mut Writer<'_>,
    node: &Node,
    table: ValueId,
    position: ValueId,
    [batch, tokens]: [&Dim; 2],
) -> Result<String, ExportError> {
    let key = format!("rows {} {} {tokens}", table.0, position.0);
    if let Some(known) = writer.remembered(&key) {
        return Ok(known);
    }
    let columns = writer.graph.value(table).shape[1].clone();
    let at = positions(writer, node, position, [batch, tokens])?;
    let table = writer.read(node.op.name(), table)?;
    let rows = writer.inner("Gather", vec![table, at], vec![int("axis", 0)]);
    let from = [batch.clone(), tokens.clone(), columns.clone()];
    let to = [batch.clone(), tokens.clone(), 1.into(), columns];
    let rows = writer.reshape(rows, &from, &to)?;
    writer.remember(key, &rows);
    Ok(rows)
}

/// `softmax(scale · q·kᵀ + bias, hidden keys out) · v`
pub(super) fn attention(
    writer: &mut Writer<'_>,
    node: &Node,
    attributes: Attention,
) -> Result<(), ExportError> {
    let op = node.op.name();
    let shape = |writer: &Writer<'_>, at: usize| writer.graph.value(node.inputs[at]).shape.clone();
    let (queries, keys) = (shape(writer, 0), shape(writer, 1));
    let ([batch, tokens, heads, size], [_, kv_heads, keys, _]) = (&queries[..], &keys[..]) else {
        return Err(unsupported(node, "of another rank"));
    };
    let (Some(head_count), Some(kv_count)) = (heads.fixed(), kv_heads.fixed()) else {
        return Err(unsupported(node, "with heads whose number is a symbol"));
    };
    let group = head_count / kv_count.max(1);
    // A group's query heads stand together as more rows.
    let grouped_rows = tokens.clone() * group as i64;
    let by_head = |last: &Dim| [batch, heads, tokens, last].map(Clone::clone);
    let by_group = |last: &Dim| [batch, kv_heads, &grouped_rows, last].map(Clone::clone);

    let q = writer.read(op, node.inputs[0])?;
    let q = writer.inner("Transpose", vec![q], vec![ints("perm", [0, 2, 1, 3])]);
    let q = writer.reshape(q, &by_head(size), &by_group(size))?;
    let k = writer.read(op, node.inputs[1])?;
    let k = writer.inner("Transpose", vec![k], vec![ints("perm", [0, 1, 3, 2])]);
    let mut scores = writer.inner("MatMul", vec![q, k], vec![]);
    if attributes.scale != 1.0 {
        let scale = writer.number(attributes.scale)?;
        scores = writer.inner("Mul", vec![scores, scale], vec![]);
    }
    scores = writer.reshape(scores, &by_group(keys), &by_head(keys))?;
    if attributes.bias {
        let bias = writer.read(op, node.inputs[node.inputs.len() - 1])?;
        scores = writer.inner("Add", vec![scores, bias], vec![]);
    }
    if attributes.causal {
        let hidden = hidden(writer, node, node.inputs[3], [batch, tokens, keys])?;
        // A finite number: some back ends make NaN of an infinity.
        let never = writer.number(-1e30)?;
        scores = writer.inner("Where", vec![hidden, never, scores], vec![]);
    }
    let weights = writer.inner("Softmax", vec![scores], vec![int("axis", 3)]);
    let weights = writer.reshape(weights, &by_head(keys), &by_group(keys))?;
    let v = writer.read(op, node.inputs[2])?;
    let out = writer.inner("MatMul", vec![weights, v], vec![]);
    let out = writer.reshape(out, &by_group(size), &by_head(size))?;
    let back = vec![ints("perm", [0, 2, 1, 3])];
    writer.node("Transpose", vec![out], back, node.outputs[0])
}

/// Which keys each token does not see, `bool [batch, 1, tokens, keys]`.
fn hidden(
    writer: &mut Writer<'_>,
    node: &Node,
    position: ValueId,
    [batch, tokens, keys]: [&Dim; 3],
) -> Result<String, ExportError> {
    let key = format!("hidden {} {tokens} {keys}", position.0);
    if let Some(known) = writer.remembered(&key) {
        return Ok(known);
    }
    let one = Dim::from(1);
    let at = positions(writer, node, position, [batch, tokens])?;
    let from = [batch, tokens].map(Clone::clone);
    let to = [batch, &one, tokens, &one].map(Clone::clone);
    let at = writer.reshape(at, &from, &to)?;
    // [keys] against the last dimension.
    let columns = writer.range(&Dim::from(0), keys, DataType::I32)?;
    let hidden = writer.inner("Greater", vec![columns, at], vec![]);
    writer.remember(key, &hidden);
    Ok(hidden)
}

/// Where each token stands, i32 `[batch, tokens]`.
fn positions(
    writer: &mut Writer<'_>,
    node: &Node,
    position: ValueId,
    [batch, tokens]: [&Dim; 2],
) -> Result<String, ExportError> {
    let key = format!("positions {} {tokens}", position.0);
    if let Some(known) = writer.remembered(&key) {
        return Ok(known);
    }
    let start = writer.read(node.op.name(), position)?;
    let start = writer.reshape(
        start,
        std::slice::from_ref(batch),
        &[batch.clone(), 1.into()],
    )?;
    let steps = writer.range(&Dim::from(0), tokens, DataType::I32)?;
    let positions = writer.inner("Add", vec![start, steps], vec![]);
    writer.remember(key, &positions);
    Ok(positions)
}

/// `start..end` of the last of four dimensions.
fn along_last(
    writer: &mut Writer<'_>,
    name: &str,
    (start, end, step): (i64, i64, i64),
) -> Result<String, ExportError> {
    let mut inputs = vec![name.to_owned()];
    for number in [start, end, 3, step] {
        inputs.push(writer.longs(&[number])?);
    }
    Ok(writer.inner("Slice", inputs, vec![]))
}
