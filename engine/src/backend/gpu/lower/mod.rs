//! From a static graph to a list of dispatches over buffers.
//!
//! Each node becomes one dispatch or a few; a reshape none. Values live in *slots*, buffers that are
//! reused as soon as nothing needs what they hold. A slot is a buffer of its own, not a range of one
//! arena, since WebGPU tracks use by whole buffers: one may not be read and written in one dispatch.

mod composite;
mod elementwise;
mod linear;
mod movement;
mod parts;
mod reduction;
mod scatter;
mod slots;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use fewbit_shaders::{InputType, Kernel};

pub(crate) use self::parts::Part;
use self::slots::Slots;
use super::device::Opened;
use super::element::device_type;
use super::weights::{Layout, State, Weight};
use crate::backend::numbered::Numbered;
use crate::backend::{BackendError, StateId, WeightId};
use crate::graph::op::{Binary, Extension};
use crate::graph::{Graph, Node, Op, Source, ValueId};
use crate::tensor::{ElementType, Tensor};

/// Where a dispatch's operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A buffer of the plan that values share over time.
    Slot(usize),
    /// A buffer of the plan for an input or a constant.
    Own(usize),
    /// A part of a weight.
    Weight(WeightId, usize),
    State(StateId),
}

/// How many workgroups a dispatch has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// As many as these invocations fill.
    Invocations(usize),
    Groups(usize),
}

/// One dispatch: a kernel, its parameters (binding 0) and what it binds by number.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) kernel: Kernel,
    pub(crate) params: Vec<u32>,
    pub(crate) bound: Vec<(u32, Place)>,
    pub(crate) work: Work,
    pub(crate) part: Option<Part>,
}

/// What the plan puts into one of its own buffers.
#[derive(Debug)]
pub(crate) enum Content {
    /// An input, written anew for each run.
    Input {
        name: String,
        element: ElementType,
        shape: Vec<usize>,
    },
    Constant(Rc<Tensor>),
}

/// An output: its name, type, shape and place.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
}

/// A lowered graph.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) dispatches: Vec<Dispatch>,
    /// Bytes of each slot.
    pub(crate) slots: Vec<u64>,
    pub(crate) own: Vec<Content>,
    pub(crate) outputs: Vec<Output>,
}

/// The weights and states a graph names.
pub(crate) struct Held<'a> {
    pub(crate) weights: &'a Numbered<Weight>,
    pub(crate) states: &'a Numbered<State>,
    pub(crate) weight_names: &'a BTreeMap<String, WeightId>,
    pub(crate) state_names: &'a BTreeMap<String, StateId>,
}

impl Held<'_> {
    pub(crate) fn weight(&self, id: WeightId) -> Result<&Weight, BackendError> {
        self.weights.get(id.0)
    }

    pub(crate) fn state(&self, id: StateId) -> Result<&State, BackendError> {
        self.states.get(id.0)
    }
}

/// The state of lowering.
struct Lowering<'a> {
    graph: &'a Graph,
    opened: &'a Opened,
    held: &'a Held<'a>,
    /// Shapes in numbers, by value.
    shapes: Vec<Vec<usize>>,
    /// The value whose buffer a value shares.
    roots: Vec<ValueId>,
    places: Vec<Option<Place>>,
    slots: Slots,
    own: Vec<Content>,
    dispatches: Vec<Dispatch>,
    /// Slots to be freed after the node at hand.
    temporary: Vec<usize>,
    /// Products that add another value to their result, and what they then make: see [`find_residuals`].
    residuals: HashMap<usize, (ValueId, ValueId)>,
}

