//! Integers of 32 bits in the place of 64, which GPUs do not have, where it can be shown that none is larger: ids that pick rows,
//! counts of flags, sizes. Elsewhere they stay, and only inputs are of 32.

use std::rc::Rc;

use fewbit_engine::graph::range::beyond_32_bits;
use fewbit_engine::graph::{Graph, GraphBuilder, GraphError, Op, Source, ValueId};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

/// A copy of a graph under way.
pub(super) struct Copy<'a> {
    pub(super) builder: GraphBuilder,
    old: &'a Graph,
    map: Vec<Option<ValueId>>,
    /// Whether integers of 64 bits become such of 32.
    narrow: bool,
}

fn is_wide(element: ElementType) -> bool {
    matches!(
        element,
        ElementType::Plain(DataType::I64 | DataType::U64 | DataType::U32)
    )
}

/// Whether all integers of 64 bits, and all unsigned ones, fit in 32 with a sign whatever the inputs are, so that the graph may
/// compute in them.
fn may_narrow(graph: &Graph) -> bool {
    let limits = f64::from(i32::MIN)..=f64::from(i32::MAX);
    let fits = |tensor: &Tensor| tensor.to_f64_vec().iter().all(|x| limits.contains(x));
    let all = graph.values.iter().all(|value| match &value.source {
        Source::Constant(tensor) if is_wide(value.element) => fits(tensor),
        Source::Node(..) => !matches!(
            value.element,
            ElementType::Plain(DataType::U32 | DataType::U64)
        ),
        _ => true,
    });
    all && beyond_32_bits(graph, 1 << 31).is_none()
}

fn narrow(tensor: &Tensor) -> Result<Tensor, GraphError> {
    let numbers: Vec<i32> = tensor.to_f64_vec().iter().map(|&x| x as i32).collect();
    Tensor::from_i32(tensor.shape(), &numbers).map_err(|e| GraphError::Fold(e.to_string()))
}

impl<'a> Copy<'a> {
    /// Begins a copy; its inputs are given by [`Copy::give`].
    pub(super) fn new(old: &'a Graph) -> Copy<'a> {
        Copy::onto(GraphBuilder::new(), old)
    }

    /// Begins a copy behind what is in a builder already.
    pub(super) fn onto(builder: GraphBuilder, old: &'a Graph) -> Copy<'a> {
        Copy {
            builder,
            old,
            map: vec![None; old.values.len()],
            narrow: may_narrow(old),
        }
    }

    /// Says what an input is: a value of the new graph, i32 where the input is of wider integers.
    pub(super) fn give(&mut self, name: &str, new: ValueId) -> Result<(), GraphError> {
        let old = self.old.inputs.iter().copied();
        let is_it = |id: &ValueId| matches!(&self.old.value(*id).source, Source::Input(known) if known == name);
        let Some(id) = old.into_iter().find(is_it) else {
            return Ok(());
        };
        let wanted = self.old.value(id).element;
        let given = match wanted.plain() {
            Some(wide) if is_wide(wanted) && !self.narrow => self.builder.cast(new, wide)?,
            _ => new,
        };
        self.map[id.index()] = Some(given);
        Ok(())
    }

    /// The inputs that were not given as inputs of the new graph, i32 where they are of wider integers.
    fn inputs(&mut self) -> Result<(), GraphError> {
        for &id in &self.old.inputs {
            let value = self.old.value(id);
            let (Source::Input(name), Some(data_type)) = (&value.source, value.element.plain())
            else {
                continue;
            };
            if self.map[id.index()].is_none() {
                let data_type = match is_wide(value.element) {
                    true => DataType::I32,
                    false => data_type,
                };
                let new = self.builder.input(name, data_type, value.shape.clone())?;
                self.give(name, new)?;
            }
        }
        Ok(())
    }

    /// Copies everything but the outputs, of which it gives name and new value.
    pub(super) fn finish(&mut self) -> Result<Vec<(String, ValueId)>, GraphError> {
        self.inputs()?;
        let old = self.old;
        for (at, value) in old.values.iter().enumerate() {
            let new = match &value.source {
                Source::Weight(name) => {
                    let shape = value.fixed_shape()?;
                    let weight = self.builder.weight(name, value.element, &shape)?;
                    match is_wide(value.element) && self.narrow {
                        true => self.builder.cast(weight, DataType::I32)?,
                        false => weight,
                    }
                }
                Source::Constant(tensor) => match is_wide(value.element) && self.narrow {
                    true => self.builder.constant(narrow(tensor)?),
                    false => self.builder.shared_constant(Rc::clone(tensor)),
                },
                Source::State(name) => match value.element.plain() {
                    Some(data_type) => {
                        let shape = value.shape.clone();
                        self.builder.state(name, data_type, shape)?
                    }
                    None => continue,
                },
                Source::Input(_) | Source::Node(..) => continue,
            };
            self.map[at] = Some(new);
        }
        for node in &old.nodes {
            let op = match &node.op {
                Op::Cast { to } if self.narrow && is_wide((*to).into()) => {
                    Op::Cast { to: DataType::I32 }
                }
                other => other.clone(),
            };
            let inputs: Result<Vec<ValueId>, GraphError> =
                node.inputs.iter().map(|&id| self.get(id)).collect();
            let made = self.builder.op(op, &inputs?)?;
            self.map[node.outputs[0].index()] = Some(made);
        }
        let outputs = old.outputs.iter();
        outputs
            .map(|(name, id)| Ok((name.clone(), self.get(*id)?)))
            .collect()
    }

    fn get(&self, old: ValueId) -> Result<ValueId, GraphError> {
        self.map[old.index()].ok_or_else(|| GraphError::Operand {
            op: "copy",
            message: format!("value {} is used before it is made", old.0),
        })
    }
}

/// The graph with 32-bit integers, if all fit; else only its inputs are.
pub(super) fn narrowed(graph: &Graph) -> Result<Graph, GraphError> {
    let mut copy = Copy::new(graph);
    for (name, id) in copy.finish()? {
        copy.builder.output(&name, id)?;
    }
    Ok(copy.builder.finish())
}
