//! The operators of the specification, a family a file: each holds a call against the specification's rules and adds
//! the engine's operators for it.

mod activation;
mod convolution;
mod elementwise;
mod indexing;
mod movement;
mod normalization;
mod pooling;
mod product;
mod quantization;
mod recurrent;
mod reduction;
mod resample;

use std::collections::BTreeMap;

use fewbit_engine::graph::ValueId;

use crate::builder::{Builder, Operand};
use crate::emit::Emit;
use crate::error::{Fault, refuse, rule};
use crate::types::DataType;
use crate::value::Value;

type Outputs = Result<Vec<ValueId>, Fault>;

/// One operator: its name, how many arguments stand before the options, and what it does.
struct Entry {
    name: &'static str,
    required: usize,
    make: fn(&mut Call<'_>) -> Outputs,
}

const fn entry(name: &'static str, required: usize, make: fn(&mut Call<'_>) -> Outputs) -> Entry {
    Entry {
        name,
        required,
        make,
    }
}

const ENTRIES: [Entry; 95] = [
    entry("abs", 1, elementwise::unary),
    entry("add", 2, elementwise::binary),
    entry("argMax", 2, reduction::arg),
    entry("argMin", 2, reduction::arg),
    entry("averagePool2d", 1, pooling::pool),
    entry("batchNormalization", 3, normalization::batch),
    entry("cast", 2, elementwise::cast),
    entry("ceil", 1, elementwise::unary),
    entry("clamp", 1, elementwise::clamp),
    entry("concat", 2, movement::concat),
    entry("conv2d", 2, convolution::conv2d),
    entry("convTranspose2d", 2, convolution::conv_transpose2d),
    entry("cos", 1, elementwise::unary),
    entry("cumulativeSum", 2, reduction::cumulative_sum),
    entry("dequantizeLinear", 3, quantization::dequantize),
    entry("div", 2, elementwise::binary),
    entry("elu", 1, activation::elu),
    entry("equal", 2, elementwise::compare),
    entry("erf", 1, elementwise::unary),
    entry("exp", 1, elementwise::unary),
    entry("expand", 2, movement::expand),
    entry("floor", 1, elementwise::unary),
    entry("gather", 2, indexing::gather),
    entry("gatherElements", 2, indexing::gather_elements),
    entry("gatherND", 2, indexing::gather_nd),
    entry("gelu", 1, activation::plain),
    entry("gemm", 2, product::gemm),
    entry("greater", 2, elementwise::compare),
    entry("greaterOrEqual", 2, elementwise::compare),
    entry("gru", 5, recurrent::gru),
    entry("gruCell", 5, recurrent::gru_cell),
    entry("hardSigmoid", 1, activation::hard_sigmoid),
    entry("hardSwish", 1, activation::hard_swish),
    entry("identity", 1, elementwise::unary),
    entry("instanceNormalization", 1, normalization::instance),
    entry("isInfinite", 1, elementwise::is_infinite),
    entry("isNaN", 1, elementwise::is_nan),
    entry("l2Pool2d", 1, pooling::pool),
    entry("layerNormalization", 1, normalization::layer),
    entry("leakyRelu", 1, activation::leaky_relu),
    entry("lesser", 2, elementwise::compare),
    entry("lesserOrEqual", 2, elementwise::compare),
    entry("linear", 1, activation::linear),
    entry("log", 1, elementwise::unary),
    entry("logicalAnd", 2, elementwise::logical),
    entry("logicalNot", 1, elementwise::logical_not),
    entry("logicalOr", 2, elementwise::logical),
    entry("logicalXor", 2, elementwise::logical),
    entry("lstm", 5, recurrent::lstm),
    entry("lstmCell", 6, recurrent::lstm_cell),
    entry("matmul", 2, product::matmul),
    entry("max", 2, elementwise::binary),
    entry("maxPool2d", 1, pooling::pool),
    entry("min", 2, elementwise::binary),
    entry("mul", 2, elementwise::binary),
    entry("neg", 1, elementwise::unary),
    entry("notEqual", 2, elementwise::compare),
    entry("pad", 3, movement::pad),
    entry("pow", 2, elementwise::binary),
    entry("prelu", 2, activation::prelu),
    entry("quantizeLinear", 3, quantization::quantize),
    entry("reciprocal", 1, elementwise::unary),
    entry("reduceL1", 1, reduction::reduce),
    entry("reduceL2", 1, reduction::reduce),
    entry("reduceLogSum", 1, reduction::reduce),
    entry("reduceLogSumExp", 1, reduction::reduce),
    entry("reduceMax", 1, reduction::reduce),
    entry("reduceMean", 1, reduction::reduce),
    entry("reduceMin", 1, reduction::reduce),
    entry("reduceProduct", 1, reduction::reduce),
    entry("reduceSum", 1, reduction::reduce),
    entry("reduceSumSquare", 1, reduction::reduce),
    entry("relu", 1, elementwise::unary),
    entry("resample2d", 1, resample::resample2d),
    entry("reshape", 2, movement::reshape),
    entry("reverse", 1, movement::reverse),
    entry("roundEven", 1, elementwise::round_even),
    entry("scatterElements", 3, indexing::scatter_elements),
    entry("scatterND", 3, indexing::scatter_nd),
    entry("sigmoid", 1, activation::plain),
    entry("sign", 1, elementwise::sign),
    entry("sin", 1, elementwise::unary),
    entry("slice", 3, movement::slice),
    entry("softmax", 2, activation::softmax),
    entry("softplus", 1, activation::softplus),
    entry("softsign", 1, activation::softsign),
    entry("split", 2, movement::split),
    entry("sqrt", 1, elementwise::unary),
    entry("sub", 2, elementwise::binary),
    entry("tan", 1, elementwise::unary),
    entry("tanh", 1, activation::plain),
    entry("tile", 2, movement::tile),
    entry("transpose", 1, movement::transpose),
    entry("triangular", 1, movement::triangular),
    entry("where", 3, elementwise::choose),
];