/// Lowers a graph; an operator or type without a kernel is an error that names it.
pub(crate) fn lower(
    graph: &Graph,
    opened: &Opened,
    held: &Held<'_>,
) -> Result<Lowered, BackendError> {
    let shapes = graph
        .values
        .iter()
        .map(|value| value.fixed_shape())
        .collect::<Result<Vec<_>, _>>()?;
    let uses = count_uses(graph);
    let (residuals, skipped) = find_residuals(graph, &shapes, &uses);
    let mut lowering = Lowering {
        graph,
        opened,
        held,
        shapes,
        roots: find_roots(graph),
        places: vec![None; graph.values.len()],
        slots: Slots::default(),
        own: Vec::new(),
        dispatches: Vec::new(),
        temporary: Vec::new(),
        residuals,
    };
    lowering.place_sources()?;
    let last_uses = lowering.last_uses();
    for (i, node) in graph.nodes.iter().enumerate() {
        if !skipped[i] {
            lowering.node(i, node)?;
        }
        for slot in std::mem::take(&mut lowering.temporary) {
            lowering.slots.free(slot);
        }
        for id in &last_uses[i] {
            if let Some(Place::Slot(slot)) = lowering.places[id.index()] {
                lowering.slots.free(slot);
            }
        }
    }
    let outputs = graph
        .outputs
        .iter()
        .map(|(name, id)| {
            Ok(Output {
                name: name.clone(),
                element: graph.value(*id).element,
                shape: lowering.shapes[id.index()].clone(),
                place: lowering.place(*id)?,
            })
        })
        .collect::<Result<Vec<_>, BackendError>>()?;
    Ok(Lowered {
        dispatches: lowering.dispatches,
        slots: lowering.slots.sizes(),
        own: lowering.own,
        outputs,
    })
}

fn count_uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.values.len()];
    let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    for id in inputs.chain(graph.outputs.iter().map(|(_, id)| id)) {
        uses[id.index()] += 1;
    }
    uses
}

