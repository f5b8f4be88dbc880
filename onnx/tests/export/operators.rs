//! Each operator by itself: the model's numbers are those of the graph.

use std::collections::BTreeMap;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::graph::op::{
    Binary, Bitwise, Compare, Conv2d, CumulativeSum, Extension, LayerNormalization, Logical, Pad,
    PadMode, Pool2d, PoolKind, Reduce, ReduceKind, RotaryEmbedding, Scatter, Slice, Unary, Window,
};
use fewbit_engine::graph::{Dim, Graph, GraphBuilder, Op};
use fewbit_engine::tensor::{BlockFormat, DataType, ElementType, Tensor, encode};

use crate::checkpoint;
use crate::interpreter::{Named, run};

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::from(size)).collect()
}

/// Numbers from 0.1 to 2, none of them alike.
fn floats(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|at| 0.1 + 1.9 * ((at * 37 + 11) % 101) as f32 / 101.0)
        .collect();
    Tensor::from_f32(shape, &values).unwrap()
}

fn bits(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<u8> = (0..count).map(|at| u8::from(at % 3 == 0)).collect();
    Tensor::from_bytes(DataType::U8, shape, &values).unwrap()
}

fn integers(shape: &[usize], values: &[i32]) -> Tensor {
    Tensor::from_i32(shape, values).unwrap()
}

/// The graph of one operator over inputs `0`, `1`, …, with the output `y`.
fn of(op: Op, inputs: &[Tensor]) -> (Graph, Named) {
    let mut b = GraphBuilder::new();
    let mut ids = Vec::new();
    let mut given = Named::new();
    for (at, tensor) in inputs.iter().enumerate() {
        let name = at.to_string();
        let shape = dims(tensor.shape());
        ids.push(b.input(&name, tensor.data_type(), shape).unwrap());
        given.insert(name, tensor.clone());
    }
    let y = b.op(op, &ids).unwrap();
    b.output("y", y).unwrap();
    (b.finish(), given)
}

fn views(given: &Named) -> BTreeMap<String, View<'_>> {
    let views = given.iter();
    views
        .map(|(name, tensor)| (name.clone(), tensor.into()))
        .collect()
}

fn holds(op: Op, inputs: &[Tensor]) {
    let (graph, given) = of(op.clone(), inputs);
    let bytes = pollster::block_on(fewbit_onnx::export(&graph, &checkpoint(&[]))).unwrap();
    let expected = evaluate_graph(&graph, &views(&given)).unwrap().outputs;
    near(&run(&bytes, &given), &expected, &op);
}

/// To the rounding of a decomposition, whose steps are in f32.
fn near(got: &Named, expected: &Named, what: &dyn std::fmt::Debug) {
    assert_eq!(got.len(), expected.len());
    for (name, expected) in expected {
        let got = &got[name];
        assert_eq!(got.shape(), expected.shape(), "{what:?}");
        assert_eq!(got.data_type(), expected.data_type(), "{what:?}");
        for (a, b) in got.to_f64_vec().iter().zip(expected.to_f64_vec()) {
            assert!(
                (a - b).abs() <= 1e-5 * (1.0 + b.abs()),
                "{what:?}: {a}, not {b}"
            );
        }
    }
}

#[test]
fn elementwise() {
    let (x, y) = (floats(&[2, 3, 4]), floats(&[3, 1]));
    for op in Unary::ALL {
        holds(Op::Unary(op), std::slice::from_ref(&x));
    }
    for op in Binary::ALL {
        holds(Op::Binary(op), &[x.clone(), y.clone()]);
    }
    for op in Compare::ALL {
        holds(Op::Compare(op), &[x.clone(), floats(&[1, 3, 4])]);
    }
    for op in [Logical::And, Logical::Or, Logical::Xor] {
        holds(Op::Logical(op), &[bits(&[2, 5]), bits(&[5])]);
    }
    let range = Op::Clamp { min: 0.5, max: 1.5 };
    holds(range, std::slice::from_ref(&x));
    holds(Op::Where, &[bits(&[3, 4]), x.clone(), floats(&[1])]);
    holds(Op::Cast { to: DataType::I32 }, &[x]);
    let whole = integers(&[3], &[-7, 0, 7]);
    let to = DataType::F32;
    holds(Op::Cast { to }, &[whole]);
}

