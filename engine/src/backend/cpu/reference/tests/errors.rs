use std::collections::BTreeMap;

use super::*;
use crate::graph::op::Binary;

#[test]
fn what_does_not_go_together_is_an_error() {
    let x = f(&[2], &[1.0, 2.0]);
    assert!(matches!(
        fails(Op::Binary(Binary::Add), &[&x, &f(&[3], &[0.0; 3])]),
        EvaluateError::Graph(_)
    ));
    assert!(matches!(
        fails(Op::Binary(Binary::Add), &[&x, &i(&[2], &[1, 2])]),
        EvaluateError::Graph(_)
    ));
    assert!(matches!(fails(Op::Matmul, &[&x]), EvaluateError::Graph(_)));
    let short = View {
        element: ElementType::F32,
        shape: &[2],
        bytes: &[0; 7],
    };
    let error = evaluate(&Op::Softmax { axis: 0 }, &[short]).unwrap_err();
    assert_eq!(error.to_string(), "softmax: input 0 of f32 [2] has 7 bytes");
}

#[test]
fn a_graph_says_what_it_was_not_given() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, dims(&[2])).unwrap();
    let y = b.add_values(x, x).unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish();
    let error = evaluate_graph(&graph, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "no value is given for input x");
    let wrong = i(&[3], &[1, 2, 3]);
    let given = BTreeMap::from([("x".to_owned(), (&wrong).into())]);
    let error = evaluate_graph(&graph, &given).unwrap_err();
    assert_eq!(error.to_string(), "input x: i32 [3] given, f32 [2] wanted");
    let right = f(&[2], &[1.0, 2.0]);
    let given = BTreeMap::from([("x".to_owned(), (&right).into())]);
    let outputs = evaluate_graph(&graph, &given).unwrap().outputs;
    assert_eq!(outputs["y"], f(&[2], &[2.0, 4.0]));
}
