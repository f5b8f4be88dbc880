//! Calls in short: arguments that are inputs to be made, or values.

use std::collections::BTreeMap;

use fewbit_webnn::{Builder, DataType, Descriptor, Exception, Operand, Value};

use DataType::Float32;

/// An argument: an input to be made, or a value.
#[derive(Clone)]
pub(crate) enum A {
    In(DataType, Vec<usize>),
    Many(Vec<(DataType, Vec<usize>)>),
    V(Value),
}

pub(crate) fn f(shape: &[usize]) -> A {
    A::In(Float32, shape.to_vec())
}

pub(crate) fn of(data_type: DataType, shape: &[usize]) -> A {
    A::In(data_type, shape.to_vec())
}

pub(crate) fn v(value: impl Into<Value>) -> A {
    A::V(value.into())
}

pub(crate) fn n(number: i32) -> A {
    A::V(Value::Number(number.into()))
}

pub(crate) fn input(
    builder: &mut Builder,
    made: &mut usize,
    data_type: DataType,
    shape: &[usize],
) -> Operand {
    *made += 1;
    let descriptor = Descriptor::new(data_type, shape);
    builder.input(&format!("x{made}"), &descriptor).unwrap()
}

pub(crate) fn value(builder: &mut Builder, made: &mut usize, argument: &A) -> Value {
    match argument {
        A::In(data_type, shape) => input(builder, made, *data_type, shape).into(),
        A::Many(inputs) => {
            let inputs = inputs.iter();
            let operands = inputs.map(|(t, shape)| input(builder, made, *t, shape).into());
            Value::List(operands.collect())
        }
        A::V(value) => value.clone(),
    }
}

pub(crate) type Options = Vec<(&'static str, A)>;

pub(crate) fn call(
    operator: &str,
    arguments: &[A],
    options: &Options,
) -> Result<usize, (Exception, String)> {
    let (mut builder, mut made) = (Builder::new(), 0);
    let mut values: Vec<Value> = arguments
        .iter()
        .map(|a| value(&mut builder, &mut made, a))
        .collect();
    let members: BTreeMap<String, Value> = options
        .iter()
        .map(|(name, a)| ((*name).to_owned(), value(&mut builder, &mut made, a)))
        .collect();
    if !members.is_empty() {
        values.push(Value::Object(members));
    }
    let result = builder.call(operator, &values);
    // Nothing is poisoned: another call goes on as before.
    let x = builder
        .input("after", &Descriptor::new(Float32, &[2]))
        .unwrap();
    builder.call("relu", &[x.into()]).unwrap();
    result.map(|made| made.len()).map_err(|error| {
        assert_eq!(error.method, operator);
        (error.exception, error.rule)
    })
}

/// A network of 1 direction, a batch of 1, 3 inputs and gates for 2 hidden units.
pub(crate) fn gru(steps: i32, hidden: i32) -> Vec<A> {
    vec![
        f(&[2, 1, 3]),
        f(&[1, 6, 3]),
        f(&[1, 6, 2]),
        n(steps),
        n(hidden),
    ]
}
