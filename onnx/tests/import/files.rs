//! Small models, written as their messages.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};
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

/// A weight as it is stored: its element type, shape and bytes.
type Stored = (ElementType, Vec<usize>, Vec<u8>);

/// The weights that the graph names, read from where they are in pieces of an odd size.
fn stored(imported: &Imported) -> BTreeMap<String, Stored> {
    let source = &imported.source;
    let mut read = BTreeMap::new();
    for (name, entry) in &source.checkpoint.tensors {
        let mut bytes = vec![0; entry.bytes as usize];
        for (number, piece) in bytes.chunks_mut(37).enumerate() {
            let at = entry.offset + 37 * number as u64;
            pollster::block_on(source.files[entry.file].read_at(at, piece)).unwrap();
        }
        read.insert(name.clone(), (entry.element, entry.shape.clone(), bytes));
    }
    read
}

/// Those that are no blocks, as tensors.
pub(crate) fn weights(imported: &Imported) -> BTreeMap<String, Tensor> {
    let plain = |(name, (element, shape, bytes)): (String, Stored)| {
        let tensor = Tensor::from_bytes(element.plain()?, &shape, &bytes).unwrap();
        Some((name, tensor))
    };
    stored(imported).into_iter().filter_map(plain).collect()
}

/// What the imported graph makes of these inputs.
pub(crate) fn compute(imported: &Imported, inputs: &[(&str, &Tensor)]) -> BTreeMap<String, Tensor> {
    let stored = stored(imported);
    let mut given = BTreeMap::new();
    for (name, (element, shape, bytes)) in &stored {
        let (element, shape) = (*element, shape.as_slice());
        let view = View {
            element,
            shape,
            bytes,
        };
        given.insert(name.clone(), view);
    }
    given.extend(inputs.iter().map(|&(name, t)| (name.to_owned(), t.into())));
    evaluate_graph(&imported.graph, &given).unwrap().outputs
}
