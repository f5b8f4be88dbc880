//! Computes an ONNX model node by node. It knows the operators that are exported, and panics at any other: it is a test.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate};
use fewbit_engine::graph::op::{
    Binary, Bitwise, Compare, Conv2d, CumulativeSum, Extension, LayerNormalization, Logical, Pad,
    PadMode, Pool2d, PoolKind, Reduce, ReduceKind, Scatter, Slice, Unary, Window,
};
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, ValueInfoProto,
    data_type_number,
};
use prost::Message;

/// Values by name.
pub(crate) type Named = BTreeMap<String, Tensor>;

/// Reads a model and checks what the IR specification asks of it: versions, names that are each made once and before they
/// are used, initializers of the size that they say.
pub(crate) fn read(bytes: &[u8]) -> GraphProto {
    let model = ModelProto::decode(bytes).unwrap();
    assert_eq!(model.ir_version, Some(10));
    assert_eq!(model.opset_import.len(), 1);
    assert_eq!(model.opset_import[0].version, Some(21));
    let graph = model.graph.unwrap();
    let mut made = std::collections::BTreeSet::new();
    let inputs = graph.input.iter().map(|input| input.name.clone().unwrap());
    let weights = graph
        .initializer
        .iter()
        .map(|weight| weight.name.clone().unwrap());
    for name in inputs.chain(weights) {
        assert!(made.insert(name.clone()), "{name} twice");
    }
    let mut nodes = std::collections::BTreeSet::new();
    for node in &graph.node {
        assert!(nodes.insert(node.name.clone()), "{:?} twice", node.name);
        for name in &node.input {
            assert!(made.contains(name), "{name} is used before it is made");
        }
        for name in &node.output {
            assert!(made.insert(name.clone()), "{name} twice");
        }
    }
    for output in &graph.output {
        assert!(made.contains(output.name.as_ref().unwrap()));
    }
    graph
}

/// Type and shape of an input or output.
pub(crate) fn described(value: &ValueInfoProto) -> (i32, Vec<usize>) {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let dims = &tensor.shape.as_ref().unwrap().dim;
    let dims = dims.iter().map(|dim| dim.dim_value.unwrap() as usize);
    (tensor.elem_type.unwrap(), dims.collect())
}

/// The outputs of a model for these inputs.
pub(crate) fn run(bytes: &[u8], inputs: &Named) -> Named {
    let graph = read(bytes);
    let mut values = inputs.clone();
    for input in &graph.input {
        let wanted = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        let tensor = values.get_mut(input.name.as_ref().unwrap()).unwrap();
        if wanted.elem_type == Some(data_type_number(DataType::I64)) {
            *tensor = wide(tensor);
        }
    }
    for weight in &graph.initializer {
        let shape: Vec<usize> = weight.dims.iter().map(|&size| size as usize).collect();
        let data_type = of_number(weight.data_type.unwrap());
        let data = weight.raw_data.as_ref().unwrap();
        let tensor = Tensor::from_bytes(data_type, &shape, data).unwrap();
        values.insert(weight.name.clone().unwrap(), tensor);
    }
    for node in &graph.node {
        let result = compute(node, &values);
        values.insert(node.output[0].clone(), result);
    }
    let mut outputs = Named::new();
    for output in &graph.output {
        let name = output.name.clone().unwrap();
        let tensor = values[&name].clone();
        let is = (
            data_type_number(tensor.data_type()),
            tensor.shape().to_vec(),
        );
        assert_eq!(described(output), is, "{name}");
        outputs.insert(name, tensor);
    }
    outputs
}

/// Integers in 64 bits, as a file takes them.
fn wide(tensor: &Tensor) -> Tensor {
    let values = tensor.to_f64_vec();
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    Tensor::from_i64(tensor.shape(), &values).unwrap()
}

