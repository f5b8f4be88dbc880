//! What cannot be written is an error that says so.

use fewbit_engine::graph::op::{Binary, LayerNormalization, Reduce, ReduceKind, Unary};
use fewbit_engine::graph::{Bindings, Dim, Graph, GraphBuilder, Op};
use fewbit_engine::tensor::{DataType, ElementType};
use fewbit_onnx::ExportError;

use crate::checkpoint;
use crate::models::fixture;

fn refused(graph: &Graph) -> ExportError {
    let source = checkpoint(&[("w", DataType::F16.into(), &[2], vec![0; 4])]);
    pollster::block_on(fewbit_onnx::export(graph, &source)).unwrap_err()
}

#[test]
fn a_state_that_is_read_is_refused_by_name() {
    let model = fixture("whisper");
    let sizes = ["batch", "tokens", "rows", "positions", "capacity"];
    let sizes = sizes.map(|name| (name.to_owned(), 1));
    let graph = model
        .built
        .graph
        .specialize(&Bindings::from(sizes))
        .unwrap();
    let error = pollster::block_on(fewbit_onnx::export(&graph, &model.source)).unwrap_err();
    assert!(
        matches!(&error, ExportError::State(name) if name.contains('.')),
        "{error}"
    );
}

#[test]
fn a_state_that_is_filled_in_part_is_refused() {
    let shape = |tokens: usize| [1, tokens, 2, 4].map(Dim::from).to_vec();
    let mut b = GraphBuilder::new();
    let new = b.input("new", DataType::F32, shape(3)).unwrap();
    let at = b.input("at", DataType::I32, vec![Dim::from(1)]).unwrap();
    let room = [1, 2, 3, 4].map(Dim::from).to_vec();
    let state = b.state("kept", DataType::F32, room).unwrap();
    b.kv_append(state, new, at).unwrap();
    assert!(matches!(refused(&b.finish()), ExportError::State(name) if name == "kept"));
}

/// A size that no input's shape tells, where a runtime cannot find it by itself either.
#[test]
fn a_symbol_of_no_input_is_refused() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, vec![Dim::from(1)]).unwrap();
    let y = b.expand(x, vec![Dim::symbol("n")]).unwrap();
    b.output("y", y).unwrap();
    let error = refused(&b.finish());
    assert!(
        matches!(&error, ExportError::Symbol(name) if name == "n"),
        "{error}"
    );
}

#[test]
fn a_name_that_is_input_and_output_is_refused() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, vec![Dim::from(2)]).unwrap();
    let y = b.unary(Unary::Exp, x).unwrap();
    b.output("x", y).unwrap();
    assert!(matches!(refused(&b.finish()), ExportError::Name(name) if name == "x"));
}

#[test]
fn a_weight_that_computes_in_16_bits_is_refused_by_name() {
    let mut b = GraphBuilder::new();
    let f16 = ElementType::Plain(DataType::F16);
    let x = b.input("x", DataType::F16, vec![Dim::from(2)]).unwrap();
    let w = b.weight("w", f16, &[2]).unwrap();
    let y = b.binary(Binary::Add, x, w).unwrap();
    b.output("y", y).unwrap();
    let error = refused(&b.finish());
    assert_eq!(
        error.to_string(),
        "weight w of f16 is not exported to ONNX as an operand of add"
    );
}

#[test]
fn attributes_that_onnx_has_not_are_refused() {
    let norm = LayerNormalization {
        axes: vec![0],
        epsilon: 1e-5,
        scale: false,
        bias: false,
    };
    let reduce = Reduce {
        kind: ReduceKind::Sum,
        axes: vec![],
        keep_dimensions: true,
    };
    for (op, name) in [
        (Op::LayerNormalization(norm), "layer_normalization"),
        (Op::Reduce(reduce), "reduce_sum"),
    ] {
        let mut b = GraphBuilder::new();
        let shape = [2, 3].map(Dim::from).to_vec();
        let x = b.input("x", DataType::F32, shape).unwrap();
        let y = b.op(op, &[x]).unwrap();
        b.output("y", y).unwrap();
        let error = refused(&b.finish());
        assert!(
            matches!(&error, ExportError::Operator { op, .. } if *op == name),
            "{error}"
        );
    }
}
