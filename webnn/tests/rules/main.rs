//! Every rule of the specification that a call can break, broken once; and that a broken call leaves the builder fit
//! for others.

mod call;
mod elements;
mod places;
mod structured;

use std::collections::BTreeMap;

use fewbit_webnn::{Builder, DataType, Descriptor, Exception, OPERATORS, Operand, Value};

use DataType::{Float32, Int64, Uint8};
use call::{A, Options, call, f, gru, n, v};

/// A call that breaks a rule, which the error must name by these words.
type Broken = (&'static str, Vec<A>, Options, &'static str);

#[test]
fn a_broken_rule_is_a_type_error_that_names_it() {
    for (operator, arguments, options, words) in elements::broken()
        .into_iter()
        .chain(places::broken())
        .chain(structured::broken())
    {
        match call(operator, &arguments, &options) {
            Ok(_) => panic!("{operator}: nothing is wrong, {words:?} should be"),
            Err((exception, rule)) => {
                assert_eq!(exception, Exception::TypeError, "{operator}: {rule}");
                assert!(
                    rule.contains(words),
                    "{operator}: {rule:?} without {words:?}"
                );
            }
        }
    }
}

#[test]
fn what_keeps_the_rules_is_built() {
    let x = || f(&[1, 4, 5, 5]);
    let kept: Vec<(&str, Vec<A>, Options, usize)> = vec![
        (
            "conv2d",
            vec![x(), f(&[2, 2, 3, 3])],
            vec![("groups", n(2))],
            1,
        ),
        ("split", vec![f(&[4]), v([1, 3])], vec![], 2),
        ("gru", gru(2, 2), vec![("returnSequence", v(true))], 2),
        (
            "lstm",
            vec![f(&[2, 1, 3]), f(&[1, 8, 3]), f(&[1, 8, 2]), n(2), n(2)],
            vec![("returnSequence", v(true))],
            3,
        ),
        ("maxPool2d", vec![x()], vec![], 1),
        (
            "clamp",
            vec![f(&[2])],
            vec![("minValue", n(1)), ("maxValue", n(1))],
            1,
        ),
    ];
    for (operator, arguments, options, outputs) in kept {
        let made = call(operator, &arguments, &options);
        assert_eq!(made, Ok(outputs), "{operator}");
    }
}

#[test]
fn operands_of_another_builder_are_refused() {
    let (mut one, mut other) = (Builder::new(), Builder::new());
    let descriptor = Descriptor::new(Float32, &[2]);
    let x = one.input("x", &descriptor).unwrap();
    let y = other.input("x", &descriptor).unwrap();
    let error = one.call("add", &[x.into(), y.into()]).unwrap_err();
    assert_eq!(error.exception, Exception::TypeError);
    assert!(error.rule.contains("another builder"));
    assert!(one.build(&[("y", y)]).is_err());
    assert_eq!(one.descriptor(y), None);
}

#[test]
fn inputs_and_constants_are_held_against_their_rules() {
    let mut builder = Builder::new();
    let of = |shape: &[usize]| Descriptor::new(Float32, shape);
    assert!(builder.input("", &of(&[1])).is_err());
    builder.input("x", &of(&[1])).unwrap();
    let error = builder.input("x", &of(&[1])).unwrap_err();
    assert!(
        error.to_string().starts_with("TypeError: input(): "),
        "{error}"
    );
    assert!(builder.input("y", &of(&[0])).is_err());
    assert!(builder.constant(&of(&[2]), &[0; 7]).is_err());
    assert!(builder.constant(&of(&[2]), &[0; 8]).is_ok());
    assert!(builder.number(Float32, &Value::Null).is_ok());
    assert!(
        builder
            .number(Float32, &Value::Object(BTreeMap::new()))
            .is_err()
    );
}

#[test]
fn a_graph_is_built_once_and_of_what_was_made() {
    let mut builder = Builder::new();
    let x = builder.input("x", &Descriptor::new(Float32, &[2])).unwrap();
    let spare = builder
        .input("spare", &Descriptor::new(Float32, &[2]))
        .unwrap();
    let y = builder.call("relu", &[x.into()]).unwrap()[0];
    // Reshaped to its own shape, the input is still no output of the page's.
    let same = builder
        .call("reshape", &[spare.into(), Value::from([2])])
        .unwrap()[0];
    for outputs in [&[][..], &[("", y)], &[("x", x)], &[("y", y), ("y", y)]] {
        let error = builder.build(outputs).unwrap_err();
        assert_eq!(error.exception, Exception::TypeError, "{outputs:?}");
    }
    assert!(builder.descriptor(same).is_some());
    let built = builder.build(&[("y", y)]).unwrap();
    assert_eq!(
        built.inputs,
        [("x".to_owned(), Descriptor::new(Float32, &[2]))]
    );
    let error = builder.call("relu", &[x.into()]).unwrap_err();
    assert_eq!(error.exception, Exception::InvalidStateError);
    assert!(builder.build(&[("y", y)]).is_err());
}

#[test]
fn no_arguments_make_any_operator_panic() {
    let values = |operand: Operand| {
        vec![
            Value::Undefined,
            Value::Null,
            Value::Number(0.0),
            Value::Number(4294967295.0),
            Value::Number(f64::NAN),
            Value::BigInt(i128::MAX),
            Value::Text("nchw".into()),
            Value::List(vec![]),
            Value::List(vec![Value::Number(4294967295.0); 4]),
            Value::List(vec![Value::Number(1.0), Value::Number(1.0)]),
            operand.into(),
        ]
    };
    const NAMES: [&str; 16] = [
        "axes",
        "axis",
        "padding",
        "strides",
        "dilations",
        "groups",
        "bias",
        "windowDimensions",
        "outputSizes",
        "outputPadding",
        "sizes",
        "scales",
        "permutation",
        "repetitions",
        "alpha",
        "minValue",
    ];
    for operator in OPERATORS {
        for (rank, data_type) in [
            (0, Float32),
            (2, Float32),
            (4, Float32),
            (4, Int64),
            (3, Uint8),
        ] {
            let mut builder = Builder::new();
            let shape = vec![2; rank];
            let x = builder
                .input("x", &Descriptor::new(data_type, &shape))
                .unwrap();
            // Either way will do, as long as it comes back.
            for second in values(x) {
                for count in 0..6 {
                    let mut arguments = vec![Value::from(x)];
                    arguments.extend(vec![second.clone(); count]);
                    let _ = builder.call(operator, &arguments);
                }
            }
            let ones = Value::List(vec![Value::Number(1.0); rank]);
            for (option, value) in NAMES
                .iter()
                .flat_map(|&o| values(x).into_iter().map(move |v| (o, v)))
            {
                let options = Value::from([(option, value)]);
                for second in [Value::from(x), ones.clone(), Value::Number(1.0)] {
                    for count in 0..3 {
                        let mut arguments = vec![Value::from(x)];
                        arguments.extend(vec![second.clone(); count]);
                        arguments.push(options.clone());
                        let _ = builder.call(operator, &arguments);
                    }
                }
            }
        }
    }
}
