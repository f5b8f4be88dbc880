//! Dimensions with names, followed through shape arithmetic; and what asks for their sizes.

use fewbit_engine::graph::Bindings;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto,
};
use fewbit_onnx::{ImportError, ImportOptions, Imported, import};

use crate::files::{compute, floats, int, integers, model, node, read, tensor, value};

/// A value whose dimensions are names or numbers.
fn named(name: &str, data_type: DataType, dims: &[&str]) -> ValueInfoProto {
    let mut info = value(name, data_type, &[]);
    let dim = |dim: &&str| match dim.parse() {
        Ok(size) => Dimension {
            dim_value: Some(size),
            ..Dimension::default()
        },
        Err(_) => Dimension {
            dim_param: Some((*dim).to_owned()),
            ..Dimension::default()
        },
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    if let Some(tensor) = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
        tensor.shape = Some(shape);
    }
    info
}

fn file(
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: ValueInfoProto,
    output: ValueInfoProto,
) -> Vec<u8> {
    model(
        17,
        GraphProto {
            node: nodes,
            initializer,
            input: vec![input],
            output: vec![output],
            ..GraphProto::default()
        },
    )
}

fn scalar(name: &str, number: i64) -> TensorProto {
    tensor(name, &integers(&[number]).reshaped(&[]).unwrap())
}

fn counted(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let numbers: Vec<f32> = (0..count).map(|n| n as f32).collect();
    floats(shape, &numbers)
}

/// What the graph computes once its symbols have the sizes of `x`.
fn run(imported: &Imported, names: &[&str], x: &Tensor) -> Tensor {
    let sizes: Bindings = names
        .iter()
        .zip(x.shape())
        .map(|(name, &size)| ((*name).to_owned(), size))
        .collect();
    let fixed = Imported {
        graph: imported.graph.specialize(&sizes).unwrap(),
        source: read(&[0x3a, 0]).unwrap().source,
        counts: Vec::new(),
        rooms: Vec::new(),
        assumed: Vec::new(),
    };
    compute(&fixed, &[("x", x)]).remove("y").unwrap()
}

/// As exporters write `x.view(batch, tokens, 2, -1).transpose(1, 2)`.
fn heads() -> Vec<u8> {
    file(
        vec![
            node("Shape", &["x"], &["s"], vec![]),
            node("Gather", &["s", "zero"], &["b"], vec![]),
            node("Gather", &["s", "one"], &["t"], vec![]),
            node("Unsqueeze", &["b", "axes"], &["b1"], vec![]),
            node("Unsqueeze", &["t", "axes"], &["t1"], vec![]),
            node(
                "Concat",
                &["b1", "t1", "two", "rest"],
                &["to"],
                vec![int("axis", 0)],
            ),
            node("Reshape", &["x", "to"], &["y"], vec![]),
        ],
        vec![
            scalar("zero", 0),
            scalar("one", 1),
            tensor("axes", &integers(&[0])),
            tensor("two", &integers(&[2])),
            tensor("rest", &integers(&[-1])),
        ],
        named("x", DataType::F32, &["batch", "tokens", "6"]),
        named("y", DataType::F32, &["batch", "tokens", "2", "3"]),
    )
}

#[test]
fn shape_arithmetic_over_symbols_leaves_one_reshape() {
    let imported = read(&heads()).unwrap();
    assert_eq!(imported.graph.nodes.len(), 1, "{:?}", imported.graph.nodes);
    for shape in [[1, 1, 6], [2, 5, 6]] {
        let x = counted(&shape);
        let y = run(&imported, &["batch", "tokens"], &x);
        assert_eq!(y.shape(), [shape[0], shape[1], 2, 3]);
        assert_eq!(y.bytes(), x.bytes());
    }
}

