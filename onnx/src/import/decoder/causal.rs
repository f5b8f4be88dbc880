//! Attention over a cache in place. A file's own mask tells which tokens are before which by the length of the cache, which in
//! place is its capacity; the position tells it instead, where the mask tells nothing else.

use std::collections::BTreeMap;
use std::rc::Rc;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::graph::op::{Attention, Binary, Compare, Slice};
use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{
    Bindings, Dim, Graph, GraphBuilder, GraphError, Node, NodeId, Op, Source, Value, ValueId,
};
use fewbit_engine::tensor::Tensor;

use crate::counting::{counted, integers};

/// Tokens of a run, and tokens with those before them.
const PROBES: [[usize; 2]; 5] = [[1, 1], [1, 6], [3, 3], [3, 7], [4, 9]];

/// So many tokens tell of a window.
const FAR: usize = 1 << 17;

/// What a mask is computed by takes at most so many bytes.
const MOST_BYTES: usize = 16 << 20;

/// What a mask adds to scores that do not count is below this.
const HIDDEN: f64 = -1e4;

/// Why attention over a cache does not go by the position.
pub(super) enum Refused {
    Told(String),
    /// A mask is cut out of this weight, whose numbers are not known yet.
    Weight(String),
}

impl From<String> for Refused {
    fn from(told: String) -> Refused {
        Refused::Told(told)
    }
}

/// The graph whose attention over caches goes by the position. Masks may be cut out of `weights`.
///
/// # Errors
/// A mask that tells more than the order of the tokens, or a number that is computed from a cache's length.
pub(super) fn by_position(
    graph: &Graph,
    weights: &BTreeMap<String, Rc<Tensor>>,
) -> Result<Graph, Refused> {
    let told = |e: GraphError| e.to_string();
    let mut rewriter = Rewriter::new(graph).map_err(told)?;
    let mut known: BTreeMap<ValueId, Option<Order>> = BTreeMap::new();
    let mut windows = BTreeMap::new();
    for node in &graph.nodes {
        let (Some(position), Op::Attention(attention)) = (position(graph, node), &node.op) else {
            rewriter.copy(node).map_err(told)?;
            continue;
        };
        let mut inputs = rewriter.get_all(&node.inputs[..3]).map_err(told)?;
        let position = rewriter.get(position).map_err(told)?;
        inputs.push(position);
        let mut order = Order::default();
        if attention.bias {
            let bias = node.inputs[3];
            let found = match known.get(&bias) {
                Some(&found) => found,
                None => {
                    if let Some(name) = unknown_weight(graph, bias, weights) {
                        return Err(Refused::Weight(name));
                    }
                    order_of(graph, bias, weights).map_err(|e| format!("a mask: {e}"))?
                }
            };
            known.insert(bias, found);
            order = found.ok_or_else(|| {
                Refused::Told("a mask that tells more than the order of the tokens".to_owned())
            })?;
        }
        if let Some(window) = order.window {
            let key = (position, window);
            let bias = match windows.get(&key) {
                Some(&bias) => bias,
                None => outside(rewriter.builder(), position, window).map_err(told)?,
            };
            windows.insert(key, bias);
            inputs.push(bias);
        }
        let causal = Op::Attention(Attention {
            scale: attention.scale,
            causal: true,
            bias: order.window.is_some(),
        });
        let y = rewriter.builder().op(causal, &inputs).map_err(told)?;
        rewriter.replace(node.outputs[0], y);
    }
    Ok(prune(&rewriter.finish().map_err(told)?))
}

/// Which tokens a mask lets each one see: itself and those before it, of these the last `window` with itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Order {
    window: Option<usize>,
}

/// A bias `[batch, 1, tokens, capacity]` that hides all but the last `window` keys up to each token's own.
fn outside(b: &mut GraphBuilder, position: ValueId, window: usize) -> Result<ValueId, GraphError> {
    let one = || Dim::from(1);
    let [batch, tokens, keys] = ["batch", "tokens", "capacity"].map(Dim::symbol);
    let start = b.reshape(position, vec![batch, one(), one(), one()])?;
    let token = counted(b, tokens.clone())?;
    let token = b.reshape(token, vec![one(), one(), tokens, one()])?;
    let token = b.add_values(start, token)?;
    let window = integers(b, &[1], &[i32::try_from(window).unwrap_or(i32::MAX)])?;
    let last_hidden = b.op(Op::Binary(Binary::Sub), &[token, window])?;
    let key = counted(b, keys.clone())?;
    let key = b.reshape(key, vec![one(), one(), one(), keys])?;
    let hidden = b.compare(Compare::LesserOrEqual, key, last_hidden)?;
    let (never, always) = (b.number(f32::MIN)?, b.number(0.0)?);
    b.op(Op::Where, &[hidden, never, always])
}

