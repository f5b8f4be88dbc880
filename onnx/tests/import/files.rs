//! Small models, written as their messages.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::format::read_tensor;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    AttributeProto, AttributeType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    data_type_number,
};
use fewbit_onnx::{ImportError, ImportOptions, Imported, import};
use prost::Message;

pub(crate) fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&size| size as i64).collect(),
        data_type: Some(data_type_number(tensor.data_type())),
        name: Some(name.into()),
        raw_data: Some(tensor.bytes().to_vec()),
        ..TensorProto::default()
    }
}

pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).unwrap()
}

pub(crate) fn integers(values: &[i64]) -> Tensor {
    Tensor::from_i64(&[values.len()], values).unwrap()
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

pub(crate) fn node(
    op_type: &str,
    input: &[&str],
    output: &[&str],
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: input.iter().map(|&name| name.into()).collect(),
        output: output.iter().map(|&name| name.into()).collect(),
        op_type: Some(op_type.into()),
        attribute,
        ..NodeProto::default()
    }
}

/// A value's type and shape; -1 is a dimension named after the value.
pub(crate) fn value(name: &str, data_type: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| match size {
        -1 => Dimension {
            dim_param: Some(format!("{name}s")),
            ..Dimension::default()
        },
        size => Dimension {
            dim_value: Some(size),
            ..Dimension::default()
        },
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

pub(crate) fn model(opset: i64, graph: GraphProto) -> Vec<u8> {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(opset),
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    import(bytes, "model.onnx", &ImportOptions::default())
}

/// The weights that the graph names, read from where they are.
pub(crate) fn weights(imported: &Imported) -> BTreeMap<String, Tensor> {
    let source = &imported.source;
    let mut read = BTreeMap::new();
    for (name, entry) in &source.checkpoint.tensors {
        let bytes = pollster::block_on(read_tensor(&source.files, entry)).unwrap();
        let data_type = entry.element.plain().unwrap();
        let tensor = Tensor::from_bytes(data_type, &entry.shape, &bytes).unwrap();
        read.insert(name.clone(), tensor);
    }
    read
}

/// What the imported graph makes of these inputs.
pub(crate) fn compute(imported: &Imported, inputs: &[(&str, &Tensor)]) -> BTreeMap<String, Tensor> {
    let weights = weights(imported);
    let mut given: BTreeMap<String, View<'_>> = weights
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.into()))
        .collect();
    given.extend(inputs.iter().map(|&(name, t)| (name.to_owned(), t.into())));
    evaluate_graph(&imported.graph, &given).unwrap().outputs
}
