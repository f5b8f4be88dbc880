//! Graphs as bytes: how a module that makes one hands it to the module that runs it.
//!
//! The bytes hold what a graph was built from, value by value in order: inputs, weights by name, constants, states, and
//! operators with their attributes. Shapes of results are not in it: [`decode`] builds the graph anew through
//! [`GraphBuilder`], which infers and checks each, so that whatever bytes give, they give a valid graph or an error.
//!
//! Numbers are LEB128 (signed ones zigzag), floats four bytes, texts and lists begin with their length. Both sides are
//! of one build, so there is one version and no other is read.

mod dim;
mod form;
mod op;

pub(crate) use form::{Reader, Wire, Writer, Wrong};
pub(crate) use form::{wire_enum, wire_struct};

use std::rc::Rc;

use super::{Dim, Graph, GraphBuilder, GraphError, Op, Shape, Source, ValueId};
use crate::tensor::{ElementType, Tensor, TensorError};

/// What the bytes begin with; the last one is the version.
const MAGIC: [u8; 4] = *b"fbg\x01";

/// More values than any graph has.
const MOST_VALUES: usize = 1 << 18;

/// More dimensions than any value has.
const MOST_RANK: usize = 32;

/// Bytes may make shapes of so many symbols and terms a byte, all values together, and [`FREE_TERMS`] more.
const MOST_TERMS_A_BYTE: usize = 16;
const FREE_TERMS: usize = 4096;

/// Why bytes are no graph, or a graph cannot be bytes.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("these bytes are no graph of this version")]
    Version,
    #[error("byte {at}: {what}")]
    Malformed { at: usize, what: &'static str },
    #[error("byte {at}: value {value}: {error}")]
    Graph {
        at: usize,
        value: usize,
        error: GraphError,
    },
    #[error("byte {at}: {error}")]
    Tensor { at: usize, error: TensorError },
    #[error("value {value} is not where a builder puts it")]
    NotBuilt { value: usize },
}

/// A graph that a [`GraphBuilder`] made, as bytes.
///
/// # Errors
/// [`WireError::NotBuilt`] for a graph whose values are in another order than a builder's, or whose nodes have several
/// outputs.
pub fn encode(graph: &Graph) -> Result<Vec<u8>, WireError> {
    let mut out = Writer::default();
    out.bytes(&MAGIC);
    graph.write(&mut out);
    out.finish()
}

/// The graph that [`encode`] made bytes of.
///
/// # Errors
/// Anything else than such bytes, whole: where they are wrong and how.
pub fn decode(bytes: &[u8]) -> Result<Graph, WireError> {
    Reader::new(bytes).run(|from| {
        from.magic(MAGIC)?;
        let graph = Graph::read(from)?;
        from.end()?;
        Ok(graph)
    })
}

const INPUT: u8 = 0;
const WEIGHT: u8 = 1;
const CONSTANT: u8 = 2;
const STATE: u8 = 3;
const NODE: u8 = 4;

impl Wire for Graph {
    fn write(&self, out: &mut Writer) {
        self.values.len().write(out);
        let (mut nodes, mut inputs) = (0, 0);
        for (at, value) in self.values.iter().enumerate() {
            let id = ValueId(at as u32);
            let built = match &value.source {
                Source::Input(_) => {
                    inputs += 1;
                    self.inputs.get(inputs - 1) == Some(&id)
                }
                Source::Node(node, _) => {
                    nodes += 1;
                    let node = Some(*node).filter(|node| node.index() + 1 == nodes);
                    let node = node.and_then(|node| self.nodes.get(node.index()));
                    node.is_some_and(|node| node.outputs == [id])
                }
                _ => true,
            };
            match built {
                true => write_value(self, at, out),
                false => out.fail(WireError::NotBuilt { value: at }),
            }
        }
        self.outputs.len().write(out);
        for (name, id) in &self.outputs {
            name.write(out);
            id.index().write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Graph, Wrong> {
        let count = from.count()?;
        if count > MOST_VALUES {
            return Err(from.wrong("too many values"));
        }
        let mut terms = FREE_TERMS + MOST_TERMS_A_BYTE.saturating_mul(from.left());
        let mut builder = GraphBuilder::new();
        for value in 0..count {
            let id = read_value(from, &mut builder, value)?;
            // A tied weight that comes again is the value it was.
            if id.index() != value {
                return Err(from.wrong("a weight comes twice"));
            }
            let shape = builder.shape(id);
            let made = shape.iter().map(Dim::terms).sum();
            match terms.checked_sub(made) {
                Some(left) if shape.len() <= MOST_RANK => terms = left,
                _ => return Err(from.wrong("a shape with too many terms")),
            }
        }
        for _ in 0..from.count()? {
            let name = String::read(from)?;
            let id = usize::read(from)?;
            if id >= count {
                return Err(from.wrong("an output that there is not"));
            }
            let named = builder.output(&name, ValueId(id as u32));
            named.map_err(|error| from.refused(id, error))?;
        }
        Ok(builder.finish())
    }
}

fn write_value(graph: &Graph, at: usize, out: &mut Writer) {
    let value = &graph.values[at];
    let (kind, name) = match &value.source {
        Source::Input(name) => (INPUT, name),
        Source::State(name) => (STATE, name),
        Source::Weight(name) => (WEIGHT, name),
        Source::Constant(tensor) => {
            out.byte(CONSTANT);
            return tensor.as_ref().write(out);
        }
        Source::Node(node, _) => {
            let node = graph.node(*node);
            out.byte(NODE);
            node.op.write(out);
            node.inputs.len().write(out);
            // Counted from here back, as most are close.
            for input in &node.inputs {
                at.wrapping_sub(input.index()).write(out);
            }
            return;
        }
    };
    out.byte(kind);
    name.write(out);
    value.element.write(out);
    value.shape.write(out);
}

fn read_value(
    from: &mut Reader<'_>,
    builder: &mut GraphBuilder,
    value: usize,
) -> Result<ValueId, Wrong> {
    let made = match from.byte()? {
        kind @ (INPUT | STATE | WEIGHT) => {
            let name = String::read(from)?;
            let element = ElementType::read(from)?;
            let shape = Shape::read(from)?;
            match (kind, element.plain(), super::fixed_shape(&shape)) {
                (INPUT, Some(data_type), _) => builder.input(&name, data_type, shape),
                (STATE, Some(data_type), _) => builder.state(&name, data_type, shape),
                (WEIGHT, _, Some(shape)) => builder.weight(&name, element, &shape),
                _ => return Err(from.wrong("a value of a type or shape that it cannot have")),
            }
        }
        CONSTANT => Ok(builder.shared_constant(Rc::new(Tensor::read(from)?))),
        NODE => {
            let op = Op::read(from)?;
            let mut inputs = Vec::new();
            for _ in 0..from.count()? {
                match value.checked_sub(usize::read(from)?) {
                    Some(input) if input < value => inputs.push(ValueId(input as u32)),
                    _ => return Err(from.wrong("an input that is not before its node")),
                }
            }
            builder.op(op, &inputs)
        }
        _ => return Err(from.wrong("a value of no known kind")),
    };
    made.map_err(|error| from.refused(value, error))
}

#[cfg(test)]
mod tests;