/// The names of all operators.
pub const OPERATORS: [&str; ENTRIES.len()] = {
    let mut names = [""; ENTRIES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = ENTRIES[at].name;
        at += 1;
    }
    names
};

pub(crate) fn call(builder: &mut Builder, operator: &str, arguments: &[Value]) -> Outputs {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == operator) else {
        return refuse("there is no such operator");
    };
    rule(arguments.len() >= entry.required, || {
        let (given, wanted) = (arguments.len(), entry.required);
        format!("{given} arguments are given, {wanted} are required")
    })?;
    let none = BTreeMap::new();
    let options = match arguments.get(entry.required) {
        None | Some(Value::Undefined | Value::Null) => &none,
        Some(Value::Object(options)) => options,
        Some(_) => return refuse("the options are no dictionary"),
    };
    let mut call = Call {
        name: entry.name,
        builder,
        arguments,
        options,
    };
    (entry.make)(&mut call)
}

/// An operand among the arguments.
#[derive(Clone, Debug)]
struct In {
    value: ValueId,
    data_type: DataType,
    shape: Vec<usize>,
}

impl In {
    fn rank(&self) -> usize {
        self.shape.len()
    }
}

/// A call under way: its arguments and options by the names that the specification gives them.
struct Call<'a> {
    name: &'static str,
    builder: &'a mut Builder,
    arguments: &'a [Value],
    options: &'a BTreeMap<String, Value>,
}

impl<'a> Call<'a> {
    fn emit(&mut self) -> &mut Emit {
        self.builder.emit()
    }