/// The position of the cache that an attention reads without going by it.
fn position(graph: &Graph, node: &Node) -> Option<ValueId> {
    let Op::Attention(Attention { causal: false, .. }) = node.op else {
        return None;
    };
    let cache = graph.node(graph.producer(node.inputs[1])?);
    (cache.op == Op::KvAppend).then(|| cache.inputs[2])
}

/// What order a bias tells, if it tells nothing else: as it is computed for some sizes. A decoder that was exported for one
/// token at a time has no mask for more of them, and is asked for one token alone.
fn order_of(
    graph: &Graph,
    bias: ValueId,
    weights: &BTreeMap<String, Rc<Tensor>>,
) -> Result<Option<Order>, GraphError> {
    let Some(alone) = alone(graph, bias).filter(|alone| has_no_more(alone, weights)) else {
        return Ok(None);
    };
    let mut order = Order::default();
    let mut probes = PROBES.to_vec();
    // A table of what each token sees ends somewhere.
    let mut far = FAR;
    while far > PROBES[4][1] {
        if let Ok(Some(values)) = computed(&alone, [1, far], weights) {
            let seen = values.iter().rev().take_while(|&&value| value == 0.0);
            order.window = Some(seen.count()).filter(|&seen| seen < far);
            break;
        }
        far /= 2;
    }
    if let Some(window) = order.window {
        let beyond = window.saturating_add(4);
        probes.push([1, far]);
        probes.extend((beyond <= far).then_some([3, beyond]));
    }
    for [tokens, all] in probes {
        let Some(values) = computed(&alone, [tokens, all], weights)? else {
            return Ok(None);
        };
        let none = values.iter().all(|&value| value == 0.0);
        let told = values.iter().enumerate().all(|(at, &value)| {
            let (token, key) = (at / all % tokens, at % all);
            let own = all - tokens + token;
            let near = order.window.is_none_or(|window| key + window > own);
            match key <= own && near {
                true => value == 0.0,
                false => value <= HIDDEN,
            }
        });
        if !told && (!none || order.window.is_some()) {
            return Ok(None);
        }
    }
    Ok(Some(order))
}

/// The bias of one row and head, `[tokens, all]`; `None` if it is of no such shape or not computed of sizes and positions.
fn computed(
    alone: &Graph,
    [tokens, all]: [usize; 2],
    weights: &BTreeMap<String, Rc<Tensor>>,
) -> Result<Option<Vec<f64>>, GraphError> {
    let sizes = [
        ("batch", 1),
        ("tokens", tokens),
        ("capacity", all),
        ("positions", tokens),
    ];
    let symbols = alone.symbols();
    let sizes = sizes
        .into_iter()
        .map(|(name, size)| (name.to_owned(), size));
    let sizes: Bindings = sizes.filter(|(name, _)| symbols.contains(name)).collect();
    let fixed = alone.specialize(&sizes)?;
    let bytes = fixed.nodes.iter().map(|node| {
        let value = fixed.value(node.outputs[0]);
        let shape = value.fixed_shape().ok()?;
        value.element.byte_len(&shape)
    });
    let sum = bytes
        .into_iter()
        .try_fold(0usize, |sum, bytes| sum.checked_add(bytes?));
    if sum.is_none_or(|sum| sum > MOST_BYTES) {
        return Ok(None);
    }
    let ids = Tensor::from_i32(&[1, tokens], &vec![0; tokens])?;
    let position = Tensor::from_i32(&[1], &[(all - tokens) as i32])?;
    let mut given = BTreeMap::new();
    for (_, name, _) in alone.weights() {
        given.extend(
            weights
                .get(name)
                .map(|t| (name.to_owned(), View::from(t.as_ref()))),
        );
    }
    given.insert("input_ids".to_owned(), View::from(&ids));
    given.insert("position".to_owned(), View::from(&position));
    let Ok(made) = evaluate_graph(&fixed, &given) else {
        return Ok(None);
    };
    let Some(bias) = made.outputs.get("bias") else {
        return Ok(None);
    };
    let values = bias.to_f64_vec();
    // One row for all tokens where there is one token, one for all heads.
    let fits = match bias.shape() {
        [1, 1, rows, keys] => [*rows, *keys] == [tokens, all],
        _ => false,
    };
    Ok(fits.then_some(values))
}