/// Finds additions that a product can make at its end: `y = x·wᵀ (+ b)` used only by `y + r`, where `r`
/// has the same shape and is made before. Gives what each product adds and makes, and which nodes that replaces.
fn find_residuals(
    graph: &Graph,
    shapes: &[Vec<usize>],
    uses: &[usize],
) -> (HashMap<usize, (ValueId, ValueId)>, Vec<bool>) {
    let mut residuals = HashMap::new();
    let mut skipped = vec![false; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        let (Op::Binary(Binary::Add), [a, b]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        if a == b || shapes[a.index()] != shapes[b.index()] {
            continue;
        }
        for (product, other) in [(*a, *b), (*b, *a)] {
            let Some(producer) = graph.producer(product) else {
                continue;
            };
            let earlier = graph
                .producer(other)
                .is_none_or(|other| other.index() < producer.index());
            let plain = graph.value(other).element == ElementType::F32;
            let product_node = graph.node(producer);
            // Rows that are no whole vectors go through a kernel that adds nothing.
            let is_linear = matches!(product_node.op, Op::BlockMatmul { .. })
                && shapes[product_node.inputs[1].index()]
                    .last()
                    .is_some_and(|k| k % 4 == 0);
            if is_linear
                && earlier
                && plain
                && uses[product.index()] == 1
                && !matches!(graph.value(other).source, Source::Weight(_))
            {
                residuals.insert(producer.index(), (other, node.outputs[0]));
                skipped[i] = true;
                break;
            }
        }
    }
    (residuals, skipped)
}

/// A reshaped value, and a state that was written to, are the buffer they come from.
fn find_roots(graph: &Graph) -> Vec<ValueId> {
    let mut roots: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for node in &graph.nodes {
        if matches!(node.op, Op::Reshape { .. } | Op::KvAppend) {
            roots[node.outputs[0].index()] = roots[node.inputs[0].index()];
        }
    }
    roots
}

impl<'a> Lowering<'a> {
    /// Inputs, constants, weights and states.
    fn place_sources(&mut self) -> Result<(), BackendError> {
        for (i, value) in self.graph.values.iter().enumerate() {
            let place = match &value.source {
                Source::Node(..) => continue,
                Source::Input(name) => {
                    self.own.push(Content::Input {
                        name: name.clone(),
                        element: value.element,
                        shape: self.shapes[i].clone(),
                    });
                    Place::Own(self.own.len() - 1)
                }
                Source::Constant(tensor) => {
                    self.own.push(Content::Constant(tensor.clone()));
                    Place::Own(self.own.len() - 1)
                }
                Source::Weight(name) => {
                    let id = self.held.weight_names.get(name).copied();
                    let id = id.ok_or_else(|| BackendError::Weight {
                        name: name.clone(),
                        message: "the graph needs it and it is not there".to_owned(),
                    })?;
                    let weight = self.held.weight(id)?;
                    if weight.element != value.element || weight.shape != self.shapes[i] {
                        return Err(BackendError::Weight {
                            name: name.clone(),
                            message: format!(
                                "{} {:?} is loaded, the graph needs {} {:?}",
                                weight.element, weight.shape, value.element, self.shapes[i]
                            ),
                        });
                    }
                    Place::Weight(id, 0)
                }
                Source::State(name) => {
                    let id = self.held.state_names.get(name).copied();
                    let id = id.ok_or_else(|| {
                        BackendError::Internal(format!("the graph's state {name} was not created"))
                    })?;
                    let state = self.held.state(id)?;
                    if state.shape != self.shapes[i] {
                        return Err(BackendError::Internal(format!(
                            "state {name} has shape {:?}, the graph needs {:?}",
                            state.shape, self.shapes[i]
                        )));
                    }
                    Place::State(id)
                }
            };
            self.places[i] = Some(place);
        }
        Ok(())
    }

    /// Which values are used for the last time by each node.
    fn last_uses(&self) -> Vec<Vec<ValueId>> {
        let mut last: Vec<Option<usize>> = vec![None; self.graph.values.len()];
        for (i, node) in self.graph.nodes.iter().enumerate() {
            // A value that nothing uses goes after the node that makes it.
            for id in node.inputs.iter().chain(&node.outputs) {
                last[self.roots[id.index()].index()] = Some(i);
            }
        }
        for (_, id) in &self.graph.outputs {
            last[self.roots[id.index()].index()] = None;
        }
        let mut by_node = vec![Vec::new(); self.graph.nodes.len()];
        for (i, last) in last.into_iter().enumerate() {
            if let Some(node) = last {
                by_node[node].push(ValueId(i as u32));
            }
        }
        by_node
    }

    fn node(&mut self, i: usize, node: &'a Node) -> Result<(), BackendError> {
        if !parts::are_bound(&node.op) {
            self.check_inputs(node)?;
        }
        match &node.op {
            Op::Reshape { .. } => Ok(()),
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(_)
            | Op::Clamp { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::Fused(_) => self.elementwise(node),
            Op::Reduce(reduce) => self.reduce(node, reduce),
            Op::Softmax { axis } => self.softmax(node, *axis),
            Op::LayerNormalization(norm) => self.layer_normalization(node, norm),
            Op::RmsNormalization { epsilon } => self.rms_normalization(node, *epsilon),
            Op::CumulativeSum(sum) => self.cumulative_sum(node, *sum),
            Op::Conv2d(conv) => self.conv2d(node, conv),
            Op::Pool2d(pool) => self.pool2d(node, pool),
            Op::Matmul => self.matmul(node),
            Op::BlockMatmul { bias, exact } => self.block_matmul(i, node, *bias, *exact),
            Op::Transpose { permutation } => self.transpose(node, permutation),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Slice(slice) => self.slice(node, slice),
            Op::Pad(pad) => self.pad(node, pad),
            Op::Expand { .. } => self.expand(node),
            Op::Gather { axis, .. } => self.gather(node, *axis),
            Op::DequantizeBlocks => self.dequantize(node),
            Op::RotaryEmbedding(rotary) => self.rotary(node, rotary),
            Op::Attention(attention) => self.attention(node, attention),
            Op::KvAppend => self.kv_append(node),
            Op::ScatterNd(scatter) => self.scatter_nd(node, *scatter),
            Op::Extension(Extension::TopK { axis, k, largest }) => {
                self.top_k(node, *axis, *k, *largest)
            }
            Op::Extension(_) => self.elementwise(node),
        }
    }

    // --- what the operators are made of ---

    fn shape(&self, id: ValueId) -> &[usize] {
        &self.shapes[id.index()]
    }

    fn elements(&self, id: ValueId) -> usize {
        self.shape(id).iter().product()
    }

    /// A value's type on the device; an error where it has none there.
    fn device_type(&self, op: &'static str, id: ValueId) -> Result<InputType, BackendError> {
        let element = self.graph.value(id).element;
        element
            .plain()
            .and_then(device_type)
            .ok_or_else(|| unsupported(op, format!("{element} on the GPU")))
    }

    /// Where a value is.
    fn place(&self, id: ValueId) -> Result<Place, BackendError> {
        let root = self.roots[id.index()];
        self.places[root.index()].ok_or_else(|| {
            BackendError::Internal(format!("value {} is used before it is made", id.0))
        })
    }

    /// The weight that a value is, if it is one.
    fn weight_of(&self, id: ValueId) -> Result<Option<(WeightId, &'a Weight)>, BackendError> {
        match self.place(id)? {
            Place::Weight(weight, _) => Ok(Some((weight, self.held.weight(weight)?))),
            _ => Ok(None),
        }
    }

    /// Where a value is as four-byte elements: a weight in another form is decoded into a temporary slot.
    fn plain(&mut self, op: &'static str, id: ValueId) -> Result<Place, BackendError> {
        match self.weight_of(id)? {
            Some((weight_id, weight)) => {
                let ready = matches!(
                    weight.layout,
                    Layout::Widened(_) | Layout::Stored(fewbit_shaders::WeightFormat::F32)
                );
                if ready && weight.parts.len() == 1 {
                    return Ok(Place::Weight(weight_id, 0));
                }
                if matches!(weight.layout, Layout::Widened(_)) {
                    return Err(unsupported(
                        op,
                        format!("weight {} is larger than a binding", weight.name),
                    ));
                }
                let bytes = 4 * self.elements(id);
                let place = self.temporary(op, bytes)?;
                self.decode(weight_id, weight, place);
                Ok(place)
            }
            None => self.place(id),
        }
    }

    /// A slot until the node at hand is done.
    fn temporary(&mut self, op: &'static str, bytes: usize) -> Result<Place, BackendError> {
        self.check_size(op, bytes)?;
        let slot = self.slots.take(bytes as u64);
        self.temporary.push(slot);
        Ok(Place::Slot(slot))
    }

    /// Makes room for a value that a node makes.
    fn make(&mut self, op: &'static str, id: ValueId) -> Result<Place, BackendError> {
        let bytes = 4 * self.elements(id);
        self.check_size(op, bytes)?;
        let place = Place::Slot(self.slots.take(bytes as u64));
        self.places[id.index()] = Some(place);
        Ok(place)
    }

    fn check_size(&self, op: &'static str, bytes: usize) -> Result<(), BackendError> {
        if bytes as u64 > self.opened.facts.max_binding {
            return Err(unsupported(
                op,
                format!(
                    "a value of {bytes} bytes is larger than the device binds ({})",
                    self.opened.facts.max_binding
                ),
            ));
        }
        Ok(())
    }

    fn push(&mut self, kernel: Kernel, params: Vec<u32>, bound: &[(u32, Place)], work: Work) {
        let none = matches!(work, Work::Invocations(0) | Work::Groups(0));
        if !none {
            self.dispatches.push(Dispatch {
                kernel,
                params,
                bound: bound.to_vec(),
                work,
                part: None,
            });
        }
    }
}

fn unsupported(op: &'static str, reason: String) -> BackendError {
    BackendError::Unsupported {
        op: op.to_owned(),
        reason,
    }
}

/// Strides of a dense shape, in elements.
fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Strides with which a dense tensor of `shape` is read as one of `to`: 0 along broadcast dimensions.
fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let strides = dense_strides(shape);
    let missing = to.len() - shape.len();
    (0..to.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(i) if shape[i] != 1 => strides[i],
            _ => 0,
        })
        .collect()
}