    fn argument(&self, at: usize) -> &'a Value {
        // `call` has counted them.
        self.arguments.get(at).unwrap_or(&Value::Undefined)
    }

    fn read(&mut self, operand: Operand) -> Result<In, Fault> {
        let value = self.builder.value(operand)?;
        let descriptor = self.emit().descriptor(value)?;
        Ok(In {
            value,
            data_type: descriptor.data_type,
            shape: descriptor.shape,
        })
    }

    fn operand(&mut self, at: usize, name: &str) -> Result<In, Fault> {
        let operand = self.argument(at).operand(name)?;
        self.read(operand)
    }

    /// An operand of one of some types.
    fn operand_of(&mut self, at: usize, name: &str, types: &[DataType]) -> Result<In, Fault> {
        let x = self.operand(at, name)?;
        one_of(name, &x, types)?;
        Ok(x)
    }

    /// A float operand of some rank.
    fn float_of_rank(&mut self, at: usize, name: &str, rank: usize) -> Result<In, Fault> {
        let x = self.operand_of(at, name, DataType::FLOATS)?;
        ranked(name, &x, rank)?;
        Ok(x)
    }

    /// Another operand, whose type is that of `like`.
    fn operand_like(&mut self, at: usize, name: &str, like: &In) -> Result<In, Fault> {
        let x = self.operand(at, name)?;
        same_type(name, &x, like)?;
        Ok(x)
    }

    fn sizes(&self, at: usize, name: &str) -> Result<Vec<usize>, Fault> {
        self.argument(at).unsigned_longs(name)
    }

    fn option(&self, name: &str) -> Option<&'a Value> {
        let given = self.options.get(name);
        given.filter(|value| !matches!(value, Value::Undefined))
    }

    /// An operand among the options, of the type of `like` and of some shape.
    fn option_operand(
        &mut self,
        name: &str,
        like: &In,
        shape: &[usize],
    ) -> Result<Option<In>, Fault> {
        let Some(value) = self.option(name) else {
            return Ok(None);
        };
        let x = value.operand(name)?;
        let x = self.read(x)?;
        same_type(name, &x, like)?;
        shaped(name, &x, shape)?;
        Ok(Some(x))
    }

    fn option_sizes(&self, name: &str) -> Result<Option<Vec<usize>>, Fault> {
        let given = self.option(name);
        given.map(|value| value.unsigned_longs(name)).transpose()
    }

    /// A list of `N` numbers, or what stands for it.
    fn option_list<const N: usize>(
        &self,
        name: &str,
        default: [usize; N],
    ) -> Result<[usize; N], Fault> {
        match self.option_sizes(name)? {
            None => Ok(default),
            Some(list) => match <[usize; N]>::try_from(list) {
                Ok(list) => Ok(list),
                Err(list) => refuse(format!("{name}'s size is {}, not {N}", list.len())),
            },
        }
    }

    fn option_size(&self, name: &str, default: usize) -> Result<usize, Fault> {
        let given = self.option(name);
        given.map_or(Ok(default), |value| value.unsigned_long(name))
    }

    fn option_double(&self, name: &str, default: f64) -> Result<f64, Fault> {
        let given = self.option(name);
        given.map_or(Ok(default), |value| value.double(name))
    }

    fn option_flag(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, Value::boolean)
    }

    fn option_one_of<T: Copy>(
        &self,
        name: &str,
        values: &[(&str, T)],
        default: T,
    ) -> Result<T, Fault> {
        let given = self.option(name);
        given.map_or(Ok(default), |value| value.one_of(name, values))
    }
}

fn one_of(name: &str, x: &In, types: &[DataType]) -> Result<(), Fault> {
    rule(types.contains(&x.data_type), || {
        let types: Vec<&str> = types.iter().map(|t| t.name()).collect();
        let allowed = types.join(", ");
        let own = x.data_type;
        format!("{name}'s dataType {own} is not one of its allowed data types ({allowed})")
    })
}

fn same_type(name: &str, x: &In, like: &In) -> Result<(), Fault> {
    rule(x.data_type == like.data_type, || {
        let (own, other) = (x.data_type, like.data_type);
        format!("{name}'s dataType {own} is not equal to {other}")
    })
}

fn ranked(name: &str, x: &In, rank: usize) -> Result<(), Fault> {
    rule(x.rank() == rank, || {
        format!("{name}'s rank {} is not {rank}", x.rank())
    })
}

fn shaped(name: &str, x: &In, shape: &[usize]) -> Result<(), Fault> {
    rule(x.shape == shape, || {
        format!("{name}'s shape {:?} is not {shape:?}", x.shape)
    })
}

/// An axis of an operand.
fn axis_of(x: &In, axis: usize) -> Result<usize, Fault> {
    rule(axis < x.rank(), || {
        format!("axis {axis} is not less than the input's rank {}", x.rank())
    })?;
    Ok(axis)
}

/// Axes of an operand, each once.
fn axes_of(x: &In, axes: &[usize]) -> Result<(), Fault> {
    let mut seen = vec![false; x.rank()];
    for &axis in axes {
        let twice = std::mem::replace(&mut seen[axis_of(x, axis)?], true);
        rule(!twice, || format!("axes {axes:?} have {axis} twice"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_there_once_and_in_order() {
        let mut sorted = OPERATORS;
        sorted.sort_unstable_by_key(|name| name.to_lowercase());
        assert_eq!(sorted, OPERATORS);
        assert!(OPERATORS.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
