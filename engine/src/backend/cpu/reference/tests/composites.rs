//! Composites by hand, and each against its decomposition for shapes and values drawn at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::graph::decompose::decompose;
use crate::graph::op::{Attention, Binary, Fused, Operand, RotaryEmbedding, Step, Unary};
use crate::tensor::{BlockFormat, encode};

#[test]
fn rotary_embedding_turns_pairs() {
    // Position 1 turns by a quarter: (a, c) becomes (−c, a). The last element is not rotated.
    let cos = f(&[2, 2], &[1.0, 1.0, 0.0, 0.0]);
    let sin = f(&[2, 2], &[0.0, 0.0, 1.0, 1.0]);
    let x = f(
        &[1, 2, 1, 5],
        &[1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    );
    let turn = |interleaved, position: i32| {
        let op = Op::RotaryEmbedding(RotaryEmbedding { interleaved });
        run(op, &[&x, &cos, &sin, &i(&[1], &[position])])
    };
    let shape = [1, 2, 1, 5];
    let halves = [1.0, 2.0, 3.0, 4.0, 5.0, -3.0, -4.0, 1.0, 2.0, 5.0];
    assert_eq!(turn(false, 0), f(&shape, &halves));
    let pairs = [1.0, 2.0, 3.0, 4.0, 5.0, -2.0, 1.0, -4.0, 3.0, 5.0];
    assert_eq!(turn(true, 0), f(&shape, &pairs));
}

#[test]
fn kv_append_writes_where_it_should() {
    let state = i(&[2, 1, 3, 1], &[1, 2, 3, 4, 5, 6]);
    let new = i(&[2, 2, 1, 1], &[10, 20, 30, 40]);
    let got = run(Op::KvAppend, &[&state, &new, &i(&[2], &[0, 2])]);
    assert_eq!(got, i(&[2, 1, 3, 1], &[10, 20, 3, 4, 5, 30]));
    let got = run(Op::KvAppend, &[&state, &new, &i(&[2], &[-1, 3])]);
    assert_eq!(got, i(&[2, 1, 3, 1], &[20, 2, 3, 4, 5, 6]));
}

#[test]
fn attention_by_hand() {
    let op = |causal, bias| {
        Op::Attention(Attention {
            scale: 2.0,
            causal,
            bias,
        })
    };
    // Two query heads over one key head; key 1 has e² times the weight of key 0 for head 0, the same for head 1.
    let q = f(&[1, 1, 2, 1], &[1.0, 0.0]);
    let k = f(&[1, 1, 2, 1], &[0.0, 1.0]);
    let v = f(&[1, 1, 2, 1], &[10.0, 20.0]);
    let e2 = 1f32.exp().powi(2);
    let first = (10.0 + 20.0 * e2) / (1.0 + e2);
    let got = run(op(false, false), &[&q, &k, &v]);
    close(&got, &f(&[1, 1, 2, 1], &[first, 15.0]), 1e-6);
    let got = run(op(true, false), &[&q, &k, &v, &i(&[1], &[0])]);
    assert_eq!(got, f(&[1, 1, 2, 1], &[10.0, 10.0]));
    let bias = f(&[2], &[0.0, f32::NEG_INFINITY]);
    let got = run(op(true, true), &[&q, &k, &v, &i(&[1], &[5]), &bias]);
    assert_eq!(got, f(&[1, 1, 2, 1], &[10.0, 10.0]));
}

/// An input with its name, type and bytes.
struct Given {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl From<Tensor> for Given {
    fn from(tensor: Tensor) -> Given {
        Given {
            element: tensor.data_type().into(),
            shape: tensor.shape().to_vec(),
            bytes: tensor.bytes().to_vec(),
        }
    }
}

/// `op` evaluated whole and decomposed; both must agree, and the decomposition must be one.
fn agrees(op: Op, inputs: Vec<Given>, tolerance: f64) -> Result<(), TestCaseError> {
    let mut b = GraphBuilder::new();
    let mut ids = Vec::new();
    let mut given = BTreeMap::new();
    for (n, input) in inputs.iter().enumerate() {
        let name = n.to_string();
        // What a state's append changes must be a state.
        let id = match input.element.plain() {
            Some(data_type) if matches!(op, Op::KvAppend) && n == 0 => {
                b.state(&name, data_type, dims(&input.shape))
            }
            _ => b.weight(&name, input.element, &input.shape),
        };
        ids.push(id.unwrap());
        let view = View {
            element: input.element,
            shape: &input.shape,
            bytes: &input.bytes,
        };
        given.insert(name, view);
    }
    let y = b.op(op, &ids).unwrap();
    b.output("y", y).unwrap();
    let whole = b.finish();
    let parts = decompose(&whole, |_, _| false).unwrap();
    prop_assert!(parts.nodes.iter().all(|node| !node.op.is_composite()));
    let expected = &evaluate_graph(&parts, &given).unwrap().outputs["y"];
    let got = &evaluate_graph(&whole, &given).unwrap().outputs["y"];
    prop_assert_eq!(got.shape(), expected.shape());
    for (got, expected) in got.to_f64_vec().into_iter().zip(expected.to_f64_vec()) {
        let near = (got - expected).abs() <= tolerance * (1.0 + expected.abs());
        prop_assert!(near, "{} whole, {} decomposed", got, expected);
    }
    Ok(())
}

/// f32 between −2 and 2, the same for the same seed and shape.
fn noise(seed: u32, shape: &[usize]) -> Tensor {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect();
    f(shape, &values)
}

fn random(seed: u32, shape: &[usize]) -> Given {
    noise(seed, shape).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rms_normalization(rows in 1usize..4, width in 1usize..9, seed: u32) {
        let inputs = vec![random(seed, &[rows, width]), random(seed ^ 1, &[width])];
        agrees(Op::RmsNormalization { epsilon: 1e-5 }, inputs, 1e-5)?;
    }

    #[test]
    fn rotary_embedding(
        batch in 1usize..3, tokens in 1usize..4, heads in 1usize..3, half in 1usize..4,
        rest in 0usize..3, rows in 4usize..9, position in 0i32..5, interleaved: bool, seed: u32,
    ) {
        let positions: Vec<i32> = (0..batch as i32).map(|b| position + b).collect();
        let inputs = vec![
            random(seed, &[batch, tokens, heads, 2 * half + rest]),
            random(seed ^ 1, &[rows, half]),
            random(seed ^ 2, &[rows, half]),
            i(&[batch], &positions).into(),
        ];
        agrees(Op::RotaryEmbedding(RotaryEmbedding { interleaved }), inputs, 1e-5)?;
    }

    #[test]
    fn attention(
        batch in 1usize..3, tokens in 1usize..4, kv_heads in 1usize..3, group in 1usize..3,
        keys in 1usize..6, size in 1usize..5, position in 0i32..5, causal: bool, bias: bool,
        per_head: bool, seed: u32,
    ) {
        let heads = kv_heads * group;
        let mut inputs = vec![
            random(seed, &[batch, tokens, heads, size]),
            random(seed ^ 1, &[batch, kv_heads, keys, size]),
            random(seed ^ 2, &[batch, kv_heads, keys, size]),
        ];
        if causal {
            let positions: Vec<i32> = (0..batch as i32).map(|b| position + b).collect();
            inputs.push(i(&[batch], &positions).into());
        }
        if bias {
            let heads = if per_head { heads } else { 1 };
            inputs.push(random(seed ^ 3, &[batch, heads, 1, keys]));
        }
        let op = Op::Attention(Attention { scale: 0.7, causal, bias });
        agrees(op, inputs, 1e-5)?;
    }

    #[test]
    fn block_matmul(
        rows in 1usize..4, n in 1usize..4, blocks in 1usize..3, format in 0usize..6, bias: bool, seed: u32,
    ) {
        let weight = noise(seed, &[n, 32 * blocks]);
        let encoded = [
            BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q5_0, BlockFormat::Q5_1, BlockFormat::Q8_0,
        ];
        let weight = match encoded.get(format) {
            Some(&format) => Given {
                element: format.into(),
                shape: weight.shape().to_vec(),
                bytes: encode(format, weight.as_f32().unwrap()).unwrap(),
            },
            None => run(Op::Cast { to: DataType::F16 }, &[&weight]).into(),
        };
        let mut inputs = vec![random(seed ^ 1, &[1, rows, 32 * blocks]), weight];
        if bias {
            inputs.push(random(seed ^ 2, &[n]));
        }
        agrees(Op::BlockMatmul { bias, exact: false }, inputs, 1e-5)?;
    }

    #[test]
    fn kv_append(
        batch in 1usize..3, heads in 1usize..3, capacity in 1usize..6, size in 1usize..3,
        tokens in 1usize..4, position in -2i32..7, seed: u32,
    ) {
        let positions: Vec<i32> = (0..batch as i32).map(|b| position + b).collect();
        let inputs = vec![
            random(seed, &[batch, heads, capacity, size]),
            random(seed ^ 1, &[batch, tokens, heads, size]),
            i(&[batch], &positions).into(),
        ];
        agrees(Op::KvAppend, inputs, 0.0)?;
    }

    #[test]
    fn decoding_gather(rows in 1usize..5, index in -6i32..8, seed: u32) {
        let table = noise(seed, &[rows, 32]);
        let table = Given {
            element: BlockFormat::Q8_0.into(),
            shape: vec![rows, 32],
            bytes: encode(BlockFormat::Q8_0, table.as_f32().unwrap()).unwrap(),
        };
        let inputs = vec![table, i(&[2, 1], &[index, 0]).into()];
        agrees(Op::Gather { axis: 0, decode: true }, inputs, 0.0)?;
    }

    #[test]
    fn fused(rows in 1usize..4, width in 1usize..5, seed: u32) {
        let steps = vec![
            Step::Unary(Unary::Silu, Operand::Input(0)),
            Step::Binary(Binary::Mul, Operand::Step(0), Operand::Input(1)),
            Step::Unary(Unary::Gelu, Operand::Step(1)),
            Step::Binary(Binary::Sub, Operand::Step(2), Operand::Number(0.3)),
            Step::Clamp(Operand::Step(3), -0.4, 0.9),
        ];
        let inputs = vec![random(seed, &[rows, width]), random(seed ^ 1, &[width])];
        // Both round at the same places, so they are equal to the last bit.
        agrees(Op::Fused(Fused { steps }), inputs, 0.0)?;
    }
}
