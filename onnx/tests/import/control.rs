//! Control flow, written out.

use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, ValueInfoProto};
use fewbit_onnx::{ImportError, ImportOptions, import};

use crate::files::{compute, floats, integers, model, node, read, tensor, value};

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph.into()),
        g: Some(graph),
        ..AttributeProto::default()
    }
}

/// `x + w` with an initializer `w` of the branch's own; both branches have one of that name.
fn branch(times: f32, size: usize) -> GraphProto {
    GraphProto {
        node: vec![node("Add", &["x", "w"], &["z"], vec![])],
        initializer: vec![tensor("w", &floats(&[size], &vec![times; size]))],
        output: vec![named("z")],
        ..GraphProto::default()
    }
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        ..ValueInfoProto::default()
    }
}

fn choice(yes: GraphProto, no: GraphProto, size: i64) -> Vec<u8> {
    let bodies = vec![body("then_branch", yes), body("else_branch", no)];
    model(
        16,
        GraphProto {
            node: vec![node("If", &["c"], &["y"], bodies)],
            input: vec![
                value("x", DataType::F32, &[size]),
                value("c", DataType::Bool, &[]),
            ],
            output: vec![value("y", DataType::F32, &[size])],
            ..GraphProto::default()
        },
    )
}

fn flag(value: bool) -> Tensor {
    Tensor::from_bytes(DataType::Bool, &[], &[value.into()]).unwrap()
}

/// Large enough for the branches' initializers to be weights, whose names must not meet.
#[test]
fn a_condition_that_is_not_known_chooses_when_the_graph_runs() {
    let size = 2000;
    let bytes = choice(branch(1.0, size), branch(10.0, size), size as i64);
    let imported = read(&bytes).unwrap();
    assert_eq!(imported.source.checkpoint.tensors.len(), 2);
    let x = floats(&[size], &vec![5.0; size]);
    for (condition, expected) in [(true, 6.0), (false, 15.0)] {
        let y = compute(&imported, &[("x", &x), ("c", &flag(condition))]);
        assert!(y["y"].as_f32().unwrap().iter().all(|&v| v == expected));
    }
}

#[test]
fn a_branch_of_another_shape_wants_the_condition_beforehand() {
    let short = GraphProto {
        node: vec![node("ReduceSum", &["x"], &["z"], vec![])],
        output: vec![named("z")],
        ..GraphProto::default()
    };
    let bytes = choice(branch(1.0, 2), short, 2);
    match read(&bytes).unwrap_err() {
        ImportError::ValueNeeded { inputs, .. } => assert_eq!(inputs, ["c"]),
        other => panic!("{other}"),
    }
    let mut options = ImportOptions::default();
    options.values.insert("c".into(), flag(true));
    let imported = import(&bytes, "model.onnx", &options).unwrap();
    let y = compute(&imported, &[("x", &floats(&[2], &[1.0, 2.0]))]);
    assert_eq!(y["y"].as_f32().unwrap(), [2.0, 3.0]);
}

/// The running sum of `x` by itself, and the sums on the way.
fn rounds(condition: &str) -> NodeProto {
    let graph = GraphProto {
        node: vec![
            node("Add", &["s", "x"], &["t"], vec![]),
            node("Identity", &["t"], &["part"], vec![]),
            node("Less", &["i", "last"], &["go"], vec![]),
        ],
        initializer: vec![tensor("last", &integers(&[1]).reshaped(&[]).unwrap())],
        input: vec![named("i"), named("c"), named("s")],
        output: vec![named("go"), named("t"), named("part")],
        ..GraphProto::default()
    };
    let inputs = ["n", condition, "x"];
    node("Loop", &inputs, &["y", "parts"], vec![body("body", graph)])
}

fn looped(node: NodeProto, count: i64) -> Vec<u8> {
    model(
        16,
        GraphProto {
            node: vec![node],
            initializer: vec![
                tensor("n", &integers(&[count]).reshaped(&[]).unwrap()),
                tensor("yes", &flag(true)),
            ],
            input: vec![value("x", DataType::F32, &[1])],
            output: vec![
                value("y", DataType::F32, &[1]),
                value("parts", DataType::F32, &[-1, 1]),
            ],
            ..GraphProto::default()
        },
    )
}

#[test]
fn a_loop_goes_round_as_often_as_it_says() {
    let x = floats(&[1], &[2.0]);
    // Three rounds by count; two where the condition is asked, which says no after the round of number 1.
    for (condition, parts) in [("", vec![4.0, 6.0, 8.0]), ("yes", vec![4.0, 6.0])] {
        let imported = read(&looped(rounds(condition), 3)).unwrap();
        let y = compute(&imported, &[("x", &x)]);
        assert_eq!(y["parts"].as_f32().unwrap(), parts);
        assert_eq!(y["y"].as_f32().unwrap(), &parts[parts.len() - 1..]);
    }
}

#[test]
fn a_loop_without_end_is_refused() {
    let error = read(&looped(rounds(""), i64::MAX)).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    // In one another: each by itself is small.
    let mut inner = rounds("");
    for _ in 0..4 {
        let graph = GraphProto {
            node: vec![inner, node("Identity", &["y"], &["u"], vec![])],
            input: vec![named("i"), named("c"), named("s")],
            output: vec![named("c"), named("u"), named("u")],
            ..GraphProto::default()
        };
        inner = node(
            "Loop",
            &["n", "", "x"],
            &["y", "parts"],
            vec![body("body", graph)],
        );
    }
    let error = read(&looped(inner, 1000)).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
}

#[test]
fn an_operator_that_only_a_body_has_is_named() {
    let inside = GraphProto {
        node: vec![node("Fold", &["x"], &["z"], vec![])],
        output: vec![named("z")],
        ..GraphProto::default()
    };
    let error = read(&choice(branch(1.0, 2), inside, 2)).unwrap_err();
    let ImportError::Unsupported { operators, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(operators[0].op_type, "Fold");
}

#[test]
fn a_scan_takes_rows_and_puts_them_together() {
    let graph = GraphProto {
        node: vec![
            node("Add", &["s", "r"], &["t"], vec![]),
            node("Mul", &["r", "t"], &["p"], vec![]),
        ],
        input: vec![named("s"), named("r")],
        output: vec![named("t"), named("p")],
        ..GraphProto::default()
    };
    let count = crate::files::int("num_scan_inputs", 1);
    let scan = node(
        "Scan",
        &["z", "x"],
        &["y", "parts"],
        vec![body("body", graph), count],
    );
    let bytes = model(
        16,
        GraphProto {
            node: vec![scan],
            initializer: vec![tensor("z", &floats(&[1], &[0.0]))],
            input: vec![value("x", DataType::F32, &[3, 1])],
            output: vec![
                value("y", DataType::F32, &[1]),
                value("parts", DataType::F32, &[3, 1]),
            ],
            ..GraphProto::default()
        },
    );
    let imported = read(&bytes).unwrap();
    let y = compute(&imported, &[("x", &floats(&[3, 1], &[1.0, 2.0, 3.0]))]);
    assert_eq!(y["y"].as_f32().unwrap(), [6.0]);
    assert_eq!(y["parts"].as_f32().unwrap(), [1.0, 6.0, 18.0]);
}
