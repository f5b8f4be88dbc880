//! Control flow: `If`, `Loop` and `Scan`, whose bodies are graphs of their own, written out into the one that is built.
//!
//! A branch is taken where its condition is known, and a loop is written out as often as it goes round, which must be known
//! too. Values in a body's graph are seen there alone; those around it are seen inside.

use std::collections::BTreeMap;

use fewbit_engine::tensor::DataType;

use super::ImportError;
use super::context::{Context, MOST_STEPS, Made, Value};
use super::error::{Refusal, wrong};
use super::importer::Importer;
use super::model::Stop;
use super::node::{Node, axis_of};
use super::operator_set::entry_of;
use super::table::Entry;
use crate::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, data_type_of};

/// More nodes than all bodies together may become.
pub(super) const MOST_WRITTEN_OUT: usize = 1 << 17;

/// Why a node of control flow is refused: by itself, or by what is in its body.
pub(super) enum Ended {
    Refused(Refusal),
    Inside(Stop),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Ended {
        Ended::Refused(refusal)
    }
}

impl From<ImportError> for Ended {
    fn from(error: ImportError) -> Ended {
        Ended::Inside(error.into())
    }
}

type Outputs = Result<Vec<Value>, Ended>;

pub(super) const TABLE: &[Entry] = &[
    Entry::control("If", 1),
    Entry::control("Loop", 1),
    Entry::control("Scan", 8),
];

/// The graphs in a node's attributes.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().filter_map(|a| a.g.as_ref())
}

/// Every body below a graph, in the order in which the file has them.
pub(super) fn numbered(graph: &GraphProto, numbers: &mut BTreeMap<*const GraphProto, usize>) {
    for body in graph.node.iter().flat_map(bodies) {
        let next = numbers.len();
        numbers.insert(std::ptr::from_ref(body), next);
        numbered(body, numbers);
    }
}

fn body<'a>(proto: &'a NodeProto, node: &Node<'_>, name: &str) -> Result<&'a GraphProto, Refusal> {
    node.ignore(&[name]);
    let named = |a: &&AttributeProto| a.name.as_deref() == Some(name);
    let found = proto.attribute.iter().find(named);
    match found.and_then(|a| a.g.as_ref()) {
        Some(graph) => Ok(graph),
        None => wrong(format!("no graph {name}")),
    }
}

fn flag(cx: &Context, x: Value) -> Result<bool, Refusal> {
    Ok(cx.known_int(x)? != 0)
}

impl<'a> Importer<'a> {
    pub(super) fn control(&mut self, proto: &'a NodeProto, node: &Node<'_>) -> Outputs {
        let outputs = match node.op_type() {
            "If" => self.branch(proto, node)?,
            "Loop" => self.repeated(proto, node)?,
            _ if node.opset < 9 => self.scanned_by_batch(proto, node)?,
            _ => {
                let all = node.all()?;
                self.scanned(proto, node, &all, 0)?
            }
        };
        Ok(outputs)
    }

    /// What a body makes of its inputs. Its values are forgotten afterwards.
    fn written_out(&mut self, graph: &'a GraphProto, inputs: &[Value]) -> Outputs {
        if graph.input.len() != inputs.len() {
            let reason = format!("{} inputs for {}", inputs.len(), graph.input.len());
            return Err(Refusal::Wrong(reason).into());
        }
        self.scopes.push(BTreeMap::new());
        let made = self.body_outputs(graph, inputs);
        for (name, before) in self.scopes.pop().into_iter().flatten() {
            match before {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(name),
            };
        }
        made
    }

