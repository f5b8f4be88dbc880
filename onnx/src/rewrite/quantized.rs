//! Products with a stored matrix of bytes that is dequantized first, products of integers with one, and rows of one: with a
//! weight in blocks of 8 bits, which is never decoded as a whole.

use std::collections::BTreeMap;

use fewbit_engine::graph::op::{Binary, Pad, PadMode};
use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{Dim, Graph, GraphError, Node, Op, Source, ValueId, fixed_shape};
use fewbit_engine::tensor::DataType;

use super::pattern::View;
use crate::import::bytes::{ByteMatrix, Factors};
use crate::import::identity;
use crate::import::model::Stored;

/// A stored matrix whose bytes are `scale · (code − zero)`.
struct Quantized {
    codes: ValueId,
    /// `None` for 1 and for 0.
    scale: Option<ValueId>,
    zero: Option<ValueId>,
}

/// What of a graph is replaced by what.
struct Found {
    x: ValueId,
    matrix: Quantized,
    /// The product is with `[k, n]`, not with the transposed `[n, k]`.
    turned: bool,
    /// In what steps activations are rounded the file has said itself.
    exact: bool,
}

/// The graph with such products replaced, and the weights that they name among the `stored`.
///
/// # Errors
/// What a builder says of a graph that contradicts itself.
pub(crate) fn rewrite_quantized(
    graph: &Graph,
    stored: &mut BTreeMap<String, Stored>,
) -> Result<Graph, GraphError> {
    let view = View::new(graph);
    let mut rewriter = Rewriter::new(graph)?;
    let mut found = false;
    for node in &graph.nodes {
        let made = match &node.op {
            Op::Matmul | Op::Cast { to: DataType::F32 } => {
                product(&view, node, &mut rewriter, stored)?
            }
            Op::Gather {
                axis: 0,
                decode: false,
            } => rows(&view, node, &mut rewriter, stored)?,
            _ => None,
        };
        match made {
            Some(made) => {
                rewriter.replace(node.outputs[0], made);
                found = true;
            }
            None => rewriter.copy(node)?,
        }
    }
    match found {
        true => Ok(prune(&rewriter.finish()?)),
        false => Ok(graph.clone()),
    }
}

fn product(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
    stored: &mut BTreeMap<String, Stored>,
) -> Result<Option<ValueId>, GraphError> {
    let floats = match node.op {
        Op::Matmul => of_floats(view, node),
        _ => of_integers(view, node),
    };
    let Some(found) = floats else {
        return Ok(None);
    };
    let Some((weight, k)) = weight(view, &found.matrix, found.turned, rewriter, stored)? else {
        return Ok(None);
    };
    let x = rewriter.get(found.x)?;
    let builder = rewriter.builder();
    let x = builder.cast(x, DataType::F32)?;
    let columns = builder.shape(weight)[1].fixed().unwrap_or(k);
    let x = filled(rewriter, x, columns - k)?;
    let op = Op::BlockMatmul {
        bias: false,
        exact: found.exact,
    };
    Ok(Some(rewriter.builder().op(op, &[x, weight])?))
}

/// `x` with so many zeros after its last axis.
fn filled(rewriter: &mut Rewriter<'_>, x: ValueId, count: usize) -> Result<ValueId, GraphError> {
    if count == 0 {
        return Ok(x);
    }
    let rank = rewriter.builder().shape(x).len();
    let mut after = vec![0; rank];
    after[rank - 1] = count;
    let pad = Pad {
        before: vec![0; rank],
        after,
        mode: PadMode::Constant(0.0),
    };
    rewriter.builder().op(Op::Pad(pad), &[x])
}

/// `x · dequantized`, the matrix perhaps transposed in between.
fn of_floats(view: &View<'_>, node: &Node) -> Option<Found> {
    let &[x, matrix] = node.inputs.as_slice() else {
        return None;
    };
    if !view.is_f32(x) || view.shape(x).is_empty() {
        return None;
    }
    let (inner, turned) = match view.transposed(matrix, &[1, 0]) {
        Some(inner) => (inner, false),
        None => (matrix, true),
    };
    let matrix = dequantized(view, inner)?;
    Some(Found {
        x,
        matrix,
        turned,
        exact: is_quantized(view, x),
    })
}

/// Whether a value is of bytes that a file has quantized it to: `(bytes − zero) · scale`.
fn is_quantized(view: &View<'_>, id: ValueId) -> bool {
    let cast = |id: ValueId| {
        let node = view.node(id)?;
        matches!(node.op, Op::Cast { .. }).then(|| node.inputs[0])
    };
    let is_byte = |id: ValueId| {
        let element = view.element(id);
        element == DataType::I8.into() || element == DataType::U8.into()
    };
    view.either(id, Binary::Mul).into_iter().any(|[own, _]| {
        let Some(whole) = cast(own) else {
            return false;
        };
        let whole = match view.binary(whole, Binary::Sub) {
            Some([codes, _]) => codes,
            None => whole,
        };
        is_byte(whole) || cast(whole).is_some_and(is_byte)
    })
}

/// The product of integers that is made f32, of which one operand is stored bytes less their zero point.
fn of_integers(view: &View<'_>, node: &Node) -> Option<Found> {
    let product = view.node(node.inputs[0])?;
    let &[x, matrix] = product.inputs.as_slice() else {
        return None;
    };
    let integers = product.op == Op::Matmul && view.element(x) == DataType::I32.into();
    if !integers || view.uses(node.inputs[0]) != 1 {
        return None;
    }
    let (codes, zero) = whole(view, matrix)?;
    let matrix = Quantized {
        codes,
        scale: None,
        zero,
    };
    Some(Found {
        x,
        matrix,
        turned: true,
        exact: true,
    })
}