#[test]
fn along_axes() {
    let x = floats(&[2, 3, 4]);
    for kind in ReduceKind::ALL {
        for (axes, keep_dimensions) in [(vec![1], true), (vec![0, 2], false)] {
            let reduce = Reduce {
                kind,
                axes,
                keep_dimensions,
            };
            holds(Op::Reduce(reduce), std::slice::from_ref(&x));
        }
    }
    holds(Op::Softmax { axis: 1 }, std::slice::from_ref(&x));
    for (exclusive, reversed) in [(false, true), (true, false)] {
        let sum = CumulativeSum {
            axis: 2,
            exclusive,
            reversed,
        };
        holds(Op::CumulativeSum(sum), std::slice::from_ref(&x));
    }
    for (axes, scale, bias) in [
        (vec![2], true, true),
        (vec![1, 2], false, true),
        (vec![2], false, false),
    ] {
        let sizes: Vec<usize> = axes.iter().map(|&axis| x.shape()[axis]).collect();
        let mut inputs = vec![x.clone()];
        inputs.extend((0..usize::from(scale) + usize::from(bias)).map(|_| floats(&sizes)));
        let norm = LayerNormalization {
            axes,
            epsilon: 1e-3,
            scale,
            bias,
        };
        holds(Op::LayerNormalization(norm), &inputs);
    }
}

#[test]
fn windows_and_products() {
    let window = Window {
        padding: [1, 0, 2, 1],
        strides: [2, 1],
        dilations: [1, 2],
    };
    let image = floats(&[2, 4, 7, 8]);
    for bias in [false, true] {
        let mut inputs = vec![image.clone(), floats(&[6, 2, 3, 2])];
        inputs.extend(bias.then(|| floats(&[6])));
        let conv = Conv2d {
            window,
            groups: 2,
            bias,
        };
        holds(Op::Conv2d(conv), &inputs);
    }
    for kind in PoolKind::ALL {
        let size = [3, 2];
        let padding = [1, 2, 0, 1];
        let window = Window { padding, ..window };
        let pool = Pool2d { kind, size, window };
        holds(Op::Pool2d(pool), std::slice::from_ref(&image));
    }
    holds(Op::Matmul, &[floats(&[2, 1, 3, 4]), floats(&[5, 4, 2])]);
}

#[test]
fn movement() {
    let x = floats(&[2, 3, 4]);
    let alone = std::slice::from_ref(&x);
    let shape = dims(&[4, 6]);
    holds(Op::Reshape { shape }, alone);
    let shape = dims(&[3, 0]);
    holds(Op::Reshape { shape }, &[floats(&[0, 5])]);
    let permutation = vec![2, 0, 1];
    holds(Op::Transpose { permutation }, alone);
    holds(
        Op::Concat { axis: 1 },
        &[x.clone(), floats(&[2, 1, 4]), x.clone()],
    );
    let slice = Slice {
        starts: dims(&[1, 0, 0]),
        sizes: dims(&[1, 3, 4]),
        strides: vec![1, 2, 3],
    };
    holds(Op::Slice(slice), alone);
    for mode in [PadMode::Constant(-2.5), PadMode::Edge, PadMode::Reflection] {
        let pad = Pad {
            before: vec![0, 1, 2],
            after: vec![1, 0, 3],
            mode,
        };
        holds(Op::Pad(pad), alone);
    }
    let shape = dims(&[5, 3, 4]);
    holds(Op::Expand { shape }, &[floats(&[3, 1])]);
    let decode = false;
    for axis in 0..3 {
        let indices = integers(&[2, 2], &[1, 0, -1, 1]);
        holds(Op::Gather { axis, decode }, &[x.clone(), indices]);
    }
}