/// Positions of as many tokens as there are, counted from three on, beside the tokens' number as a number.
#[test]
fn sizes_are_numbers_of_a_run_too() {
    let bytes = file(
        vec![
            node("Shape", &["x"], &["s"], vec![]),
            node("Gather", &["s", "zero"], &["t"], vec![]),
            node("Add", &["t", "three"], &["end"], vec![]),
            node("Range", &["three", "end", "one"], &["positions"], vec![]),
            node("Mul", &["positions", "t"], &["product"], vec![]),
            node("Cast", &["product"], &["floats"], vec![int("to", 1)]),
            node("Add", &["floats", "x"], &["y"], vec![]),
        ],
        vec![scalar("zero", 0), scalar("one", 1), scalar("three", 3)],
        named("x", DataType::F32, &["tokens"]),
        named("y", DataType::F32, &["tokens"]),
    );
    let imported = read(&bytes).unwrap();
    let y = run(&imported, &["tokens"], &counted(&[4]));
    assert_eq!(y.as_f32().unwrap(), [12.0, 17.0, 22.0, 27.0]);
    let y = run(&imported, &["tokens"], &counted(&[1]));
    assert_eq!(y.as_f32().unwrap(), [3.0]);
}

/// `Where(shape == -1, 1, shape)`: a size is never -1.
#[test]
fn what_no_size_can_be_is_decided_beforehand() {
    let bytes = file(
        vec![
            node("Shape", &["x"], &["s"], vec![]),
            node("Equal", &["s", "minus"], &["open"], vec![]),
            node("Where", &["open", "ones", "s"], &["to"], vec![]),
            node("Expand", &["one", "to"], &["spread"], vec![]),
            node("Add", &["spread", "x"], &["y"], vec![]),
        ],
        vec![
            tensor("minus", &integers(&[-1])),
            tensor("ones", &integers(&[1, 1])),
            tensor("one", &floats(&[1], &[1.0])),
        ],
        named("x", DataType::F32, &["rows", "columns"]),
        named("y", DataType::F32, &["rows", "columns"]),
    );
    let imported = read(&bytes).unwrap();
    let y = run(&imported, &["rows", "columns"], &counted(&[2, 2]));
    assert_eq!(y.as_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn bounds_of_slices_may_be_symbols() {
    let slice = |from: i64, until: i64| {
        file(
            vec![node(
                "Slice",
                &["x", "from", "until", "axis"],
                &["y"],
                vec![],
            )],
            vec![
                tensor("from", &integers(&[from])),
                tensor("until", &integers(&[until])),
                tensor("axis", &integers(&[0])),
            ],
            named("x", DataType::F32, &["tokens"]),
            named("y", DataType::F32, &["rest"]),
        )
    };
    let cases: [(i64, i64, &[f32]); 4] = [
        (1, i64::MAX, &[1.0, 2.0, 3.0, 4.0]),
        (0, -1, &[0.0, 1.0, 2.0, 3.0]),
        (-2, i64::MAX, &[3.0, 4.0]),
        (i64::MIN, 2, &[0.0, 1.0]),
    ];
    for (from, until, expected) in cases {
        let imported = read(&slice(from, until)).unwrap();
        let y = run(&imported, &["tokens"], &counted(&[5]));
        assert_eq!(y.as_f32().unwrap(), expected, "{from} {until}");
    }
    // Where ONNX would clamp, the graph is refused and not wrong.
    let imported = read(&slice(0, 3)).unwrap();
    let short = Bindings::from([("tokens".to_owned(), 2)]);
    assert!(imported.graph.specialize(&short).is_err());
    let options = ImportOptions {
        sizes: short,
        ..ImportOptions::default()
    };
    assert!(import(&slice(0, 3), "model.onnx", &options).is_ok());
}

#[test]
fn what_differs_from_size_to_size_asks_for_it() {
    let bytes = file(
        vec![node("Split", &["x"], &["y", "z"], vec![int("axis", 0)])],
        vec![],
        named("x", DataType::F32, &["tokens"]),
        named("y", DataType::F32, &["half"]),
    );
    match read(&bytes).unwrap_err() {
        ImportError::SizesNeeded { symbols, .. } => assert_eq!(symbols, ["tokens"]),
        other => panic!("{other}"),
    }
    let mut options = ImportOptions::default();
    options.sizes.insert("tokens".into(), 4);
    let imported = import(&bytes, "model.onnx", &options).unwrap();
    let y = &compute(&imported, &[("x", &counted(&[4]))])["y"];
    assert_eq!(y.as_f32().unwrap(), [0.0, 1.0]);
}
