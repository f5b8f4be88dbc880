//! What is not imported, and what is wrong with a file: named, not guessed.

use fewbit_engine::tensor::DataType;
use fewbit_onnx::proto::{GraphProto, NodeProto, TensorProto};
use fewbit_onnx::{ImportError, imported_operators};

use crate::files::{floats, int, model, node, read, tensor, value};

fn with(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> Vec<u8> {
    model(
        13,
        GraphProto {
            node: nodes,
            initializer,
            input: vec![value("x", DataType::F32, &[2])],
            output: vec![value("y", DataType::F32, &[2])],
            ..GraphProto::default()
        },
    )
}

/// The initializer is broken: it is not looked at as long as operators are missing.
#[test]
fn every_unsupported_operator_is_named_before_any_weight_is_read() {
    let foreign = NodeProto {
        domain: Some("com.example".into()),
        name: Some("second".into()),
        ..node("Fold", &["a"], &["b"], vec![])
    };
    let broken = TensorProto {
        raw_data: Some(vec![1]),
        ..tensor("w", &floats(&[1], &[1.0]))
    };
    let nodes = vec![
        node("Bernoulli", &["x"], &["a"], vec![]),
        foreign,
        node("Relu", &["b"], &["y"], vec![]),
        node("Gelu", &["b"], &["c"], vec![]),
    ];
    let error = read(&with(nodes, vec![broken])).unwrap_err();
    let ImportError::Unsupported { operators, .. } = &error else {
        panic!("{error}");
    };
    let named: Vec<(&str, &str, &str)> = operators
        .iter()
        .map(|o| (o.node.as_str(), o.op_type.as_str(), o.domain.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("number 0", "Bernoulli", "ai.onnx"),
            ("second", "Fold", "com.example"),
            ("number 3", "Gelu", "ai.onnx"),
        ]
    );
    assert!(operators[2].reason.contains("20"), "{}", operators[2]);
    assert!(error.is_unsupported());
}

#[test]
fn attributes_and_inputs_that_nobody_reads_are_refused() {
    let relu = |input: &[&str], attributes| {
        let bytes = with(vec![node("Relu", input, &["y"], attributes)], vec![]);
        read(&bytes)
    };
    assert!(relu(&["x"], vec![]).is_ok());
    for error in [
        relu(&["x"], vec![int("more", 1)]).unwrap_err(),
        relu(&["x", "x"], vec![]).unwrap_err(),
    ] {
        assert!(error.is_unsupported(), "{error}");
    }
}

#[test]
fn what_contradicts_itself_is_an_error() {
    let relu = || node("Relu", &["x"], &["y"], vec![]);
    let weight = |change: fn(&mut TensorProto)| {
        let mut proto = tensor("w", &floats(&[2], &[1.0, 2.0]));
        change(&mut proto);
        with(vec![relu()], vec![proto])
    };
    let told = |bytes: &[u8]| {
        let error = read(bytes).unwrap_err();
        assert!(!error.is_unsupported(), "{error}");
        error.to_string()
    };
    let raw = told(&weight(|w| w.raw_data = Some(vec![0; 7])));
    assert!(
        raw.contains("model.onnx") && raw.contains("tensor w"),
        "{raw}"
    );
    told(&weight(|w| w.dims = vec![i64::MAX, i64::MAX]));
    told(&weight(|w| w.dims = vec![-1]));
    told(&weight(|w| w.name = None));
    told(&weight(|w| w.name = Some("y".into())));
    told(&weight(|w| {
        w.raw_data = None;
        w.float_data = vec![1.0];
    }));
    // A circle, and an output that nothing makes.
    let circle = vec![
        node("Relu", &["b"], &["a"], vec![]),
        node("Relu", &["a"], &["b"], vec![]),
        relu(),
    ];
    assert!(told(&with(circle, vec![])).contains("number 0"));
    told(&with(vec![node("Relu", &["x"], &["z"], vec![])], vec![]));
    // Twice the same name.
    told(&with(vec![relu(), relu()], vec![]));
    let shapes = vec![node("MatMul", &["x", "w"], &["y"], vec![])];
    let three = tensor("w", &floats(&[3, 1], &[0.0; 3]));
    assert!(told(&with(shapes, vec![three])).contains("MatMul"));
}

#[test]
fn what_no_tensor_here_has_is_unsupported() {
    let nodes = || vec![node("Relu", &["x"], &["y"], vec![])];
    let mut int2 = tensor("w", &floats(&[2], &[1.0, 2.0]));
    int2.data_type = Some(26);
    let error = read(&with(nodes(), vec![int2])).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("int2"));
}

#[test]
fn the_table_says_what_is_imported() {
    let all = imported_operators();
    assert!(all.len() > 120, "{}", all.len());
    assert_eq!(all["Gelu"], 20);
    assert!(!all.contains_key("Bernoulli"));
}
