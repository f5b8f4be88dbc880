use proptest::prelude::*;

use super::*;
use crate::element::fixture::{floats, tensor};

fn decoded(element: ElementType, bytes: &[u8], elements: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; elements];
    decode(element, bytes, &mut out).unwrap();
    out
}

/// Blocks and values made by ggml's own Python package (see fixtures/block_formats.py).
#[test]
fn agrees_with_ggml_to_the_last_bit() {
    let of_gguf = |format: &BlockFormat| !format.has_zero_point();
    for format in BlockFormat::ALL.into_iter().filter(of_gguf) {
        let blocks = tensor(&format!("decode.{format}.blocks"));
        let expected = floats(&format!("decode.{format}.values"));
        let got = decoded(format.into(), &blocks, expected.len());
        for (n, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(
                got.to_bits(),
                expected.to_bits(),
                "{format} weight {n}: {got} {expected}"
            );
        }
    }
}

/// By hand: scale 0.5 (f16 0x3800), minimum −1 (0xbc00), codes 0…15 in the low halves, 15…0 in the high ones.
#[test]
fn decodes_a_hand_made_block() {
    let nibbles: Vec<u8> = (0..16).map(|j| j | ((15 - j) << 4)).collect();
    let q4_0 = [&[0x00, 0x38], nibbles.as_slice()].concat();
    let out = decoded(BlockFormat::Q4_0.into(), &q4_0, 32);
    assert_eq!((out[0], out[8], out[15]), (-4.0, 0.0, 3.5));
    assert_eq!((out[16], out[31]), (3.5, -4.0));

    let q4_1 = [&[0x00, 0x38, 0x00, 0xbc], nibbles.as_slice()].concat();
    let out = decoded(BlockFormat::Q4_1.into(), &q4_1, 32);
    assert_eq!((out[0], out[2], out[15]), (-1.0, 0.0, 6.5));
    assert_eq!((out[16], out[31]), (6.5, -1.0));

    // Fifth bits of weights 0, 17 and 31.
    let high = (1u32 | 1 << 17 | 1 << 31).to_le_bytes();
    let q5_0 = [&[0x00, 0x38], high.as_slice(), &nibbles].concat();
    let out = decoded(BlockFormat::Q5_0.into(), &q5_0, 32);
    assert_eq!((out[0], out[1]), (0.0, -7.5));
    assert_eq!((out[16], out[17], out[31]), (-0.5, 7.0, 0.0));

    let q5_1 = [&[0x00, 0x38, 0x00, 0xbc], high.as_slice(), &nibbles].concat();
    let out = decoded(BlockFormat::Q5_1.into(), &q5_1, 32);
    assert_eq!((out[0], out[1], out[17]), (7.0, -0.5, 14.0));

    let codes: Vec<u8> = (0..32).map(|j| (j as i8 - 16) as u8).collect();
    let q8_0 = [&[0x00, 0x38], codes.as_slice()].concat();
    let out = decoded(BlockFormat::Q8_0.into(), &q8_0, 32);
    assert_eq!((out[0], out[16], out[31]), (-8.0, 0.0, 7.5));
}

/// By hand: scale 0.5, zero point 3.5.
#[test]
fn decodes_blocks_with_a_zero_point() {
    let head = [0.5f32.to_le_bytes(), 3.5f32.to_le_bytes()].concat();
    let nibbles: Vec<u8> = (0..16).map(|j| j | ((15 - j) << 4)).collect();
    let out = decoded(BlockFormat::Q4Z.into(), &[&head[..], &nibbles].concat(), 32);
    assert_eq!(
        (out[0], out[8], out[16], out[31]),
        (-1.75, 2.25, 5.75, -1.75)
    );

    // Byte 1 holds the weights 1, 9, 17 and 25.
    let codes = [0, 0b11_10_01_00, 0, 0, 0, 0, 0, 0];
    let out = decoded(BlockFormat::Q2Z.into(), &[&head[..], &codes].concat(), 32);
    assert_eq!(
        (out[1], out[9], out[17], out[25]),
        (-1.75, -1.25, -0.75, -0.25)
    );

    let codes: Vec<u8> = (0..32).map(|j| j * 8).collect();
    let out = decoded(BlockFormat::Q8Z.into(), &[&head[..], &codes].concat(), 32);
    assert_eq!((out[0], out[1], out[31]), (-1.75, 2.25, 122.25));
}