/// Of `codes − zero` in i32, or of codes alone, what they are.
fn whole(view: &View<'_>, id: ValueId) -> Option<(ValueId, Option<ValueId>)> {
    let codes = |id: ValueId| {
        let node = view.node(id)?;
        let inner = matches!(node.op, Op::Cast { .. }).then(|| node.inputs[0])?;
        is_codes(view, inner).then_some(inner)
    };
    if let Some([own, zero]) = view.binary(id, Binary::Sub) {
        return Some((codes(own)?, Some(zero)));
    }
    Some((codes(id)?, None))
}

fn is_codes(view: &View<'_>, id: ValueId) -> bool {
    let element = view.element(id);
    let bytes = element == DataType::I8.into() || element == DataType::U8.into();
    bytes && matches!(view.source(id), Source::Weight(_)) && view.shape(id).len() == 2
}

/// Of `(codes − zero) · scale` in f32, what they are.
fn dequantized(view: &View<'_>, id: ValueId) -> Option<Quantized> {
    if !view.is_f32(id) {
        return None;
    }
    let products = view.either(id, Binary::Mul);
    products.into_iter().find_map(|[own, scale]| {
        let node = view.node(own)?;
        let inner = match node.op {
            Op::Cast { to: DataType::F32 } => node.inputs[0],
            _ => return None,
        };
        let (codes, zero) = match is_codes(view, inner) {
            true => (inner, None),
            false => whole(view, inner)?,
        };
        Some(Quantized {
            codes,
            scale: Some(scale),
            zero,
        })
    })
}

/// The matrix as a weight in blocks, and how many columns are its own; `None` where its factors are not for each row.
fn weight(
    view: &View<'_>,
    matrix: &Quantized,
    turned: bool,
    rewriter: &mut Rewriter<'_>,
    stored: &mut BTreeMap<String, Stored>,
) -> Result<Option<(ValueId, usize)>, GraphError> {
    let Source::Weight(codes) = view.source(matrix.codes) else {
        return Ok(None);
    };
    let shape = fixed_shape(view.shape(matrix.codes));
    let (Some(&[first, second]), Some(own)) = (shape.as_deref(), stored.get(codes)) else {
        return Ok(None);
    };
    let (rows, k) = match turned {
        true => (second, first),
        false => (first, second),
    };
    let axis = usize::from(turned);
    let (scale, zero) = (
        factors(view, matrix.scale, 1.0, axis, stored),
        factors(view, matrix.zero, 0.0, axis, stored),
    );
    let (Some(scale), Some(zero)) = (scale, zero) else {
        return Ok(None);
    };
    if rows == 0 || k == 0 {
        return Ok(None);
    }
    let made = ByteMatrix {
        codes: own.clone(),
        turned,
        rows,
        k,
        scale,
        zero,
        signed: view.element(matrix.codes) == DataType::I8.into(),
    };
    let part = |id: Option<ValueId>| id.map_or(String::new(), |id| called(view, id));
    let name = format!(
        "bytes:{codes}:{}:{}:{turned}",
        part(matrix.scale),
        part(matrix.zero)
    );
    let Some(made) = made.weight(&name) else {
        return Ok(None);
    };
    let id = rewriter
        .builder()
        .weight(&name, made.element, &made.shape)?;
    stored.insert(name, made);
    Ok(Some((id, k)))
}

/// Factors that are one number, or one for each place of `axis` of a matrix.
fn factors(
    view: &View<'_>,
    id: Option<ValueId>,
    without: f32,
    axis: usize,
    stored: &BTreeMap<String, Stored>,
) -> Option<Factors> {
    let Some(id) = id else {
        return Some(Factors::One(without));
    };
    if let Some(number) = view.number(id) {
        return Some(Factors::One(number as f32));
    }
    let one = Dim::from(1);
    let fits = match view.shape(id) {
        [_] => axis == 1,
        [first, second] => [first, second][1 - axis] == &one,
        _ => false,
    };
    if !fits {
        return None;
    }
    let own = unshaped(view, id);
    match view.source(own) {
        Source::Weight(name) => stored.get(name).cloned().map(Factors::Each),
        Source::Constant(tensor) => Some(Factors::Each(Stored::in_memory(tensor.clone()))),
        _ => None,
    }
}

/// What a value is but for its shape: reshaping moves no element.
fn unshaped(view: &View<'_>, id: ValueId) -> ValueId {
    let mut own = id;
    while let Some(node) = view.node(own)
        && matches!(node.op, Op::Reshape { .. })
    {
        own = node.inputs[0];
    }
    own
}

/// A factor by what is stored of it.
fn called(view: &View<'_>, id: ValueId) -> String {
    match view.source(unshaped(view, id)) {
        Source::Weight(name) => name.clone(),
        Source::Constant(tensor) => identity::of_constant(tensor),
        _ => String::new(),
    }
}

/// Rows of a dequantized table.
fn rows(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
    stored: &mut BTreeMap<String, Stored>,
) -> Result<Option<ValueId>, GraphError> {
    let Some(matrix) = dequantized(view, node.inputs[0]) else {
        return Ok(None);
    };
    let Some((table, k)) = weight(view, &matrix, false, rewriter, stored)? else {
        return Ok(None);
    };
    let indices = rewriter.get(node.inputs[1])?;
    let builder = rewriter.builder();
    let y = builder.embedding(table, indices)?;
    let (last, columns) = (builder.shape(y).len() - 1, builder.shape(table)[1].clone());
    if columns == Dim::from(k) {
        return Ok(Some(y));
    }
    let y = builder.slice_axis(y, last, Dim::from(0), Dim::from(k))?;
    Ok(Some(y))
}
