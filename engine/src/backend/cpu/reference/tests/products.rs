use super::*;
use crate::tensor::{BlockFormat, decode, encode};

#[test]
fn matmul_broadcasts_its_batches() {
    let a = f(&[2, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0]);
    let b = f(&[2, 2, 1], &[1.0, 10.0, 2.0, 20.0]);
    let got = run(Op::Matmul, &[&a, &b]);
    let expected = [21.0, 43.0, 42.0, 86.0, 10.0, 1.0, 20.0, 2.0];
    assert_eq!(got, f(&[2, 2, 2, 1], &expected));
    let got = run(Op::Matmul, &[&i(&[1, 2], &[3, -4]), &i(&[2, 1], &[5, 6])]);
    assert_eq!(got, i(&[1, 1], &[-9]));
    let none = run(Op::Matmul, &[&f(&[2, 0], &[]), &f(&[0, 2], &[])]);
    assert_eq!(none, f(&[2, 2], &[0.0; 4]));
}

/// Sums that f32 would lose.
#[test]
fn matmul_accumulates_wide() {
    let a = f(&[1, 3], &[1e8, 1.0, -1e8]);
    let got = run(Op::Matmul, &[&a, &f(&[3, 1], &[1.0; 3])]);
    assert_eq!(got, f(&[1, 1], &[1.0]));
}

#[test]
fn block_matmul_multiplies_with_the_decoded_rows() {
    let values: Vec<f32> = (0..64).map(|n| (n as f32 * 0.7).sin()).collect();
    for format in [BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q8_0] {
        let bytes = encode(format, &values).unwrap();
        let mut decoded = vec![0.0; 64];
        decode(format.into(), &bytes, &mut decoded).unwrap();
        // A unit vector picks a column; the bias comes on top.
        let mut unit = vec![0.0; 32];
        unit[5] = 1.0;
        let x = f(&[1, 1, 32], &unit);
        let bias = f(&[2], &[100.0, 200.0]);
        let weight = View {
            element: format.into(),
            shape: &[2, 32],
            bytes: &bytes,
        };
        let op = Op::BlockMatmul {
            bias: true,
            exact: false,
        };
        let got = evaluate(&op, &[(&x).into(), weight, (&bias).into()]).unwrap();
        let expected = [decoded[5] + 100.0, decoded[37] + 200.0];
        close(&got, &f(&[1, 1, 2], &expected), 1e-7);
        let rows = evaluate(&Op::DequantizeBlocks, &[weight]).unwrap();
        assert_eq!(rows, f(&[2, 32], &decoded));
        let gathered = evaluate(
            &Op::Gather {
                axis: 0,
                decode: true,
            },
            &[weight, (&i(&[3], &[1, 0, -1])).into()],
        )
        .unwrap();
        let expected = [&decoded[32..], &decoded[..32], &decoded[32..]].concat();
        assert_eq!(gathered, f(&[3, 32], &expected));
    }
}

#[test]
fn block_matmul_takes_plain_weights() {
    let x = f(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let weight = f(&[1, 2], &[10.0, 1.0]);
    let op = Op::BlockMatmul {
        bias: false,
        exact: false,
    };
    assert_eq!(run(op.clone(), &[&x, &weight]), f(&[2, 1], &[12.0, 34.0]));
    let half = run(Op::Cast { to: DataType::Bf16 }, &[&weight]);
    assert_eq!(run(op, &[&x, &half]), f(&[2, 1], &[12.0, 34.0]));
}
