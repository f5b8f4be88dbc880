//! Tables of elements of four bits, of which rows are taken: as ONNX Runtime computes them.

use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    AttributeProto, AttributeType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    data_type_number,
};
use prost::Message;

use crate::reference::Named;
use crate::{reimport, run};

const ROWS: usize = 6;
const K: usize = 64;
const BLOCK: usize = 16;

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// Elements of four bits, two a byte as ONNX has them.
fn nibbles(name: &str, data_type: DataType, shape: &[usize], seed: usize) -> TensorProto {
    let count: usize = shape.iter().product();
    let bytes = (0..count / 2).map(|at| ((at * 73 + seed * 31) % 251) as u8);
    TensorProto {
        dims: shape.iter().map(|&size| size as i64).collect(),
        data_type: Some(data_type_number(data_type)),
        name: Some(name.into()),
        raw_data: Some(bytes.collect()),
        ..TensorProto::default()
    }
}

fn value(name: &str, data_type: DataType, shape: &[usize]) -> ValueInfoProto {
    let dim = |&size: &usize| Dimension {
        dim_value: Some(size as i64),
        dim_param: None,
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(data_type)),
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

fn model(data_type: DataType, zeros: bool) -> Vec<u8> {
    let blocks = K / BLOCK;
    let scales: Vec<f32> = (0..ROWS * blocks)
        .map(|at| 0.1 + at as f32 / 50.0)
        .collect();
    let scales = Tensor::from_f32(&[ROWS, blocks], &scales).unwrap();
    let scales = TensorProto {
        dims: vec![ROWS as i64, blocks as i64],
        data_type: Some(data_type_number(DataType::F32)),
        name: Some("scales".into()),
        raw_data: Some(scales.bytes().to_vec()),
        ..TensorProto::default()
    };
    let mut initializer = vec![nibbles("data", data_type, &[ROWS, K], 1), scales];
    let mut input: Vec<String> = ["data", "ids", "scales"].map(Into::into).into();
    if zeros {
        initializer.push(nibbles("zeros", data_type, &[ROWS, blocks], 2));
        input.push("zeros".into());
    }
    let set = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    };
    ModelProto {
        ir_version: Some(10),
        opset_import: vec![set("", 21), set("com.microsoft", 1)],
        graph: Some(GraphProto {
            name: Some("rows".into()),
            node: vec![NodeProto {
                input,
                output: vec!["y".into()],
                op_type: Some("GatherBlockQuantized".into()),
                domain: Some("com.microsoft".into()),
                attribute: vec![
                    int("gather_axis", 0),
                    int("quantize_axis", 1),
                    int("block_size", BLOCK as i64),
                ],
                ..NodeProto::default()
            }],
            initializer,
            input: vec![value("ids", DataType::I64, &[2, 2])],
            output: vec![value("y", DataType::F32, &[2, 2, K])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

#[test]
fn rows_of_four_bits_are_what_onnx_runtime_makes_them() {
    let Some(environment) = run::environment("rows_of_four_bits") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ids = Tensor::from_i64(&[2, 2], &[5, 0, 3, 3]).unwrap();
    let given = Named::from([("ids".to_owned(), ids)]);
    for data_type in [DataType::I4, DataType::U4] {
        for zeros in [false, true] {
            let path = folder.path().join(format!("{data_type}{zeros}.onnx"));
            std::fs::write(&path, model(data_type, zeros)).unwrap();
            let wanted = run::run(environment, &path, &given);
            let got = reimport::run(&path, &given);
            let (got, wanted) = (got["y"].to_f64_vec(), wanted["y"].to_f64_vec());
            assert_eq!(got.len(), wanted.len());
            for (got, wanted) in got.iter().zip(&wanted) {
                let off = (got - wanted).abs();
                assert!(off < 1e-5, "{data_type} {zeros}: {got}, not {wanted}");
            }
        }
    }
}
