//! Models whose inputs' numbers decide sizes, loaded without these numbers: what grows from token to token is not compiled for each.

use std::rc::Rc;

use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::Model;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::forward::Named;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{AttributeProto, AttributeType, GraphProto};
use fewbit_onnx::{ImportOptions, open_as_it_is};

use crate::files::{floats, int, integers, model, node, tensor, value};

/// Tokens that the cache has room for, the width of all vectors, tokens of the vocabulary.
const MOST: usize = 100;
const WIDTH: usize = 8;
const TOKENS: usize = 11;

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |n: usize| ((n * 37 + seed * 11) % 23) as f32 / 11.0 - 1.0;
    (0..count).map(number).collect()
}

fn square(seed: usize) -> Vec<f32> {
    numbers(WIDTH * WIDTH, seed)
}

/// A decoder of one layer that keeps keys and values in tables of [`MOST`] rows. Its input `position` says where the token is
/// written, how far attention looks, and which row of a table of positions is added.
fn decoder() -> Vec<u8> {
    let (width, most) = (WIDTH as i64, MOST as i64);
    model(
        13,
        GraphProto {
            node: vec![
                node("Gather", &["table", "id"], &["x"], vec![]),
                node("MatMul", &["x", "wq"], &["q"], vec![]),
                node("MatMul", &["x", "wk"], &["k"], vec![]),
                node("MatMul", &["x", "wv"], &["v"], vec![]),
                node("Reshape", &["position", "row"], &["start"], vec![]),
                node("Reshape", &["position", "cell"], &["place"], vec![]),
                node("Add", &["start", "one"], &["end"], vec![]),
                node("ScatterND", &["keys", "place", "k"], &["new_keys"], vec![]),
                node(
                    "ScatterND",
                    &["values", "place", "v"],
                    &["new_values"],
                    vec![],
                ),
                node(
                    "Slice",
                    &["new_keys", "zero", "end", "zero"],
                    &["seen"],
                    vec![],
                ),
                node(
                    "Slice",
                    &["new_values", "zero", "end", "zero"],
                    &["told"],
                    vec![],
                ),
                node("Transpose", &["seen"], &["turned"], vec![]),
                node("MatMul", &["q", "turned"], &["scores"], vec![]),
                node("Softmax", &["scores"], &["shares"], vec![int("axis", 1)]),
                node("MatMul", &["shares", "told"], &["mixed"], vec![]),
                node(
                    "Slice",
                    &["positions", "start", "end", "zero"],
                    &["here"],
                    vec![],
                ),
                node("Add", &["mixed", "here"], &["hidden"], vec![]),
                node(
                    "ReduceMax",
                    &["scores"],
                    &["best"],
                    vec![int("keepdims", 0)],
                ),
                node("MatMul", &["hidden", "head"], &["logits"], vec![]),
            ],
            initializer: vec![
                tensor(
                    "table",
                    &floats(&[TOKENS, WIDTH], &numbers(TOKENS * WIDTH, 1)),
                ),
                tensor("wq", &floats(&[WIDTH, WIDTH], &square(2))),
                tensor("wk", &floats(&[WIDTH, WIDTH], &square(3))),
                tensor("wv", &floats(&[WIDTH, WIDTH], &square(4))),
                tensor(
                    "positions",
                    &floats(&[MOST, WIDTH], &numbers(MOST * WIDTH, 5)),
                ),
                tensor(
                    "head",
                    &floats(&[WIDTH, TOKENS], &numbers(WIDTH * TOKENS, 6)),
                ),
                tensor("row", &integers(&[1])),
                tensor("cell", &integers(&[1, 1])),
                tensor("one", &integers(&[1])),
                tensor("zero", &integers(&[0])),
            ],
            input: vec![
                value("id", DataType::I64, &[1]),
                value("position", DataType::I64, &[]),
                value("keys", DataType::F32, &[most, width]),
                value("values", DataType::F32, &[most, width]),
            ],
            output: vec![
                value("logits", DataType::F32, &[1, TOKENS as i64]),
                value("best", DataType::F32, &[]),
                value("new_keys", DataType::F32, &[most, width]),
                value("new_values", DataType::F32, &[most, width]),
            ],
            ..GraphProto::default()
        },
    )
}

fn times(x: &[f32], matrix: &[f32]) -> Vec<f64> {
    let columns = matrix.len() / x.len();
    let sum = |column: usize| {
        let terms = x.iter().enumerate();
        terms
            .map(|(row, &x)| f64::from(x) * f64::from(matrix[row * columns + column]))
            .sum()
    };
    (0..columns).map(sum).collect()
}