#[test]
fn decodes_plain_types() {
    let f32s = |data_type: DataType, bytes: &[u8]| {
        decoded(data_type.into(), bytes, bytes.len() / data_type.bytes())
    };
    assert_eq!(f32s(DataType::F32, &1.25f32.to_le_bytes()), [1.25]);
    assert_eq!(f32s(DataType::F64, &(-0.1f64).to_le_bytes()), [-0.1]);
    // 1, the largest f16, the smallest subnormal one, minus infinity.
    let halves = [0x3c00u16, 0x7bff, 0x0001, 0xfc00]
        .map(u16::to_le_bytes)
        .concat();
    let expected = [1.0, 65504.0, 2f32.powi(-24), f32::NEG_INFINITY];
    assert_eq!(f32s(DataType::F16, &halves), expected);
    let brain = [0x3f80u16, 0xc049].map(u16::to_le_bytes).concat();
    assert_eq!(f32s(DataType::Bf16, &brain), [1.0, -3.140625]);
    assert_eq!(f32s(DataType::I64, &(-5i64).to_le_bytes()), [-5.0]);
    assert_eq!(f32s(DataType::I32, &i32::MAX.to_le_bytes()), [2147483648.0]);
    assert_eq!(f32s(DataType::I16, &(-300i16).to_le_bytes()), [-300.0]);
    assert_eq!(f32s(DataType::I8, &[0x80, 0x7f]), [-128.0, 127.0]);
    assert_eq!(
        f32s(DataType::U64, &u64::MAX.to_le_bytes()),
        [18446744073709551616.0]
    );
    assert_eq!(f32s(DataType::U32, &7u32.to_le_bytes()), [7.0]);
    assert_eq!(f32s(DataType::U16, &[0xff, 0xff]), [65535.0]);
    assert_eq!(f32s(DataType::U8, &[0, 255]), [0.0, 255.0]);
    assert_eq!(f32s(DataType::Bool, &[0, 1, 7]), [0.0, 1.0, 1.0]);
}

#[test]
fn lengths_must_agree() {
    let wrong = |element: ElementType, bytes: usize, elements: usize| {
        let error = decode(element, &vec![0; bytes], &mut vec![0.0; elements]).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Length {
                element,
                bytes,
                elements
            }
        );
    };
    wrong(ElementType::F32, 4, 2);
    wrong(ElementType::F32, 9, 2);
    wrong(BlockFormat::Q4_0.into(), 18, 31);
    wrong(BlockFormat::Q4_0.into(), 18, 64);
    wrong(BlockFormat::Q6K.into(), 209, 256);
    let mut two = [0.0; 64];
    assert!(decode_block(BlockFormat::Q8_0, &[0; 68], &mut two).is_err());
    assert!(decode_block(BlockFormat::Q8_0, &[0; 34], &mut two[..32]).is_ok());
    assert!(decode(BlockFormat::Q8_0.into(), &[], &mut []).is_ok());
}

proptest! {
    /// Every weight of a block is written, whatever its bytes, and no byte order breaks it.
    #[test]
    fn any_block_decodes(bytes in proptest::collection::vec(any::<u8>(), 256)) {
        for format in BlockFormat::ALL {
            let mut block = bytes[..format.bytes()].to_vec();
            // Finite scales: clear the top exponent bit of every byte pair that may be one.
            let scales: &[usize] = match format {
                BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
                BlockFormat::Q4_1 | BlockFormat::Q5_1 | BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
                BlockFormat::Q2K => &[80, 82],
                BlockFormat::Q3K => &[108],
                BlockFormat::Q6K => &[208],
                BlockFormat::Q2Z | BlockFormat::Q4Z | BlockFormat::Q8Z => &[2, 6],
            };
            for at in scales {
                block[at + 1] &= 0xbf;
            }
            let mut out = vec![f32::NAN; format.elements()];
            decode_block(format, &block, &mut out).unwrap();
            prop_assert!(out.iter().all(|x| x.is_finite()));
        }
    }
}