    fn body_outputs(&mut self, graph: &'a GraphProto, inputs: &[Value]) -> Outputs {
        self.body_initializers(graph)?;
        for (input, &value) in graph.input.iter().zip(inputs) {
            let name = input.name.as_deref().unwrap_or_default();
            self.define(name, value)?;
        }
        let left = self.left_to_write.checked_sub(graph.node.len());
        let Some(left) = left else {
            let reason = format!("bodies of more than {MOST_WRITTEN_OUT} nodes in all");
            return Err(Refusal::Unsupported(reason).into());
        };
        self.left_to_write = left;
        for (at, node) in graph.node.iter().enumerate() {
            let (entry, opset) =
                entry_of(node, at, self.versions).map_err(|operator| ImportError::Unsupported {
                    file: self.file.to_owned(),
                    operators: vec![operator],
                })?;
            let made = self.node(at, node, entry, opset);
            made.map_err(Ended::Inside)?;
        }
        let made = graph.output.iter().map(|output| {
            let name = output.name.as_deref().unwrap_or_default();
            match self.values.get(name) {
                Some(value) => Ok(*value),
                None => wrong(format!("output {name} of the body is made by nothing")),
            }
        });
        Ok(made.collect::<Result<_, _>>()?)
    }

    /// Reads a body's initializers once. Those of different bodies may have the same names, weights may not.
    fn body_initializers(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
        let known = self
            .bodies
            .iter()
            .position(|(body, _)| std::ptr::eq(*body, graph));
        if let Some(known) = known {
            for (name, value) in self.bodies[known].1.clone() {
                self.define(name, value)?;
            }
            return Ok(());
        }
        let number = self.body_numbers.get(&std::ptr::from_ref(graph));
        let number = number.copied().unwrap_or_default();
        let prefix = format!("body.{number}.");
        let outer = std::mem::replace(&mut self.prefix, prefix);
        let read = self.initializers(graph);
        self.prefix = outer;
        read?;
        let names = graph.initializer.iter().filter_map(|t| t.name.as_deref());
        let values = names.filter_map(|name| Some((name, *self.values.get(name)?)));
        let values = values.collect();
        self.bodies.push((graph, values));
        Ok(())
    }

    /// Both branches are computed where the condition is known only when the graph runs, and their results are alike.
    fn branch(&mut self, proto: &'a NodeProto, node: &Node<'_>) -> Outputs {
        let condition = node.input(0)?;
        let yes = body(proto, node, "then_branch")?;
        let no = body(proto, node, "else_branch")?;
        let known = match flag(&self.context, condition) {
            Ok(taken) => {
                return self.written_out(if taken { yes } else { no }, &[]);
            }
            Err(refusal @ Refusal::Weight(_)) => return Err(refusal.into()),
            Err(refusal) => refusal,
        };
        let (yes, no) = (self.written_out(yes, &[])?, self.written_out(no, &[])?);
        let cx = &mut self.context;
        let alike = |a: &Value, b: &Value| {
            let (left, right) = (cx.builder.shape(a.id), cx.builder.shape(b.id));
            a.data_type == b.data_type && left == right
        };
        if yes.len() != no.len() || !yes.iter().zip(&no).all(|(a, b)| alike(a, b)) {
            return Err(known.into());
        }
        let mut out = Vec::new();
        let condition = cx.reshape(condition, &[])?;
        for (yes, no) in yes.into_iter().zip(no) {
            out.push(cx.select(condition, yes, no)?);
        }
        Ok(out)
    }

