//! One node as an operator's function sees it: inputs and attributes, and what of them has been looked at.
//!
//! What nobody looked at is refused afterwards, so that an attribute or input that a function does not know cannot make
//! a wrong result.

use std::cell::RefCell;
use std::collections::BTreeSet;

use fewbit_engine::tensor::{DataType, Tensor};

use super::context::Value;
use super::error::{Refusal, unsupported, wrong};
use super::tensor::{TensorFault, read_tensor};
use crate::proto::{AttributeProto, NodeProto};

pub(crate) struct Node<'a> {
    proto: &'a NodeProto,
    inputs: Vec<Option<Value>>,
    pub(crate) opset: i64,
    seen: RefCell<BTreeSet<String>>,
    taken: RefCell<BTreeSet<usize>>,
}

impl<'a> Node<'a> {
    pub(crate) fn new(proto: &'a NodeProto, inputs: Vec<Option<Value>>, opset: i64) -> Node<'a> {
        Node {
            proto,
            inputs,
            opset,
            seen: RefCell::default(),
            taken: RefCell::default(),
        }
    }

    pub(crate) fn op_type(&self) -> &'a str {
        self.proto.op_type.as_deref().unwrap_or_default()
    }

    /// Whether output number `at` is asked for.
    pub(crate) fn wants(&self, at: usize) -> bool {
        self.proto
            .output
            .get(at)
            .is_some_and(|name| !name.is_empty())
    }

    pub(crate) fn count(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    pub(crate) fn optional(&self, at: usize) -> Option<Value> {
        self.taken.borrow_mut().insert(at);
        self.inputs.get(at).copied().flatten()
    }

    pub(crate) fn input(&self, at: usize) -> Result<Value, Refusal> {
        self.optional(at)
            .ok_or_else(|| Refusal::Wrong(format!("input {at} is missing")))
    }

    /// All inputs, none of which may be left out.
    pub(crate) fn all(&self) -> Result<Vec<Value>, Refusal> {
        (0..self.count()).map(|at| self.input(at)).collect()
    }

    /// The element type of the first input.
    pub(crate) fn first_type(&self) -> Option<DataType> {
        self.inputs.first().copied().flatten().map(|x| x.data_type)
    }

    /// Inputs of 16-bit floats made into those that `widen` gives.
    pub(crate) fn map_inputs(
        &mut self,
        mut widen: impl FnMut(Value) -> Result<Value, Refusal>,
    ) -> Result<(), Refusal> {
        for input in self.inputs.iter_mut().flatten() {
            *input = widen(*input)?;
        }
        Ok(())
    }

    fn attribute(&self, name: &str, kind: i32) -> Result<Option<&'a AttributeProto>, Refusal> {
        self.seen.borrow_mut().insert(name.to_owned());
        let mut all = self.proto.attribute.iter();
        let Some(found) = all.find(|a| a.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        match found.r#type {
            // Files of IR version 1 leave the type out.
            None | Some(0) => Ok(Some(found)),
            Some(given) if given == kind => Ok(Some(found)),
            Some(given) => wrong(format!("attribute {name} is of type {given}, not {kind}")),
        }
    }

    /// Says that an attribute tells nothing that the inputs do not.
    pub(crate) fn ignore(&self, names: &[&str]) {
        let mut seen = self.seen.borrow_mut();
        seen.extend(names.iter().map(|&name| name.to_owned()));
    }

    pub(crate) fn int_or_none(&self, name: &str) -> Result<Option<i64>, Refusal> {
        Ok(self.attribute(name, 2)?.map(|a| a.i.unwrap_or(0)))
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> Result<i64, Refusal> {
        Ok(self.int_or_none(name)?.unwrap_or(default))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub(crate) fn float_or_none(&self, name: &str) -> Result<Option<f32>, Refusal> {
        Ok(self.attribute(name, 1)?.map(|a| a.f.unwrap_or(0.0)))
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> Result<f32, Refusal> {
        Ok(self.float_or_none(name)?.unwrap_or(default))
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        Ok(self.attribute(name, 7)?.map(|a| a.ints.clone()))
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, Refusal> {
        Ok(self.attribute(name, 6)?.map(|a| a.floats.clone()))
    }

    pub(crate) fn word(&self, name: &str, default: &str) -> Result<String, Refusal> {
        match self.attribute(name, 3)? {
            None => Ok(default.to_owned()),
            Some(a) => Ok(String::from_utf8_lossy(a.s.as_deref().unwrap_or_default()).into_owned()),
        }
    }

    pub(crate) fn words(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(a) = self.attribute(name, 8)? else {
            return Ok(None);
        };
        let words = a
            .strings
            .iter()
            .map(|s| String::from_utf8_lossy(s).into_owned());
        Ok(Some(words.collect()))
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>, Refusal> {
        let Some(attribute) = self.attribute(name, 4)? else {
            return Ok(None);
        };
        let Some(proto) = &attribute.t else {
            return wrong(format!("attribute {name} has no tensor"));
        };
        match read_tensor(proto) {
            Ok(tensor) => Ok(Some(tensor)),
            Err(TensorFault::Wrong(reason)) => wrong(format!("attribute {name}: {reason}")),
            Err(fault) => unsupported(format!("attribute {name}: {fault}")),
        }
    }

    /// Refuses what nobody looked at.
    pub(crate) fn all_seen(&self) -> Result<(), Refusal> {
        let seen = self.seen.borrow();
        for attribute in &self.proto.attribute {
            let name = attribute.name.as_deref().unwrap_or_default();
            if !seen.contains(name) {
                return unsupported(format!("attribute {name}"));
            }
        }
        let taken = self.taken.borrow();
        let mut inputs = self.inputs.iter().enumerate();
        match inputs.find(|(at, input)| input.is_some() && !taken.contains(at)) {
            Some((at, _)) => unsupported(format!("input {at}")),
            None => Ok(()),
        }
    }
}

/// An axis that may count from the end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let from_start = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    match usize::try_from(from_start) {
        Ok(axis) if axis < rank => Ok(axis),
        _ => wrong(format!("axis {axis} of {rank} dimensions")),
    }
}

/// Axes, each of which may count from the end, sorted; an error where one is there twice.
pub(crate) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    let mut out: Vec<usize> = axes
        .iter()
        .map(|&axis| axis_of(axis, rank))
        .collect::<Result<_, _>>()?;
    out.sort_unstable();
    if out.windows(2).any(|pair| pair[0] == pair[1]) {
        return wrong(format!("axes {axes:?}: one is there twice"));
    }
    Ok(out)
}
