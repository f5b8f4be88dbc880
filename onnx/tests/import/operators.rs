//! What files compute, with numbers worked out by hand.

use fewbit_engine::graph::Bindings;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::GraphProto;
use fewbit_onnx::{ImportError, ImportOptions, import};

use crate::files::{compute, floats, int, integers, model, node, read, tensor, value};

#[test]
fn a_linear_layer_over_a_named_batch() {
    let bytes = model(
        13,
        GraphProto {
            node: vec![
                node("Gemm", &["x", "w", "b"], &["h"], vec![int("transB", 1)]),
                node("Relu", &["h"], &["y"], vec![]),
            ],
            initializer: vec![
                tensor("w", &floats(&[2, 3], &[1.0, 2.0, 3.0, -1.0, -2.0, -3.0])),
                tensor("b", &floats(&[2], &[0.5, 0.5])),
            ],
            input: vec![value("x", DataType::F32, &[-1, 3])],
            output: vec![value("y", DataType::F32, &[-1, 2])],
            ..GraphProto::default()
        },
    );
    let mut imported = read(&bytes).unwrap();
    assert!(imported.graph.symbols().contains("xs"));
    let sizes = Bindings::from([("xs".to_owned(), 1)]);
    imported.graph = imported.graph.specialize(&sizes).unwrap();
    let y = compute(&imported, &[("x", &floats(&[1, 3], &[1.0, 1.0, 1.0]))]);
    assert_eq!(y["y"].as_f32().unwrap(), [6.5, 0.0]);
}