/// ONNX's `bool` is u8 of 0 and 1 here.
fn compute(node: &NodeProto, values: &Named) -> Tensor {
    let given = |at: usize| &values[&node.input[at]];
    let all = || node.input.iter().map(|name| &values[name]).collect();
    let integers = |at: usize| -> Vec<usize> {
        let list = given(at).to_f64_vec();
        list.iter().map(|&value| value as usize).collect()
    };
    let apply = |op: Op, inputs: Vec<&Tensor>| -> Tensor {
        let views: Vec<View<'_>> = inputs.into_iter().map(View::from).collect();
        evaluate(&op, &views).unwrap()
    };
    let dims = |sizes: Vec<usize>| sizes.into_iter().map(Dim::from).collect::<Vec<_>>();
    let op_type = node.op_type.as_deref().unwrap();
    if let Some(op) = unary(op_type) {
        return apply(Op::Unary(op), all());
    }
    if let Some(op) = binary(op_type) {
        return apply(Op::Binary(op), all());
    }
    if let Some(op) = compare(op_type) {
        return apply(Op::Compare(op), all());
    }
    if let Some(kind) = reduction(op_type) {
        let reduce = Reduce {
            kind,
            axes: integers(1),
            keep_dimensions: int(node, "keepdims") == 1,
        };
        return apply(Op::Reduce(reduce), vec![given(0)]);
    }
    match op_type {
        "Gelu" => {
            assert_eq!(
                attribute(node, "approximate", AttributeType::String).s,
                Some("none".into())
            );
            apply(Op::Unary(Unary::Gelu), all())
        }
        "Not" => {
            let one = Tensor::from_bytes(DataType::U8, &[], &[1]).unwrap();
            apply(Op::Logical(Logical::Xor), vec![given(0), &one])
        }
        "And" => apply(Op::Logical(Logical::And), all()),
        "Or" => apply(Op::Logical(Logical::Or), all()),
        "Xor" => apply(Op::Logical(Logical::Xor), all()),
        "Clip" => {
            let (min, max) = (given(1).as_f32().unwrap()[0], given(2).as_f32().unwrap()[0]);
            apply(Op::Clamp { min, max }, vec![given(0)])
        }
        "Where" => apply(Op::Where, all()),
        "Cast" => match of_number(int(node, "to") as i32) {
            DataType::Bool => {
                let zero = Tensor::zeros(given(0).data_type(), &[]).unwrap();
                apply(Op::Compare(Compare::NotEqual), vec![given(0), &zero])
            }
            to => apply(Op::Cast { to }, all()),
        },
        "Softmax" => {
            let axis = int(node, "axis") as usize;
            apply(Op::Softmax { axis }, all())
        }
        "LayerNormalization" => {
            let axes = int(node, "axis") as usize..given(0).shape().len();
            let norm = LayerNormalization {
                axes: axes.collect(),
                epsilon: attribute(node, "epsilon", AttributeType::Float).f.unwrap(),
                scale: true,
                bias: node.input.len() == 3,
            };
            apply(Op::LayerNormalization(norm), all())
        }
        "CumSum" => {
            let sum = CumulativeSum {
                axis: integers(1)[0],
                exclusive: int(node, "exclusive") == 1,
                reversed: int(node, "reverse") == 1,
            };
            apply(Op::CumulativeSum(sum), vec![given(0)])
        }
        "Conv" => {
            let conv = Conv2d {
                window: window(node),
                groups: int(node, "group") as usize,
                bias: node.input.len() == 3,
            };
            assert_eq!(ints(node, "kernel_shape"), given(1).shape()[2..]);
            apply(Op::Conv2d(conv), all())
        }
        "AveragePool" | "MaxPool" => {
            let kind = match op_type {
                "MaxPool" => PoolKind::Max,
                _ => PoolKind::Average,
            };
            let pool = Pool2d {
                kind,
                size: pair(&ints(node, "kernel_shape")),
                window: window(node),
            };
            apply(Op::Pool2d(pool), all())
        }
        "MatMul" => apply(Op::Matmul, all()),
        "Reshape" => {
            let shape = integers(1);
            assert!(int(node, "allowzero") == 1 || !shape.contains(&0));
            apply(Op::Reshape { shape: dims(shape) }, vec![given(0)])
        }
        "Transpose" => {
            let permutation = ints(node, "perm");
            apply(Op::Transpose { permutation }, all())
        }
        "Concat" => {
            let axis = int(node, "axis") as usize;
            apply(Op::Concat { axis }, all())
        }
        "Slice" => {
            // Axes that are not named are whole.
            let mut sizes = given(0).shape().to_vec();
            let mut starts = vec![0; sizes.len()];
            let mut strides = vec![1; sizes.len()];
            for (at, &axis) in integers(3).iter().enumerate() {
                starts[axis] = integers(1)[at];
                sizes[axis] = integers(2)[at] - starts[axis];
                strides[axis] = integers(4)[at];
            }
            let slice = Slice {
                sizes: dims(sizes),
                starts: dims(starts),
                strides,
            };
            apply(Op::Slice(slice), vec![given(0)])
        }
        "Pad" => {
            let pads = integers(1);
            let (before, after) = pads.split_at(pads.len() / 2);
            let mode = attribute(node, "mode", AttributeType::String)
                .s
                .clone()
                .unwrap();
            let mode = match mode.as_slice() {
                b"constant" => PadMode::Constant(given(2).as_f32().unwrap()[0]),
                b"edge" => PadMode::Edge,
                b"reflect" => PadMode::Reflection,
                other => panic!("{other:?}"),
            };
            let (before, after) = (before.to_vec(), after.to_vec());
            let pad = Pad {
                before,
                after,
                mode,
            };
            apply(Op::Pad(pad), vec![given(0)])
        }
        "Expand" => {
            let shape = dims(integers(1));
            apply(Op::Expand { shape }, vec![given(0)])
        }
        "Gather" => {
            let axis = int(node, "axis") as usize;
            apply(
                Op::Gather {
                    axis,
                    decode: false,
                },
                all(),
            )
        }
        "ScatterND" => {
            let reduction = attribute(node, "reduction", AttributeType::String);
            let scatter = match reduction.s.clone().unwrap().as_slice() {
                b"none" => Scatter::Replace,
                b"add" => Scatter::Add,
                b"mul" => Scatter::Mul,
                b"max" => Scatter::Max,
                b"min" => Scatter::Min,
                other => panic!("{other:?}"),
            };
            assert_eq!(given(1).data_type(), DataType::I64);
            apply(Op::ScatterNd(scatter), all())
        }
        "Atan" => apply(Op::Extension(Extension::Atan), all()),
        "BitwiseAnd" => apply(Op::Extension(Extension::Bitwise(Bitwise::And)), all()),
        "BitwiseOr" => apply(Op::Extension(Extension::Bitwise(Bitwise::Or)), all()),
        "BitwiseXor" => apply(Op::Extension(Extension::Bitwise(Bitwise::Xor)), all()),
        other => panic!("{other} is not known here"),
    }
}

