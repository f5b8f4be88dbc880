use proptest::prelude::*;

use super::*;
use crate::element::decode::decode;
use crate::element::fixture::{floats, tensor};

const ENCODED: [BlockFormat; 5] = [
    BlockFormat::Q4_0,
    BlockFormat::Q4_1,
    BlockFormat::Q5_0,
    BlockFormat::Q5_1,
    BlockFormat::Q8_0,
];

/// Values and blocks made by ggml's own Python package (see fixtures/block_formats.py).
#[test]
fn agrees_with_ggml() {
    let values = floats("encode.values");
    for format in ENCODED {
        let expected = tensor(&format!("encode.{format}.blocks"));
        let got = encode(format, &values).unwrap();
        let blocks = got
            .chunks_exact(format.bytes())
            .zip(expected.chunks_exact(format.bytes()));
        for (n, (got, expected)) in blocks.enumerate() {
            assert_eq!(got, expected, "{format} block {n}");
        }
        assert_eq!(got.len(), expected.len());
    }
}

#[test]
fn refuses_partial_blocks_and_k_quants() {
    let partial = encode(BlockFormat::Q4_0, &[0.0; 33]);
    let format = BlockFormat::Q4_0;
    assert_eq!(
        partial,
        Err(EncodeError::PartialBlock {
            format,
            elements: 33
        })
    );
    let k = encode(BlockFormat::Q4K, &[0.0; 256]);
    assert_eq!(k, Err(EncodeError::Unsupported(BlockFormat::Q4K)));
}

proptest! {
    /// Decoding gives back every value to within one step of the code (half a step, but for the end of
    /// the symmetric formats' range and the rounding of the scale to f16).
    #[test]
    fn decoding_comes_back(values in proptest::collection::vec(-100f32..100.0, 64)) {
        for format in ENCODED {
            let mut out = vec![0.0; 64];
            decode(format.into(), &encode(format, &values).unwrap(), &mut out).unwrap();
            for (values, out) in values.chunks(32).zip(out.chunks(32)) {
                let most = values.iter().fold(f32::MIN, |m, &x| m.max(x));
                let least = values.iter().fold(f32::MAX, |m, &x| m.min(x));
                let extreme = most.abs().max(least.abs());
                let step = match format {
                    BlockFormat::Q4_0 => extreme / 8.0,
                    BlockFormat::Q5_0 => extreme / 16.0,
                    BlockFormat::Q4_1 => (most - least) / 15.0,
                    BlockFormat::Q5_1 => (most - least) / 31.0,
                    _ => extreme / 127.0,
                };
                for (x, y) in values.iter().zip(out) {
                    prop_assert!((x - y).abs() <= step + extreme / 512.0, "{format}: {x} became {y}");
                }
            }
        }
    }

    /// No bits of a float break the encoder: NaN and infinities give some block, not a panic.
    #[test]
    fn any_floats_encode(bits in proptest::collection::vec(any::<u32>(), 32)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for format in ENCODED {
            prop_assert_eq!(encode(format, &values).unwrap().len(), format.bytes());
        }
    }
}