#[test]
fn composites_are_decomposed() {
    let epsilon = 1e-5;
    holds(
        Op::RmsNormalization { epsilon },
        &[floats(&[2, 3, 8]), floats(&[8])],
    );
    let rotary = RotaryEmbedding { interleaved: true };
    let tables = [floats(&[9, 3]), floats(&[9, 3])];
    let [cos, sin] = tables;
    let position = integers(&[2], &[4, 0]);
    holds(
        Op::RotaryEmbedding(rotary),
        &[floats(&[2, 3, 2, 8]), cos, sin, position],
    );
    let attention = fewbit_engine::graph::op::Attention {
        scale: 0.3,
        causal: false,
        bias: true,
    };
    let (q, k, v) = (
        floats(&[2, 3, 4, 8]),
        floats(&[2, 2, 5, 8]),
        floats(&[2, 2, 5, 8]),
    );
    holds(Op::Attention(attention), &[q, k, v, floats(&[1, 4, 1, 5])]);
}

/// A table of a block format and matrices of 16-bit floats: in f32 in the file, one initializer each.
#[test]
fn weights_are_in_f32() {
    let (rows, columns) = (6, 64);
    let values = floats(&[rows, columns]);
    let values = values.as_f32().unwrap();
    let blocks = encode(BlockFormat::Q8_0, values).unwrap();
    let short: Vec<u8> = values
        .iter()
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect();
    let block = ElementType::Block(BlockFormat::Q8_0);
    let f16 = ElementType::Plain(DataType::F16);
    let source = checkpoint(&[
        ("table", block, &[rows, columns], blocks.clone()),
        ("matrix", f16, &[rows, columns], short.clone()),
        ("bias", f16, &[rows], short[..2 * rows].to_vec()),
    ]);
    let mut b = GraphBuilder::new();
    let ids = b.input("ids", DataType::I32, dims(&[1, 3])).unwrap();
    let table = b.weight("table", block, &[rows, columns]).unwrap();
    let matrix = b.weight("matrix", f16, &[rows, columns]).unwrap();
    let bias = b.weight("bias", f16, &[rows]).unwrap();
    let bias = b.cast(bias, DataType::F32).unwrap();
    let x = b.embedding(table, ids).unwrap();
    let y = b.block_matmul(x, matrix, Some(bias)).unwrap();
    let tied = b.block_matmul(x, table, None).unwrap();
    b.output("y", y).unwrap();
    b.output("tied", tied).unwrap();
    b.output("bias.f32", bias).unwrap();
    let graph = b.finish();

    let bytes = pollster::block_on(fewbit_onnx::export(&graph, &source)).unwrap();
    let ids = integers(&[1, 3], &[5, 0, 2]);
    let given = Named::from([("ids".to_owned(), ids)]);
    let mut all = views(&given);
    let (of_matrix, of_bias) = ([rows, columns], [rows]);
    let stored: [(&str, ElementType, &[usize], &[u8]); 3] = [
        ("table", block, &of_matrix, &blocks),
        ("matrix", f16, &of_matrix, &short),
        ("bias", f16, &of_bias, &short[..2 * rows]),
    ];
    for (name, element, shape, bytes) in stored {
        let view = View {
            element,
            shape,
            bytes,
        };
        all.insert(name.to_owned(), view);
    }
    let expected = evaluate_graph(&graph, &all).unwrap().outputs;
    near(&run(&bytes, &given), &expected, &"weights");
    let written = crate::interpreter::read(&bytes);
    for name in ["table", "matrix", "bias"] {
        let named =
            |tensor: &&fewbit_onnx::proto::TensorProto| tensor.name.as_deref() == Some(name);
        let found: Vec<_> = written.initializer.iter().filter(named).collect();
        assert!(found.len() == 1 && found[0].data_type == Some(1), "{name}");
    }
}

#[test]
fn scattering_and_extensions() {
    let x = floats(&[4, 3]);
    let places = integers(&[2, 1], &[2, 0]);
    for scatter in [
        Scatter::Replace,
        Scatter::Add,
        Scatter::Mul,
        Scatter::Max,
        Scatter::Min,
    ] {
        let inputs = [x.clone(), places.clone(), floats(&[2, 3])];
        holds(Op::ScatterNd(scatter), &inputs);
    }
    holds(Op::Extension(Extension::Atan), std::slice::from_ref(&x));
    for op in [Bitwise::And, Bitwise::Or, Bitwise::Xor] {
        let (a, b) = (integers(&[3], &[-7, 6, 12]), integers(&[1], &[5]));
        holds(Op::Extension(Extension::Bitwise(op)), &[a, b]);
    }
}
