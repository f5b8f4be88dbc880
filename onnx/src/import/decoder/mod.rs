//! A decoder that takes its cache and gives it back (`past_key_values.N.key` in, `present.N.key` out, as Transformers.js has
//! them), as a graph whose cache is a state that is written in place.
//!
//! [`prepare`] changes the file's messages: the branch of a "merged" decoder, no outputs but the logits, nothing that they do
//! not need. [`Role`] says what becomes of the inputs; what operators make of a cache they say themselves
//! ([`Context::is_cache`]). [`rows`] makes the logits of the wanted positions alone.

mod branch;
mod causal;
mod file;
mod rows;
mod tables;
mod trim;

pub(super) use branch::choose as choose_branch;
pub(crate) use rows::{rows_first, wanted_rows};
pub(super) use trim::drop_unneeded;

use std::collections::BTreeMap;

use fewbit_engine::graph::{Dim, Graph, Op, Source};
use fewbit_engine::model::{CausalLm, MAX_CHUNK};
use fewbit_engine::tensor::{DataType, Tensor};

use super::Imported;
use super::context::{Context, Made, Value};
use super::error::{Refusal, unsupported};
use super::filling::Counts;
use super::sizes::dims;
use crate::proto::{Dimension, GraphProto, ValueInfoProto};

/// What a file does not tell of a decoder.
#[derive(Clone, Debug)]
pub struct DecoderOptions {
    /// The most tokens that a context may have; rotary tables of fewer positions make it less.
    pub context_length: usize,
    /// Tokens that end a text.
    pub eos_ids: Vec<u32>,
}

/// A decoder's graph, as [`ModelKind::CausalLm`](fewbit_engine::model::ModelKind::CausalLm) has it, and its weights.
#[derive(Debug)]
pub struct ImportedDecoder {
    pub imported: Imported,
    pub model: CausalLm,
}

/// What an input of the file is in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Ids,
    /// Which tokens count: all of them.
    Mask,
    Positions,
    /// A state by this name, and its heads and their size.
    Cache {
        state: String,
        heads: usize,
        size: usize,
    },
    /// Of how many positions logits are wanted: 0, all of them.
    Kept,
}

/// What becomes of the inputs, by name.
pub(super) struct Roles {
    pub(super) of: BTreeMap<String, Role>,
    /// Whether more than operators that know of a cache in place may go by its length.
    strict: bool,
}

/// The logits' name in the files and in the graph.
const LOGITS: &str = "logits";

/// The file's messages as they are imported, and what becomes of the inputs.
///
/// # Errors
/// What is no decoder, in words.
pub(super) fn prepare(mut graph: GraphProto) -> Result<(GraphProto, Roles), String> {
    choose_branch(&mut graph, branch::WITH_CACHE)?;
    let mut roles = BTreeMap::new();
    for input in &graph.input {
        let name = input.name.clone().unwrap_or_default();
        let initial = |proto: &crate::proto::TensorProto| proto.name.as_deref() == Some(&name);
        if graph.initializer.iter().any(initial) {
            continue;
        }
        let role = role(&name, input)?;
        roles.insert(name, role);
    }
    if !roles
        .values()
        .any(|role| matches!(role, Role::Cache { .. }))
    {
        return Err("no decoder with a cache: no input past_key_values.N.key".to_owned());
    }
    let before = graph.output.len();
    graph
        .output
        .retain(|output| output.name.as_deref() == Some(LOGITS));
    if graph.output.len() != 1 || before == 1 {
        return Err("no decoder with a cache: outputs logits and present.N.key".to_owned());
    }
    trim::trim(&mut graph, &roles);
    let strict = trim::reads_lengths(&graph, &roles);
    Ok((graph, Roles { of: roles, strict }))
}

/// What whoever runs the decoder must know of it; `positions` is how many its rotary tables have.
pub(super) fn model(
    graph: &Graph,
    roles: &Roles,
    options: &DecoderOptions,
    positions: Option<usize>,
) -> Result<CausalLm, String> {
    let shape = &graph.value(graph.outputs[0].1).shape;
    let vocabulary = shape.last().and_then(Dim::fixed);
    let Some(vocabulary) = vocabulary.filter(|_| shape.len() == 2) else {
        return Err(format!("logits of shape {shape:?}"));
    };
    // A cache that is read but not written would keep nothing.
    let mut written = std::collections::BTreeSet::new();
    for node in graph.nodes.iter().filter(|node| node.op == Op::KvAppend) {
        if let Source::State(name) = &graph.value(node.inputs[0]).source {
            written.insert(name.clone());
        }
    }
    let mut layers = 0;
    for (name, role) in &roles.of {
        let Role::Cache { state, .. } = role else {
            continue;
        };
        layers += 1;
        if !written.contains(state) {
            return Err(format!("the cache {name}, to which nothing is joined"));
        }
    }
    // The last run of a prefill may reach beyond the context, and needs positions too.
    let most = positions.map_or(usize::MAX, |most| most.saturating_sub(MAX_CHUNK));
    let context_length = options.context_length.min(most);
    if context_length == 0 {
        return Err("rotary tables of no more positions than one run takes".to_owned());
    }
    Ok(CausalLm {
        vocabulary,
        context_length,
        layers: layers / 2,
        eos_ids: options.eos_ids.clone(),
    })
}