    fn repeated(&mut self, proto: &'a NodeProto, node: &Node<'_>) -> Outputs {
        let (most, condition) = (node.optional(0), node.optional(1));
        let graph = body(proto, node, "body")?;
        let mut carried: Vec<Value> = (2..node.count())
            .map(|at| node.input(at))
            .collect::<Result<_, _>>()?;
        let most = match most {
            Some(most) => Some(self.context.known_int(most)?),
            None => None,
        };
        let mut go_on = match condition {
            Some(condition) => flag(&self.context, condition)?,
            None => true,
        };
        let states = carried.len();
        let Some(scanned) = graph.output.len().checked_sub(1 + states) else {
            return Err(Refusal::Wrong("a body of too few outputs".to_owned()).into());
        };
        let mut parts: Vec<Vec<Value>> = vec![Vec::new(); scanned];
        let mut round = 0i64;
        while go_on && most.is_none_or(|most| round < most) {
            if round >= MOST_STEPS as i64 {
                let reason = format!("more than {MOST_STEPS} rounds");
                return Err(Refusal::Unsupported(reason).into());
            }
            let cx = &mut self.context;
            let mut inputs = vec![cx.integers(&[], &[round])?, cx.number(1.0, DataType::Bool)?];
            inputs.extend(&carried);
            let mut made = self.written_out(graph, &inputs)?.into_iter();
            let condition = made.next();
            // A loop that is given no condition does not look at its body's.
            if let (Some(condition), Some(_)) = (condition, node.optional(1)) {
                go_on = flag(&self.context, condition)?;
            }
            carried = made.by_ref().take(states).collect();
            for (part, value) in parts.iter_mut().zip(made) {
                part.push(value);
            }
            round += 1;
        }
        let mut out = carried;
        for (part, info) in parts.into_iter().zip(&graph.output[1 + states..]) {
            out.push(match part.is_empty() {
                false => stacked(&mut self.context, &part, 0)?,
                true => {
                    let declared = type_and_shape(info);
                    let reason = "no rounds, and a result of no declared shape";
                    let (data_type, shape) =
                        declared.ok_or_else(|| Refusal::Unsupported(reason.to_owned()))?;
                    let shape = [&[0], shape.as_slice()].concat();
                    self.context.zeros(&shape, data_type)?
                }
            });
        }
        Ok(out)
    }

    /// States, and inputs that are taken apart along an axis; results put together along one. `batch` axes come first.
    fn scanned(
        &mut self,
        proto: &'a NodeProto,
        node: &Node<'_>,
        all: &[Value],
        default_axis: usize,
    ) -> Outputs {
        let graph = body(proto, node, "body")?;
        let count = usize::try_from(node.int("num_scan_inputs", 0)?).unwrap_or(0);
        let Some(states) = all.len().checked_sub(count).filter(|_| count > 0) else {
            return Err(Refusal::Wrong(format!("{count} inputs to scan")).into());
        };
        let Some(results) = graph.output.len().checked_sub(states) else {
            return Err(Refusal::Wrong("a body of too few outputs".to_owned()).into());
        };
        let (mut carried, given) = (all[..states].to_vec(), &all[states..]);
        let list = |name: &str, count: usize| -> Result<Vec<i64>, Refusal> {
            let values = node.ints(name)?.unwrap_or_else(|| vec![0; count]);
            match values.len() == count {
                true => Ok(values),
                false => wrong(format!("{name} of {values:?}")),
            }
        };
        let directions = match node.opset {
            ..9 => list("directions", count)?,
            _ => list("scan_input_directions", count)?,
        };
        let (axes, out_axes, out_directions) = match node.opset {
            ..9 => (vec![0; count], vec![0; results], vec![0; results]),
            _ => (
                list("scan_input_axes", count)?,
                list("scan_output_axes", results)?,
                list("scan_output_directions", results)?,
            ),
        };
        let mut along = Vec::new();
        let mut steps = None;
        for (&input, &axis) in given.iter().zip(&axes) {
            let shape = self.context.shape(input)?;
            let axis = axis_of(axis + default_axis as i64, shape.len())?;
            if *steps.get_or_insert(shape[axis]) != shape[axis] {
                return Err(Refusal::Wrong("inputs of different lengths".to_owned()).into());
            }
            along.push(axis);
        }
        let steps = steps.unwrap_or(0);
        if steps > MOST_STEPS || (steps == 0 && results > 0) {
            return Err(Refusal::Unsupported(format!("{steps} steps")).into());
        }
        let mut parts: Vec<Vec<Value>> = vec![Vec::new(); results];
        for step in 0..steps {
            let mut inputs = carried.clone();
            for ((&input, &axis), &backwards) in given.iter().zip(&along).zip(&directions) {
                let at = if backwards == 0 {
                    step
                } else {
                    steps - 1 - step
                };
                inputs.push(without_axis(&mut self.context, input, axis, at)?);
            }
            let made = self.written_out(graph, &inputs)?;
            carried = made[..states].to_vec();
            for (part, &value) in parts.iter_mut().zip(&made[states..]) {
                part.push(value);
            }
        }
        let mut out = carried;
        for ((mut part, axis), backwards) in parts.into_iter().zip(out_axes).zip(out_directions) {
            if backwards != 0 {
                part.reverse();
            }
            let rank = part.first().map_or(0, |&one| self.context.rank(one)) + 1;
            out.push(stacked(&mut self.context, &part, axis_of(axis, rank)?)?);
        }
        Ok(out)
    }

