//! `MLGraphBuilder`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use fewbit_engine::graph::op::Unary;
use fewbit_engine::graph::pass::prune_inputs;
use fewbit_engine::graph::{Graph, Source, ValueId};

use crate::emit::{Emit, dims};
use crate::error::{BuildError, Exception, Fault, refuse, rule};
use crate::operators;
use crate::types::{DataType, Descriptor};
use crate::value::Value;

/// An `MLOperand`: of one builder, and of no use to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    builder: u32,
    index: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    Constant,
    Made,
}

struct Held {
    value: ValueId,
    kind: Kind,
}

/// Builds one graph, as an `MLGraphBuilder` does.
///
/// ```
/// use fewbit_webnn::{Builder, DataType, Descriptor, Value};
///
/// let mut builder = Builder::new();
/// let x = builder.input("x", &Descriptor::new(DataType::Float32, &[2, 3]))?;
/// let y = builder.call("softmax", &[x.into(), Value::from(1.0)])?;
/// let built = builder.build(&[("y", y[0])])?;
/// assert_eq!(built.outputs[0].1.shape, [2, 3]);
/// # Ok::<(), fewbit_webnn::BuildError>(())
/// ```
pub struct Builder {
    id: u32,
    emit: Emit,
    operands: Vec<Held>,
    inputs: Vec<(String, Descriptor)>,
    built: bool,
}

