//! 64-bit integers in pairs of words against the same graph with 64-bit integers, both by the scalar reference.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::tensor::{DataType as Element, Tensor};
use fewbit_webnn::{Builder, DataType, Descriptor, Operand, Value, pairs};

const SHAPE: [usize; 2] = [6, 6];

/// Numbers whose words carry, borrow and change sign.
fn numbers(turn: usize) -> Vec<u64> {
    let edges = [
        0,
        1,
        u64::MAX,
        1 << 63,
        i64::MAX as u64,
        1 << 32,
        0xffff_ffff,
        0x8000_0000,
        -3i64 as u64,
        0x0123_4567_89ab_cdef,
        0xfedc_ba98_7654_3210,
        0xffff_0000_ffff,
    ];
    (0..36)
        .map(|i| edges[(i * 7 + turn * 5 + i / 6) % edges.len()])
        .collect()
}

type Build = fn(&mut Builder, Operand, Operand) -> Operand;

fn call(builder: &mut Builder, name: &str, arguments: &[Value]) -> Operand {
    builder.call(name, arguments).unwrap()[0]
}

/// Both forms of a graph of two operands, over the same numbers.
fn both(data_type: DataType, build: Build) -> [Tensor; 2] {
    let mut builder = Builder::new();
    let descriptor = Descriptor::new(data_type, &SHAPE);
    let a = builder.input("a", &descriptor).unwrap();
    let b = builder.input("b", &descriptor).unwrap();
    let y = build(&mut builder, a, b);
    let built = builder.build(&[("y", y)]).unwrap();
    let split = pairs::split(&built.graph).unwrap();
    assert!(!pairs::needed(&split));
    let tensor = |turn| {
        let bytes: Vec<u8> = numbers(turn)
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        Tensor::from_bytes(data_type.engine(), &SHAPE, &bytes).unwrap()
    };
    let given = [("a", tensor(0)), ("b", tensor(1))];
    let words = given
        .clone()
        .map(|(name, x)| (name, pairs::to_words(&x).unwrap()));
    let run = |graph, given: &[(&str, Tensor)]| {
        let views: BTreeMap<String, View<'_>> = given
            .iter()
            .map(|(name, x)| ((*name).to_owned(), x.into()))
            .collect();
        evaluate_graph(graph, &views)
            .unwrap()
            .outputs
            .remove("y")
            .unwrap()
    };
    let whole = run(&built.graph, &given);
    let made = run(&split, &words);
    let made = pairs::from_words(&made, whole.data_type()).unwrap();
    [whole, made]
}