    /// As operator set 8 has it: everything has a batch first, and each of its rows is scanned by itself.
    fn scanned_by_batch(&mut self, proto: &'a NodeProto, node: &Node<'_>) -> Outputs {
        let lengths = node.optional(0);
        let all: Vec<Value> = (1..node.count())
            .map(|at| node.input(at))
            .collect::<Result<_, _>>()?;
        let shape = match all.last() {
            Some(&last) => self.context.shape(last)?,
            None => return Err(Refusal::Wrong("no inputs".to_owned()).into()),
        };
        let &[rows, steps, ..] = &shape[..] else {
            return Err(Refusal::Wrong(format!("shape {shape:?}")).into());
        };
        if let Some(lengths) = lengths
            && self
                .context
                .known_ints(lengths)?
                .iter()
                .any(|&length| length != steps as i64)
        {
            let reason = "rows of different lengths".to_owned();
            return Err(Refusal::Unsupported(reason).into());
        }
        if rows == 0 || rows > MOST_STEPS {
            return Err(Refusal::Unsupported(format!("{rows} rows")).into());
        }
        let mut parts: Vec<Vec<Value>> = Vec::new();
        for row in 0..rows {
            let mut own = Vec::new();
            for &value in &all {
                own.push(without_axis(&mut self.context, value, 0, row)?);
            }
            let made = self.scanned(proto, node, &own, 0)?;
            parts.resize(made.len(), Vec::new());
            for (part, value) in parts.iter_mut().zip(made) {
                part.push(value);
            }
        }
        let mut out = Vec::new();
        for part in parts {
            out.push(stacked(&mut self.context, &part, 0)?);
        }
        Ok(out)
    }
}

/// One place of an axis, which goes.
fn without_axis(cx: &mut Context, x: Value, axis: usize, at: usize) -> Made {
    let mut shape = cx.shape(x)?;
    if axis >= shape.len() || at >= shape[axis] {
        return wrong(format!("place {at} on axis {axis} of {shape:?}"));
    }
    let part = cx.slice(x, axis, at, 1)?;
    shape.remove(axis);
    cx.reshape(part, &shape)
}

/// Values of one shape along a new axis.
fn stacked(cx: &mut Context, parts: &[Value], axis: usize) -> Made {
    let mut apart = Vec::new();
    for &part in parts {
        let mut shape = cx.shape(part)?;
        if axis > shape.len() {
            return wrong(format!("axis {axis} of {shape:?}"));
        }
        shape.insert(axis, 1);
        apart.push(cx.reshape(part, &shape)?);
    }
    cx.concat(&apart, axis)
}

/// A declared type and a shape in numbers.
fn type_and_shape(info: &ValueInfoProto) -> Option<(DataType, Vec<usize>)> {
    let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
    let sizes = tensor.shape.as_ref()?.dim.iter();
    let sizes = sizes.map(|dim| usize::try_from(dim.dim_value?).ok());
    Some((
        data_type_of(tensor.elem_type?)?,
        sizes.collect::<Option<_>>()?,
    ))
}