/// What [`Builder::build`] gives.
#[derive(Clone, Debug)]
pub struct Built {
    /// Inputs and outputs by their names, in the engine's types.
    pub graph: Graph,
    /// The inputs that the outputs need.
    pub inputs: Vec<(String, Descriptor)>,
    pub outputs: Vec<(String, Descriptor)>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    pub fn new() -> Builder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Builder {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            emit: Emit::default(),
            operands: Vec::new(),
            inputs: Vec::new(),
            built: false,
        }
    }

    /// `input(name, descriptor)`.
    ///
    /// # Errors
    /// `TypeError`: an empty name, one that is taken, or invalid dimensions. `InvalidStateError` after `build()`, here
    /// and everywhere.
    pub fn input(&mut self, name: &str, descriptor: &Descriptor) -> Result<Operand, BuildError> {
        self.within("input", |this| {
            rule(!name.is_empty(), || "the name is empty".into())?;
            let taken = this.inputs.iter().any(|(other, _)| other == name);
            rule(!taken, || format!("there is an input named {name:?}"))?;
            descriptor.check()?;
            let shape = dims(&descriptor.shape);
            let data_type = descriptor.data_type.engine();
            let value = this.emit.graph.input(name, data_type, shape)?;
            this.inputs.push((name.to_owned(), descriptor.clone()));
            Ok(this.hold(value, Kind::Input))
        })
    }

    /// `constant(descriptor, buffer)`; the bytes are little-endian.
    ///
    /// # Errors
    /// `TypeError`: invalid dimensions, or a buffer of another length than the descriptor's.
    pub fn constant(
        &mut self,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<Operand, BuildError> {
        self.within("constant", |this| {
            descriptor.check()?;
            let wanted = descriptor.byte_length();
            rule(bytes.len() == wanted, || {
                let given = bytes.len();
                format!("the buffer has {given} bytes, the descriptor {wanted}")
            })?;
            let data_type = descriptor.data_type.engine();
            let value = this.emit.constant(data_type, &descriptor.shape, bytes)?;
            Ok(this.hold(value, Kind::Constant))
        })
    }

    /// `constant(dataType, value)`: a number without dimensions, cast to the type.
    ///
    /// # Errors
    /// `TypeError`: no `MLNumber`.
    pub fn number(&mut self, data_type: DataType, value: &Value) -> Result<Operand, BuildError> {
        self.within("constant", |this| {
            let number = value.ml_number("value")?;
            let bytes = data_type.encode(data_type.cast(number));
            let value = this.emit.constant(data_type.engine(), &[], &bytes)?;
            Ok(this.hold(value, Kind::Constant))
        })
    }

    /// Calls an operator by its name in JavaScript with its arguments in order, the last of them the options.
    ///
    /// # Errors
    /// The exception that the specification throws for such arguments; `TypeError` too for a name that no operator has.
    pub fn call(
        &mut self,
        operator: &str,
        arguments: &[Value],
    ) -> Result<Vec<Operand>, BuildError> {
        self.within(operator, |this| {
            let made = operators::call(this, operator, arguments)?;
            for &value in &made {
                this.emit.descriptor(value)?.check()?;
            }
            let hold = |value| this.hold(value, Kind::Made);
            Ok(made.into_iter().map(hold).collect())
        })
    }

    /// An operand's `dataType` and `shape`; `None` for another builder's.
    pub fn descriptor(&self, operand: Operand) -> Option<Descriptor> {
        let held = self.held(operand).ok()?;
        self.emit.descriptor(held.value).ok()
    }

    /// `build(outputs)`, after which the builder builds no more.
    ///
    /// # Errors
    /// `TypeError`: no outputs, an empty name or one that is there twice, an operand that is an input, a constant or
    /// another builder's.
    pub fn build(&mut self, outputs: &[(&str, Operand)]) -> Result<Built, BuildError> {
        self.within("build", |this| {
            rule(!outputs.is_empty(), || "there are no outputs".into())?;
            let mut named: BTreeMap<&str, Operand> = BTreeMap::new();
            for &(name, operand) in outputs {
                rule(!name.is_empty(), || "an output's name is empty".into())?;
                let kind = this.held(operand)?.kind;
                rule(kind == Kind::Made, || {
                    format!("output {name:?} is an input or a constant")
                })?;
                let twice = named.insert(name, operand).is_some();
                rule(!twice, || format!("two outputs are named {name:?}"))?;
            }
            let mut described = Vec::new();
            for &(name, operand) in outputs {
                let mut value = this.held(operand)?.value;
                described.push((name.to_owned(), this.emit.descriptor(value)?));
                // An operator that changes nothing has given its input back.
                let mut given = this.operands.iter().filter(|held| held.kind != Kind::Made);
                if given.any(|held| held.value == value) {
                    value = this.emit.unary(Unary::Identity, value)?;
                }
                this.emit.graph.output(name, value)?;
            }
            this.built = true;
            let graph = prune_inputs(&std::mem::take(&mut this.emit).graph.finish());
            let needed = |name: &str| {
                let mut sources = graph.inputs.iter().map(|&id| &graph.value(id).source);
                sources.any(|source| matches!(source, Source::Input(own) if own == name))
            };
            let mut inputs = std::mem::take(&mut this.inputs);
            inputs.retain(|(name, _)| needed(name));
            Ok(Built {
                graph,
                inputs,
                outputs: described,
            })
        })
    }

    /// The engine's value of an operand of this builder ("validating operand").
    pub(crate) fn value(&self, operand: Operand) -> Result<ValueId, Fault> {
        Ok(self.held(operand)?.value)
    }

    pub(crate) fn emit(&mut self) -> &mut Emit {
        &mut self.emit
    }

    fn held(&self, operand: Operand) -> Result<&Held, Fault> {
        let own = (operand.builder == self.id).then_some(operand.index);
        match own.and_then(|index| self.operands.get(index as usize)) {
            Some(held) => Ok(held),
            None => refuse("an operand is another builder's"),
        }
    }

    fn hold(&mut self, value: ValueId, kind: Kind) -> Operand {
        self.operands.push(Held { value, kind });
        Operand {
            builder: self.id,
            index: self.operands.len() as u32 - 1,
        }
    }

    fn within<T>(
        &mut self,
        method: &str,
        step: impl FnOnce(&mut Builder) -> Result<T, Fault>,
    ) -> Result<T, BuildError> {
        if self.built {
            let fault = Fault {
                exception: Exception::InvalidStateError,
                rule: "the builder has built its graph".into(),
            };
            return Err(fault.at(method));
        }
        step(self).map_err(|fault| fault.at(method))
    }
}