const BUILDS: &[(&str, Build)] = &[
    ("add", |g, a, b| call(g, "add", &[a.into(), b.into()])),
    ("sub", |g, a, b| call(g, "sub", &[a.into(), b.into()])),
    ("mul", |g, a, b| call(g, "mul", &[a.into(), b.into()])),
    ("max", |g, a, b| call(g, "max", &[a.into(), b.into()])),
    ("min", |g, a, b| call(g, "min", &[a.into(), b.into()])),
    ("equal", |g, a, b| call(g, "equal", &[a.into(), b.into()])),
    ("notEqual", |g, a, b| {
        call(g, "notEqual", &[a.into(), b.into()])
    }),
    ("greater", |g, a, b| {
        call(g, "greater", &[a.into(), b.into()])
    }),
    ("greaterOrEqual", |g, a, b| {
        call(g, "greaterOrEqual", &[a.into(), b.into()])
    }),
    ("lesser", |g, a, b| call(g, "lesser", &[a.into(), b.into()])),
    ("lesserOrEqual", |g, a, b| {
        call(g, "lesserOrEqual", &[a.into(), b.into()])
    }),
    ("where", |g, a, b| {
        let less = call(g, "lesser", &[a.into(), b.into()]);
        call(g, "where", &[less.into(), b.into(), a.into()])
    }),
    ("reduceSum", |g, a, _| call(g, "reduceSum", &[a.into()])),
    ("reduceSum of rows", |g, a, _| {
        call(
            g,
            "reduceSum",
            &[a.into(), [("axes", Value::from([1]))].into()],
        )
    }),
    ("reduceProduct", |g, a, _| {
        let options = [("axes", Value::from([0])), ("keepDimensions", true.into())];
        call(g, "reduceProduct", &[a.into(), options.into()])
    }),
    ("reduceSumSquare", |g, a, _| {
        call(g, "reduceSumSquare", &[a.into()])
    }),
    ("reduceL1", |g, a, _| {
        call(
            g,
            "reduceL1",
            &[a.into(), [("axes", Value::from([0]))].into()],
        )
    }),
    ("reduceMax", |g, a, _| {
        call(
            g,
            "reduceMax",
            &[a.into(), [("axes", Value::from([0]))].into()],
        )
    }),
    ("reduceMin", |g, a, _| call(g, "reduceMin", &[a.into()])),
    ("cumulativeSum", |g, a, _| {
        call(g, "cumulativeSum", &[a.into(), 1.0.into()])
    }),
    ("argMax", |g, a, _| {
        let options = [("outputDataType", Value::from("int64"))];
        call(g, "argMax", &[a.into(), 1.0.into(), options.into()])
    }),
    ("argMin", |g, a, _| {
        call(g, "argMin", &[a.into(), 0.0.into()])
    }),
    ("transpose", |g, a, _| call(g, "transpose", &[a.into()])),
    ("slice", |g, a, _| {
        let options = [("strides", Value::from([1, 2]))];
        let (starts, sizes) = (Value::from([1, 0]), Value::from([3, 5]));
        call(g, "slice", &[a.into(), starts, sizes, options.into()])
    }),
    ("concat", |g, a, b| {
        let both = Value::List(vec![a.into(), b.into()]);
        call(g, "concat", &[both, 1.0.into()])
    }),
    ("expand", |g, a, _| {
        call(g, "expand", &[a.into(), Value::from([2, 6, 6])])
    }),
    ("pad", |g, a, _| {
        let options = [("value", Value::BigInt(1 << 40))];
        let (before, after) = (Value::from([1, 0]), Value::from([0, 2]));
        call(g, "pad", &[a.into(), before, after, options.into()])
    }),
    ("clamp", |g, a, _| {
        let options = [
            ("minValue", Value::BigInt(5)),
            ("maxValue", Value::BigInt(1 << 40)),
        ];
        call(g, "clamp", &[a.into(), options.into()])
    }),
    ("cast to int32", |g, a, _| {
        call(g, "cast", &[a.into(), "int32".into()])
    }),
    ("cast to uint8", |g, a, _| {
        call(g, "cast", &[a.into(), "uint8".into()])
    }),
    ("through int32", |g, a, _| {
        let narrow = call(g, "cast", &[a.into(), "int32".into()]);
        call(g, "cast", &[narrow.into(), "uint64".into()])
    }),
    ("through uint8", |g, a, _| {
        let narrow = call(g, "cast", &[a.into(), "uint8".into()]);
        call(g, "cast", &[narrow.into(), "int64".into()])
    }),
    ("through float32", |g, a, _| {
        let narrow = call(g, "cast", &[a.into(), "float32".into()]);
        // Within both types, where a cast tells exactly.
        let most = [
            ("minValue", Value::from(-9e18)),
            ("maxValue", Value::from(9e18)),
        ];
        let narrow = call(g, "clamp", &[narrow.into(), most.into()]);
        call(g, "cast", &[narrow.into(), "int64".into()])
    }),
];

const SIGNED: &[(&str, Build)] = &[
    ("neg", |g, a, _| call(g, "neg", &[a.into()])),
    ("abs", |g, a, _| call(g, "abs", &[a.into()])),
    ("relu", |g, a, _| call(g, "relu", &[a.into()])),
    ("sign", |g, a, _| call(g, "sign", &[a.into()])),
    ("prelu", |g, a, b| call(g, "prelu", &[a.into(), b.into()])),
];

#[test]
fn pairs_give_what_64_bits_give() {
    let unsigned = BUILDS.iter().map(|build| (DataType::Uint64, build));
    let signed = BUILDS
        .iter()
        .chain(SIGNED)
        .map(|build| (DataType::Int64, build));
    for (data_type, (name, build)) in unsigned.chain(signed) {
        let [whole, made] = both(data_type, *build);
        if *name == "through float32" {
            // A float's neighbours are this far apart at most.
            let near = whole.to_f64_vec().into_iter().zip(made.to_f64_vec());
            for (a, b) in near {
                assert!(
                    (a - b).abs() <= a.abs() / f64::from(1 << 23),
                    "{data_type} {name}: {a} {b}"
                );
            }
            continue;
        }
        assert_eq!(whole.bytes(), made.bytes(), "{data_type} {name}");
        assert_eq!(whole.shape(), made.shape(), "{data_type} {name}");
    }
}

#[test]
fn what_has_no_form_in_words_is_named() {
    let mut builder = Builder::new();
    let descriptor = Descriptor::new(DataType::Int64, &[2]);
    let x = builder.input("x", &descriptor).unwrap();
    let y = call(&mut builder, "pow", &[x.into(), x.into()]);
    let built = builder.build(&[("y", y)]).unwrap();
    assert!(pairs::needed(&built.graph));
    let error = pairs::split(&built.graph).unwrap_err().to_string();
    assert!(error.starts_with("pow over 64-bit integers"), "{error}");
}

#[test]
fn what_is_no_pair_of_words_is_refused() {
    let odd = Tensor::zeros(Element::U32, &[3]).unwrap();
    assert!(pairs::from_words(&odd, Element::I64).is_err());
    assert_eq!(pairs::from_words(&odd, Element::U32).unwrap(), odd);
}