/// A weight that a mask is cut out of and whose numbers are not in `weights`: small enough for a table of what each token sees.
fn unknown_weight(
    graph: &Graph,
    bias: ValueId,
    weights: &BTreeMap<String, Rc<Tensor>>,
) -> Option<String> {
    let alone = alone(graph, bias)?;
    let unknown = |name: &str, value: &Value| {
        let bytes = value.element.byte_len(&value.fixed_shape().ok()?)?;
        let is_table = value.element.plain().is_some() && bytes <= MOST_BYTES;
        (is_table && !weights.contains_key(name)).then(|| name.to_owned())
    };
    let mut all = alone.weights();
    all.find_map(|(_, name, value)| unknown(name, value))
}

/// Whether no weight but the known ones is in a graph.
fn has_no_more(graph: &Graph, weights: &BTreeMap<String, Rc<Tensor>>) -> bool {
    let mut all = graph.weights();
    all.all(|(_, name, value)| {
        let known = weights.get(name);
        known.is_some_and(|known| value.element == known.data_type().into())
    })
}

/// What makes a value, as a graph whose output `bias` it is; `None` if caches do.
fn alone(graph: &Graph, root: ValueId) -> Option<Graph> {
    let mut needed = vec![false; graph.values.len()];
    needed[root.index()] = true;
    let mut out = Graph::default();
    for node in graph.nodes.iter().rev() {
        if needed[node.outputs[0].index()] {
            node.inputs.iter().for_each(|id| needed[id.index()] = true);
            out.nodes.push(node.clone());
        }
    }
    out.nodes.reverse();
    out.values = graph.values.clone();
    for (number, node) in out.nodes.iter().enumerate() {
        out.values[node.outputs[0].index()].source = Source::Node(NodeId(number as u32), 0);
    }
    let cache =
        |(at, value): (usize, &Value)| needed[at] && matches!(value.source, Source::State(_));
    if graph.values.iter().enumerate().any(cache) {
        return None;
    }
    out.outputs = vec![("bias".to_owned(), root)];
    out.inputs = graph.inputs.clone();
    Some(prune(&out))
}

/// That nothing but caches and attention over them goes by the capacity: what else does would take it for the number of tokens.
/// Masks may have an axis of it, whose elements are computed each by its place.
///
/// # Errors
/// In words, the operator that does.
pub(super) fn check(graph: &Graph) -> Result<(), String> {
    let of_capacity = |dims: &[Dim]| {
        let mut symbols = dims.iter().flat_map(Dim::symbols);
        symbols.any(|symbol| symbol == "capacity")
    };
    let whole = Dim::symbol("capacity");
    for node in &graph.nodes {
        let inputs: &[ValueId] = match &node.op {
            Op::KvAppend => continue,
            // Keys and values are a cache's, and biases are masks.
            Op::Attention(attention) if attention.causal => &node.inputs[..1],
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(_)
            | Op::Clamp { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::Expand { .. }
                if is_by_place(graph, node, &whole) =>
            {
                continue;
            }
            Op::Reshape { shape } if keeps_last(graph, node, shape, &whole) => continue,
            Op::CumulativeSum(sum) if !sum.reversed && is_by_place(graph, node, &whole) => continue,
            Op::Slice(Slice { starts, sizes, .. }) if of_capacity(starts) || of_capacity(sizes) => {
                return Err(named(node));
            }
            _ => &node.inputs,
        };
        let mut all = inputs.iter().chain(&node.outputs);
        if all.any(|id| of_capacity(&graph.value(*id).shape)) {
            return Err(named(node));
        }
    }
    Ok(())
}

/// Whether the capacity is nothing but an axis of what a node takes and makes.
fn is_by_place(graph: &Graph, node: &Node, whole: &Dim) -> bool {
    let mut all = node.inputs.iter().chain(&node.outputs);
    all.all(|&id| {
        let mut dims = graph.value(id).shape.iter();
        dims.all(|dim| dim == whole || dim.symbols().all(|symbol| symbol != "capacity"))
    })
}

/// Whether a reshape moves no element of an axis of the capacity, as it only puts axes of 1 around it.
fn keeps_last(graph: &Graph, node: &Node, to: &[Dim], whole: &Dim) -> bool {
    let rest = |shape: &[Dim]| -> Vec<Dim> {
        let dims = shape.iter().filter(|dim| !dim.is_one());
        dims.cloned().collect()
    };
    is_by_place(graph, node, whole) && rest(&graph.value(node.inputs[0]).shape) == rest(to)
}

fn named(node: &Node) -> String {
    format!(
        "{} over a cache, whose length in place is its capacity",
        node.op.name()
    )
}