fn unary(op_type: &str) -> Option<Unary> {
    Some(match op_type {
        "Abs" => Unary::Abs,
        "Ceil" => Unary::Ceil,
        "Cos" => Unary::Cos,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Floor" => Unary::Floor,
        "Identity" => Unary::Identity,
        "Log" => Unary::Log,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Sin" => Unary::Sin,
        "Sqrt" => Unary::Sqrt,
        "Tan" => Unary::Tan,
        "Tanh" => Unary::Tanh,
        _ => return None,
    })
}

fn binary(op_type: &str) -> Option<Binary> {
    Some(match op_type {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        "Pow" => Binary::Pow,
        _ => return None,
    })
}

fn compare(op_type: &str) -> Option<Compare> {
    Some(match op_type {
        "Equal" => Compare::Equal,
        "Greater" => Compare::Greater,
        "GreaterOrEqual" => Compare::GreaterOrEqual,
        "Less" => Compare::Lesser,
        "LessOrEqual" => Compare::LesserOrEqual,
        _ => return None,
    })
}

fn reduction(op_type: &str) -> Option<ReduceKind> {
    Some(match op_type {
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceLogSum" => ReduceKind::LogSum,
        "ReduceLogSumExp" => ReduceKind::LogSumExp,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Product,
        "ReduceSum" => ReduceKind::Sum,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        _ => return None,
    })
}

fn window(node: &NodeProto) -> Window {
    let pads = ints(node, "pads");
    let [above, left, below, right] = pads[..] else {
        panic!("{pads:?}");
    };
    Window {
        padding: [above, below, left, right],
        strides: pair(&ints(node, "strides")),
        dilations: pair(&ints(node, "dilations")),
    }
}

fn pair(list: &[usize]) -> [usize; 2] {
    list.try_into().unwrap()
}

fn attribute<'a>(node: &'a NodeProto, name: &str, kind: AttributeType) -> &'a AttributeProto {
    let mut all = node.attribute.iter();
    let found = all.find(|attribute| attribute.name.as_deref() == Some(name));
    let found = found.unwrap_or_else(|| panic!("{:?} has no {name}", node.op_type));
    assert_eq!(found.r#type, Some(kind.into()));
    found
}

fn int(node: &NodeProto, name: &str) -> i64 {
    attribute(node, name, AttributeType::Int).i.unwrap()
}

fn ints(node: &NodeProto, name: &str) -> Vec<usize> {
    let list = &attribute(node, name, AttributeType::Ints).ints;
    list.iter().map(|&value| value as usize).collect()
}

fn of_number(number: i32) -> DataType {
    let mut all = DataType::ALL.into_iter();
    all.find(|&data_type| data_type_number(data_type) == number)
        .unwrap()
}