/// The same in plain loops: `logits` after the last of `ids`, and the best score of it.
fn expected(ids: &[usize]) -> (Vec<f64>, f64) {
    let table = numbers(TOKENS * WIDTH, 1);
    let row = |id: usize| &table[id * WIDTH..(id + 1) * WIDTH];
    let last = ids.len() - 1;
    let q = times(row(ids[last]), &square(2));
    let scores: Vec<f64> = ids
        .iter()
        .map(|&id| {
            let key = times(row(id), &square(3));
            key.iter().zip(&q).map(|(k, q)| k * q).sum()
        })
        .collect();
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = scores.iter().map(|score| (score - best).exp()).collect();
    let sum: f64 = shares.iter().sum();
    let positions = numbers(MOST * WIDTH, 5);
    let mut hidden: Vec<f32> = positions[last * WIDTH..(last + 1) * WIDTH].to_vec();
    for (&id, share) in ids.iter().zip(&shares) {
        let value = times(row(id), &square(4));
        for (hidden, value) in hidden.iter_mut().zip(value) {
            *hidden += (share / sum * value) as f32;
        }
    }
    (times(&hidden, &numbers(WIDTH * TOKENS, 6)), best)
}

fn files(bytes: Vec<u8>) -> ModelFiles {
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("m.onnx", bytes));
    ModelFiles::new(vec![source])
}

fn load(bytes: Vec<u8>) -> Model {
    let files = files(bytes);
    let device = CpuDevice::new(CpuOptions {
        policy: NumericPolicy::default(),
        kernels: Kernels::best(),
        parallel: Rc::new(Serial),
    });
    pollster::block_on(async {
        let open = open_as_it_is(&files, &ImportOptions::default())
            .await
            .unwrap();
        // As a page gets it, through bytes.
        let bytes = open.to_bytes(&files).await.unwrap();
        let open = fewbit_engine::task::checkpoint::OpenModel::from_bytes(bytes, &files).unwrap();
        let mut on_upload = |_| std::ops::ControlFlow::Continue(());
        let device = Box::new(device);
        Model::open(&files, open, device, &mut on_upload)
            .await
            .unwrap()
    })
}

fn forward(model: &mut Model, inputs: &[(&str, Tensor)]) -> Result<Named, String> {
    let inputs = inputs
        .iter()
        .map(|(name, t)| ((*name).to_owned(), t.clone()));
    pollster::block_on(model.forward(&inputs.collect(), &[])).map_err(|e| e.to_string())
}

#[test]
fn a_growing_length_is_not_compiled_token_by_token() {
    let mut model = load(decoder());
    let mut cache = [0; 2].map(|_| Tensor::zeros(DataType::F32, &[MOST, WIDTH]).unwrap());
    let mut ids = Vec::new();
    for at in 0..MOST {
        ids.push((at * 7 + at / 3) % TOKENS);
        let [keys, values] = cache;
        let inputs = [
            ("id", integers(&[ids[at] as i64])),
            ("position", Tensor::from_i64(&[], &[at as i64]).unwrap()),
            ("keys", keys),
            ("values", values),
        ];
        let mut made = forward(&mut model, &inputs).unwrap();
        let (logits, best) = expected(&ids);
        for (got, wanted) in made["logits"].to_f64_vec().iter().zip(&logits) {
            assert!((got - wanted).abs() < 1e-4, "{at}: {got}, not {wanted}");
        }
        assert!((made["best"].to_f64_vec()[0] - best).abs() < 1e-4, "{at}");
        cache = ["new_keys", "new_values"].map(|name| made.remove(name).unwrap());
    }
    // For 32, 64 and 100 tokens.
    assert_eq!(model.session().compilations(), 3);
    let beyond = Tensor::from_i64(&[], &[MOST as i64]).unwrap();
    let [keys, values] = cache;
    let id = integers(&[0]);
    let inputs = [
        ("id", id),
        ("position", beyond),
        ("keys", keys),
        ("values", values),
    ];
    let refused = forward(&mut model, &inputs).unwrap_err();
    assert!(refused.contains("more than 100"), "{refused}");
}

/// `y = Reshape(x, to)`, and `z`, as many numbers as `count` says.
fn shaped() -> Vec<u8> {
    model(
        13,
        GraphProto {
            node: vec![
                node("Reshape", &["x", "to"], &["y"], vec![]),
                node("Range", &["zero", "count", "one"], &["z"], vec![]),
            ],
            initializer: vec![
                tensor("zero", &Tensor::from_i64(&[], &[0]).unwrap()),
                tensor("one", &Tensor::from_i64(&[], &[1]).unwrap()),
            ],
            input: vec![
                value("x", DataType::F32, &[-1, 4]),
                value("to", DataType::I64, &[2]),
                value("count", DataType::I64, &[]),
            ],
            output: vec![
                value("y", DataType::F32, &[-1, -1]),
                value("z", DataType::I64, &[-1]),
            ],
            ..GraphProto::default()
        },
    )
}

