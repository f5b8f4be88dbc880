//! The operators of `com.microsoft`, with what ONNX Runtime computes with them (`fixtures/generate.py`).

use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use fewbit_onnx::{ImportError, Imported};
use prost::Message;

use crate::cases::{Case, cases, difference};
use crate::files::{compute, floats, int, node, read, tensor, value};

/// What is wrong with the file's result, if something is.
fn faults(case: &Case, imported: &Imported) -> Vec<String> {
    let inputs = case.inputs();
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = compute(imported, &given);
    let mut wrong = Vec::new();
    for (name, wanted) in case.outputs() {
        let got = &outputs[&name];
        let told = format!("{} {name}", case.name);
        let (is, must) = [got, &wanted].map(|t| (t.data_type(), t.shape())).into();
        if is != must {
            wrong.push(format!("{told}: {is:?} instead of {must:?}"));
            continue;
        }
        let most = match wanted.data_type() {
            DataType::F16 => 2e-3,
            _ => 2e-5,
        };
        let apart = difference(got, &wanted);
        if apart.is_nan() || apart > most {
            wrong.push(format!("{told}: {apart:.2e}"));
        }
    }
    wrong
}

#[test]
fn cases_agree_with_onnx_runtime() {
    let cases = cases(include_bytes!("../fixtures/microsoft.pb"));
    assert!(cases.len() > 100, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        match read(&case.model) {
            Ok(imported) => wrong.extend(faults(&case, &imported)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Quantized matrices become weights in blocks, and compute what they did.
#[test]
fn quantized_matrices_are_not_decoded_as_a_whole() {
    let cases = cases(include_bytes!("../fixtures/quantized.pb"));
    assert!(cases.len() > 14, "{}", cases.len());
    for case in cases {
        let imported = read(&case.model).unwrap();
        let wrong = faults(&case, &imported);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let mut weights = imported.graph.weights();
        let blocks = weights.any(|(_, _, value)| value.element.block().is_some());
        assert_eq!(blocks, !case.name.starts_with("not"), "{}", case.name);
    }
}

fn of_microsoft(op_type: &str, inputs: &[&str], attributes: &[(&str, i64)]) -> NodeProto {
    let attributes = attributes.iter().map(|&(name, value)| int(name, value));
    NodeProto {
        domain: Some("com.microsoft".to_owned()),
        ..node(op_type, inputs, &["y"], attributes.collect())
    }
}

/// `MatMulNBits` of a matrix of 2 × 64, its codes `bytes` long.
fn matmul_n_bits(bytes: usize, more: &[(&str, i64)]) -> Vec<u8> {
    let codes = Tensor::from_bytes(DataType::U8, &[bytes], &vec![7; bytes]).unwrap();
    let mut attributes = vec![("K", 64), ("N", 2), ("bits", 4), ("block_size", 32)];
    attributes.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    attributes.extend_from_slice(more);
    with_domain(GraphProto {
        node: vec![of_microsoft("MatMulNBits", &["a", "b", "s"], &attributes)],
        initializer: vec![tensor("b", &codes), tensor("s", &floats(&[4], &[0.5; 4]))],
        input: vec![value("a", DataType::F32, &[1, 64])],
        output: vec![value("y", DataType::F32, &[1, 2])],
        ..GraphProto::default()
    })
}

fn with_domain(graph: GraphProto) -> Vec<u8> {
    let set = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![set("", 17), set("com.microsoft", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

#[test]
fn quantized_weights_that_contradict_themselves_are_refused() {
    assert!(read(&matmul_n_bits(64, &[])).is_ok());
    for (bytes, more, told) in [
        (63, vec![], "63 bytes of codes"),
        (64, vec![("N", 3)], "64 bytes of codes"),
        (64, vec![("N", -1)], "N of -1"),
        (64, vec![("N", i64::MAX)], "N of"),
        (64, vec![("N", 1 << 30), ("K", 1 << 30)], "bytes of codes"),
        (64, vec![("block_size", 24)], "blocks of 24"),
        (64, vec![("block_size", 0)], "block_size of 0"),
        (64, vec![("bits", 3)], "3 bits"),
        (64, vec![("K", 32), ("N", 4)], "times 32 columns"),
    ] {
        let error = read(&matmul_n_bits(bytes, &more)).unwrap_err().to_string();
        assert!(error.contains(told), "{more:?}: {error}");
        assert!(error.contains("MatMulNBits"), "{error}");
    }
}

#[test]
fn other_operators_of_the_domain_are_named() {
    let bytes = with_domain(GraphProto {
        node: vec![of_microsoft("GreedySearch", &["a"], &[])],
        input: vec![value("a", DataType::F32, &[1])],
        output: vec![value("y", DataType::F32, &[1])],
        ..GraphProto::default()
    });
    match read(&bytes).unwrap_err() {
        ImportError::Unsupported { operators, .. } => {
            assert_eq!(operators[0].op_type, "GreedySearch");
            assert_eq!(operators[0].domain, "com.microsoft");
        }
        other => panic!("{other}"),
    }
}