fn role(name: &str, info: &ValueInfoProto) -> Result<Role, String> {
    if let Some(rest) = name.strip_prefix("past_key_values.") {
        let (layer, kind) = rest.split_once('.').unwrap_or((rest, ""));
        let short = match kind {
            "key" => "k",
            "value" => "v",
            _ => {
                return Err(format!(
                    "the cache {name}, of a decoder that reads an encoder"
                ));
            }
        };
        if layer.parse::<u32>().is_err() {
            return Err(format!("the cache {name}"));
        }
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let shape = tensor.and_then(|t| t.shape.as_ref());
        let size = |dim: &Dimension| usize::try_from(dim.dim_value?).ok();
        let dims = shape.map(|shape| shape.dim.as_slice());
        return match dims {
            Some([_, heads, _, each]) => match (size(heads), size(each)) {
                (Some(heads), Some(size)) if heads > 0 && size > 0 => Ok(Role::Cache {
                    state: format!("{short}.{layer}"),
                    heads,
                    size,
                }),
                _ => Err(format!("the cache {name} without the sizes of its heads")),
            },
            _ => Err(format!("the cache {name}, not of four dimensions")),
        };
    }
    match name {
        "input_ids" => Ok(Role::Ids),
        "attention_mask" => Ok(Role::Mask),
        "position_ids" => Ok(Role::Positions),
        "num_logits_to_keep" => Ok(Role::Kept),
        _ => Err(format!("a decoder with an input {name}")),
    }
}

/// The inputs that a decoder's graph has, whatever the file calls its own.
#[derive(Clone, Copy)]
pub(super) struct Inputs {
    ids: Value,
}

fn batch() -> Dim {
    Dim::symbol("batch")
}

fn tokens() -> Dim {
    Dim::symbol("tokens")
}

impl Inputs {
    pub(super) fn new(cx: &mut Context) -> Result<Inputs, Refusal> {
        let mut input = |name: &str, shape| -> Made {
            let data_type = DataType::I32;
            let id = cx.builder.input(name, data_type, shape)?;
            Ok(Value { id, data_type })
        };
        let ids = input("input_ids", vec![batch(), tokens()])?;
        let position = input("position", vec![batch()])?;
        let rows = input("rows", vec![Dim::symbol("rows")])?;
        cx.position = Some(position);
        cx.counts = vec![Counts::by_rows(rows.id)];
        Ok(Inputs { ids })
    }

    /// What stands for an input of the file that has this type.
    pub(super) fn of(&self, cx: &mut Context, role: &Role, data_type: DataType) -> Made {
        match role {
            Role::Ids => cx.cast(self.ids, data_type),
            Role::Mask => {
                let one = cx.number(1.0, data_type)?;
                let one = cx.reshape(one, &[1, 1])?;
                cx.expand_to(one, vec![batch(), Dim::symbol("capacity")])
            }
            Role::Kept => cx.number(0.0, data_type),
            Role::Positions => {
                let Some(position) = cx.position else {
                    return unsupported("positions outside of a decoder");
                };
                let start = cx.reshape_to(position, vec![batch(), Dim::from(1)])?;
                let token = cx.count(&tokens(), 1, 2)?;
                let places = cx.add(start, token)?;
                let places = cx.cast(places, data_type)?;
                cx.counted.insert(places.id);
                Ok(places)
            }
            Role::Cache { state, heads, size } => {
                let mut shape = dims(&[0, *heads, 0, *size]);
                shape[0] = batch();
                shape[2] = Dim::symbol("capacity");
                let id = cx.builder.state(state, DataType::F32, shape)?;
                cx.caches.insert(id);
                // Whatever the file keeps in its cache.
                let data_type = DataType::F32;
                Ok(Value { id, data_type })
            }
        }
    }
}

impl Context {
    /// A cache with new keys or values `[batch, heads, tokens, size]` after what is in it, in place.
    pub(crate) fn appended(&mut self, cache: Value, new: Value) -> Made {
        let Some(position) = self.position else {
            return unsupported("a cache outside of a decoder");
        };
        let turned = self.transpose(new, &[0, 2, 1, 3])?;
        self.written(cache, turned, position)
    }

    /// The same with keys or values `[batch, tokens, heads, size]`; a cache is in f32.
    pub(crate) fn written(&mut self, cache: Value, new: Value, position: Value) -> Made {
        let wide = self.cast(new, DataType::F32)?;
        let whole = self.op(Op::KvAppend, &[cache, wide, position], DataType::F32)?;
        self.cast(whole, new.data_type)
    }

    /// `0, 1, …` in i32 along `axis` of `rank` dimensions, the others being 1.
    pub(crate) fn count(&mut self, size: &Dim, axis: usize, rank: usize) -> Made {
        let mut shape = vec![Dim::from(1); rank];
        shape[axis] = size.clone();
        if let Some(size) = size.fixed()
            && size <= 1 << 16
        {
            let values: Vec<i32> = (0..size as i32).collect();
            let row = self.constant(Tensor::from_i32(&[size], &values)?)?;
            return self.reshape_to(row, shape);
        }
        let ones = self.constant(Tensor::from_i32(&[1], &[1])?)?;
        let ones = self.reshape_to(ones, vec![Dim::from(1); rank])?;
        let ones = self.expand_to(ones, shape)?;
        let sum = fewbit_engine::graph::op::CumulativeSum {
            axis,
            exclusive: true,
            reversed: false,
        };
        self.op(Op::CumulativeSum(sum), &[ones], DataType::I32)
    }
}