/// Sizes that come out of a graph are exact: there is a plan for each, and the last ones are kept.
#[test]
fn numbers_that_are_sizes_of_outputs_need_not_be_known_beforehand() {
    let mut model = load(shaped());
    let inputs = |to: [i64; 2], count: i64| {
        [
            ("x", floats(&[3, 4], &numbers(12, 1))),
            ("to", integers(&to)),
            ("count", Tensor::from_i64(&[], &[count]).unwrap()),
        ]
    };
    for _ in 0..3 {
        for (to, count) in [([2, 6], 0), ([6, 2], 3), ([12, 1], 7)] {
            let made = forward(&mut model, &inputs(to, count)).unwrap();
            assert_eq!(made["y"].shape(), to.map(|size| size as usize));
            assert_eq!(made["y"].as_f32().unwrap(), numbers(12, 1));
            let counted: Vec<f64> = (0..count).map(|n| n as f64).collect();
            assert_eq!(made["z"].to_f64_vec(), counted);
        }
    }
    assert_eq!(model.session().compilations(), 3);
    for (to, told) in [([-1, 4], "-1 is no size"), ([5, 2], "reshape")] {
        let refused = forward(&mut model, &inputs(to, 1)).unwrap_err();
        assert!(refused.contains(told), "{refused}");
    }
    // As whoever loads a model goes on: with a graph for these numbers.
    assert_eq!(model.goes_by(), ["to", "to", "count"]);
    let given = inputs([-1, 4], 2);
    let values = given[1..].iter();
    let options = ImportOptions {
        values: values
            .map(|(name, t)| ((*name).to_owned(), t.clone()))
            .collect(),
        ..ImportOptions::default()
    };
    let open = pollster::block_on(open_as_it_is(&files(shaped()), &options)).unwrap();
    pollster::block_on(model.add(open)).unwrap();
    for _ in 0..2 {
        let made = forward(&mut model, &given).unwrap();
        assert_eq!(made["y"].shape(), [3, 4]);
        assert_eq!(made["z"].to_f64_vec(), [0.0, 1.0]);
        let made = forward(&mut model, &inputs([6, 2], 3)).unwrap();
        assert_eq!(made["y"].shape(), [6, 2]);
    }
    let refused = forward(&mut model, &inputs([-1, 3], 2)).unwrap_err();
    assert!(refused.contains("other numbers in"), "{refused}");
}

/// `y = x + 1` where `up` holds, else `x − 1`, in another shape.
fn chosen() -> Vec<u8> {
    let branch = |name: &str, op: &str, to: &str| GraphProto {
        name: Some(name.to_owned()),
        node: vec![
            node(op, &["x", "one"], &[&format!("{name}.y")], vec![]),
            node("Reshape", &[&format!("{name}.y"), to], &[name], vec![]),
        ],
        output: vec![value(name, DataType::F32, &[-1, -1])],
        ..GraphProto::default()
    };
    let attribute = |name: &str, graph| AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph.into()),
        g: Some(graph),
        ..AttributeProto::default()
    };
    let branches = vec![
        attribute("then_branch", branch("more", "Add", "wide")),
        attribute("else_branch", branch("less", "Sub", "high")),
    ];
    model(
        13,
        GraphProto {
            node: vec![node("If", &["up"], &["y"], branches)],
            initializer: vec![
                tensor("one", &floats(&[], &[1.0])),
                tensor("wide", &integers(&[1, 4])),
                tensor("high", &integers(&[4, 1])),
            ],
            input: vec![
                value("up", DataType::Bool, &[1]),
                value("x", DataType::F32, &[2, 2]),
            ],
            output: vec![value("y", DataType::F32, &[-1, -1])],
            ..GraphProto::default()
        },
    )
}

/// What cannot be a symbol is assumed until it is given.
#[test]
fn a_branch_is_taken_by_what_is_given() {
    let mut model = load(chosen());
    let inputs = |up: u8| {
        let up = Tensor::from_bytes(DataType::Bool, &[1], &[up]).unwrap();
        [("up", up), ("x", floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))]
    };
    let made = forward(&mut model, &inputs(0)).unwrap();
    assert_eq!(made["y"].shape(), [4, 1]);
    let refused = forward(&mut model, &inputs(1)).unwrap_err();
    assert!(refused.contains("other numbers in up"), "{refused}");
    let values = [("up".to_owned(), inputs(1)[0].1.clone())];
    let options = ImportOptions {
        values: values.into(),
        ..ImportOptions::default()
    };
    let open = pollster::block_on(open_as_it_is(&files(chosen()), &options)).unwrap();
    pollster::block_on(model.add(open)).unwrap();
    for _ in 0..3 {
        let made = forward(&mut model, &inputs(1)).unwrap();
        assert_eq!(made["y"].as_f32().unwrap(), [2.0, 3.0, 4.0, 5.0]);
        let made = forward(&mut model, &inputs(0)).unwrap();
        assert_eq!(made["y"].as_f32().unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }
    assert_eq!(model.session().compilations(), 2);
}