/// As exporters write `x.view(x.shape[0], -1)`: nothing of it is left for the run.
#[test]
fn shape_arithmetic_is_computed_beforehand() {
    let bytes = model(
        13,
        GraphProto {
            node: vec![
                node("Shape", &["x"], &["s"], vec![]),
                node("Gather", &["s", "zero"], &["n"], vec![]),
                node("Unsqueeze", &["n", "axes"], &["n1"], vec![]),
                node("Concat", &["n1", "rest"], &["to"], vec![int("axis", 0)]),
                node("Reshape", &["x", "to"], &["y"], vec![]),
            ],
            initializer: vec![
                tensor("zero", &integers(&[0]).reshaped(&[]).unwrap()),
                tensor("axes", &integers(&[0])),
                tensor("rest", &integers(&[-1])),
            ],
            input: vec![value("x", DataType::F32, &[2, 1, 3])],
            output: vec![value("y", DataType::F32, &[2, 3])],
            ..GraphProto::default()
        },
    );
    let imported = read(&bytes).unwrap();
    let graph = fewbit_engine::graph::pass::prune_inputs(&imported.graph);
    assert_eq!(graph.nodes.len(), 1, "{:?}", graph.nodes);
    let x = floats(&[2, 1, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(compute(&imported, &[("x", &x)])["y"].shape(), [2, 3]);
}

#[test]
fn an_input_that_decides_a_shape_is_asked_for() {
    let bytes = model(
        13,
        GraphProto {
            node: vec![node("Expand", &["x", "to"], &["y"], vec![])],
            input: vec![
                value("x", DataType::F32, &[1]),
                value("to", DataType::I64, &[2]),
            ],
            output: vec![value("y", DataType::F32, &[-1, -1])],
            ..GraphProto::default()
        },
    );
    match read(&bytes).unwrap_err() {
        ImportError::ValueNeeded { inputs, .. } => assert_eq!(inputs, ["to"]),
        other => panic!("{other}"),
    }
    let mut options = ImportOptions::default();
    options.values.insert("to".into(), integers(&[2, 2]));
    let imported = import(&bytes, "model.onnx", &options).unwrap();
    let y = compute(&imported, &[("x", &floats(&[1], &[7.0]))]);
    assert_eq!(y["y"].as_f32().unwrap(), [7.0; 4]);
    options.values.insert("to".into(), integers(&[2]));
    assert!(import(&bytes, "model.onnx", &options).is_err());
}

/// Before operator set 13 a softmax goes over all axes from one on.
#[test]
fn the_version_of_the_operator_set_counts() {
    let bytes = |opset| {
        model(
            opset,
            GraphProto {
                node: vec![node("Softmax", &["x"], &["y"], vec![int("axis", 1)])],
                input: vec![value("x", DataType::F32, &[1, 2, 2])],
                output: vec![value("y", DataType::F32, &[1, 2, 2])],
                ..GraphProto::default()
            },
        )
    };
    let x = floats(&[1, 2, 2], &[0.0; 4]);
    for (opset, each) in [(11, 0.25), (13, 0.5)] {
        let imported = read(&bytes(opset)).unwrap();
        let y = compute(&imported, &[("x", &x)]);
        assert_eq!(y["y"].as_f32().unwrap(), [each; 4], "{opset}");
    }
}

#[test]
fn bool_goes_in_and_out_as_bool() {
    let bytes = model(
        13,
        GraphProto {
            node: vec![
                node("Not", &["c"], &["n"], vec![]),
                node("Where", &["n", "a", "b"], &["y"], vec![]),
            ],
            initializer: vec![
                tensor("a", &floats(&[], &[1.0])),
                tensor("b", &floats(&[], &[2.0])),
            ],
            input: vec![value("c", DataType::Bool, &[2])],
            output: vec![
                value("n", DataType::Bool, &[2]),
                value("y", DataType::F32, &[2]),
            ],
            ..GraphProto::default()
        },
    );
    let c = Tensor::from_bytes(DataType::Bool, &[2], &[1, 0]).unwrap();
    let out = compute(&read(&bytes).unwrap(), &[("c", &c)]);
    assert_eq!(out["n"].data_type(), DataType::Bool);
    assert_eq!(out["n"].bytes(), [0, 1]);
    assert_eq!(out["y"].as_f32().unwrap(), [2.0, 1.0]);
}

/// 1.5 and 2.5 are halves, which go to the even number; 300 is beyond u8.
#[test]
fn quantizing_rounds_halves_to_even_and_saturates() {
    let zero = Tensor::from_bytes(DataType::U8, &[], &[10]).unwrap();
    let bytes = model(
        13,
        GraphProto {
            node: vec![
                node("QuantizeLinear", &["x", "s", "z"], &["q"], vec![]),
                node("DequantizeLinear", &["q", "s", "z"], &["y"], vec![]),
            ],
            initializer: vec![tensor("s", &floats(&[], &[2.0])), tensor("z", &zero)],
            input: vec![value("x", DataType::F32, &[4])],
            output: vec![
                value("q", DataType::U8, &[4]),
                value("y", DataType::F32, &[4]),
            ],
            ..GraphProto::default()
        },
    );
    let x = floats(&[4], &[3.0, 5.0, 600.0, -600.0]);
    let out = compute(&read(&bytes).unwrap(), &[("x", &x)]);
    assert_eq!(out["q"].bytes(), [12, 12, 255, 0]);
    assert_eq!(out["y"].as_f32().unwrap(), [4.0, 4.0, 490.0, -20.0]);
}

/// More terms than f32 sums exactly at once: 300 products of 255 · 255 and one of 1.
#[test]
fn products_of_small_integers_are_exact() {
    let terms = 301;
    let mut left = vec![255u8; terms];
    left[0] = 1;
    let right: Vec<u8> = left.iter().map(|&v| if v == 1 { 1 } else { 255 }).collect();
    let bytes = model(
        13,
        GraphProto {
            node: vec![node("MatMulInteger", &["x", "w"], &["y"], vec![])],
            input: vec![
                value("x", DataType::U8, &[1, terms as i64]),
                value("w", DataType::U8, &[terms as i64, 1]),
            ],
            output: vec![value("y", DataType::I32, &[1, 1])],
            ..GraphProto::default()
        },
    );
    let x = Tensor::from_bytes(DataType::U8, &[1, terms], &left).unwrap();
    let w = Tensor::from_bytes(DataType::U8, &[terms, 1], &right).unwrap();
    let y = compute(&read(&bytes).unwrap(), &[("x", &x), ("w", &w)]);
    assert_eq!(y["y"].as_i32().unwrap(), [300 * 255 * 255 + 1]);
}

/// Two elements a byte, the first in its lower half; kept as they are, and back from a float with their lower bits.
#[test]
fn four_bit_integers_are_read_and_made() {
    let packed = fewbit_onnx::proto::TensorProto {
        dims: vec![3],
        data_type: Some(fewbit_onnx::proto::data_type_number(DataType::I4)),
        name: Some("w".into()),
        raw_data: Some(vec![0x8f, 0x07]),
        ..Default::default()
    };
    let to = |data_type| {
        let number = fewbit_onnx::proto::data_type_number(data_type);
        vec![int("to", number.into())]
    };
    let bytes = model(
        21,
        GraphProto {
            node: vec![
                node("Cast", &["w"], &["f"], to(DataType::F32)),
                node("Add", &["f", "x"], &["y"], vec![]),
                node("Cast", &["y"], &["n"], to(DataType::U4)),
            ],
            initializer: vec![packed],
            input: vec![value("x", DataType::F32, &[3])],
            output: vec![
                value("y", DataType::F32, &[3]),
                value("n", DataType::U4, &[3]),
            ],
            ..GraphProto::default()
        },
    );
    let y = compute(
        &read(&bytes).unwrap(),
        &[("x", &floats(&[3], &[0.0, 0.0, 10.0]))],
    );
    assert_eq!(y["y"].as_f32().unwrap(), [-1.0, -8.0, 17.0]);
    assert_eq!(y["n"].to_f64_vec(), [15.0, 8.0, 1.0]);
}

#[test]
fn what_is_scattered_and_what_is_greatest() {
    let bytes = model(
        18,
        GraphProto {
            node: vec![
                node(
                    "ScatterElements",
                    &["x", "at", "u"],
                    &["s"],
                    vec![int("axis", 1)],
                ),
                node("TopK", &["s", "k"], &["y", "places"], vec![]),
            ],
            initializer: vec![
                tensor("at", &Tensor::from_i64(&[1, 2], &[-1, 0]).unwrap()),
                tensor("k", &integers(&[2])),
            ],
            input: vec![
                value("x", DataType::F32, &[2, 3]),
                value("u", DataType::F32, &[1, 2]),
            ],
            output: vec![
                value("y", DataType::F32, &[2, 2]),
                value("places", DataType::I64, &[2, 2]),
            ],
            ..GraphProto::default()
        },
    );
    let x = floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = compute(
        &read(&bytes).unwrap(),
        &[("x", &x), ("u", &floats(&[1, 2], &[9.0, 2.0]))],
    );
    assert_eq!(y["y"].as_f32().unwrap(), [9.0, 2.0, 6.0, 5.0]);
    assert_eq!(y["places"].to_f64_vec(), [2.0, 0.0, 2.0, 1.0]);
}

/// One unit, weights of 1 and no bias: `h ← tanh(x + h)`, from the end on in the second direction, and of the second row
/// only the first step.
#[test]
fn a_recurrent_layer_stops_where_its_sequences_do() {
    let direction = fewbit_onnx::proto::AttributeProto {
        name: Some("direction".into()),
        r#type: Some(fewbit_onnx::proto::AttributeType::String.into()),
        s: Some(b"bidirectional".to_vec()),
        ..Default::default()
    };
    let bytes = model(
        14,
        GraphProto {
            node: vec![node(
                "RNN",
                &["x", "w", "w", "", "lengths"],
                &["y", "last"],
                vec![direction, int("hidden_size", 1)],
            )],
            initializer: vec![
                tensor("w", &floats(&[2, 1, 1], &[1.0, 1.0])),
                tensor("lengths", &Tensor::from_i32(&[2], &[2, 1]).unwrap()),
            ],
            input: vec![value("x", DataType::F32, &[2, 2, 1])],
            output: vec![
                value("y", DataType::F32, &[2, 2, 2, 1]),
                value("last", DataType::F32, &[2, 2, 1]),
            ],
            ..GraphProto::default()
        },
    );
    let x = floats(&[2, 2, 1], &[0.5, 0.25, 1.0, 9.0]);
    let y = compute(&read(&bytes).unwrap(), &[("x", &x)]);
    let (half, quarter) = (0.5f32.tanh(), 0.25f32.tanh());
    let (forth, end) = ((1.0 + half).tanh(), 1f32.tanh());
    let back = (0.5 + end).tanh();
    let near = |got: &Tensor, expected: &[f32]| {
        let got = got.as_f32().unwrap();
        let close = got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(
            close && got.len() == expected.len(),
            "{got:?}, {expected:?}"
        );
    };
    near(
        &y["y"],
        &[half, quarter, back, quarter, forth, 0.0, end, 0.0],
    );
    near(&y["last"], &[forth, quarter, back, quarter]);
}
