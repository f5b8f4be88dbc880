use proptest::prelude::*;

use super::*;
use crate::source::MemorySource;

/// A file with these variables: name, shape, type, bytes.
fn file(variables: &[(&str, &[u32], u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = 6u32.to_le_bytes().to_vec();
    let string = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u16 + 1).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
    };
    string(&mut bytes, "WhisperSpec");
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((variables.len() as u32).to_le_bytes());
    for (name, shape, number, data) in variables {
        string(&mut bytes, name);
        bytes.push(shape.len() as u8);
        for size in *shape {
            bytes.extend(size.to_le_bytes());
        }
        bytes.push(*number);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
    }
    bytes.extend(1u32.to_le_bytes());
    string(&mut bytes, "decoder/projection/weight");
    string(&mut bytes, "decoder/embeddings/weight");
    bytes
}

fn small() -> Vec<u8> {
    // The first is longer than a window, so that the walk has to skip.
    file(&[
        ("decoder/embeddings/weight", &[700, 4], 4, vec![7; 5600]),
        (
            "encoder/layer_3/self_attention/linear_0/weight",
            &[6, 2],
            0,
            vec![1; 48],
        ),
        (
            "decoder/layer_0/attention/linear_1/bias",
            &[4],
            4,
            vec![2; 8],
        ),
        ("decoder/layer_0/ffn/layer_norm/gamma", &[2], 5, vec![3; 4]),
        ("encoder/num_heads", &[], 2, vec![6, 0]),
        ("something/else", &[1], 1, vec![9]),
    ])
}

#[test]
fn variables_become_named_tensors_and_fused_ones_are_split() {
    let bytes = small();
    let checkpoint = parse(&bytes, "model.bin").unwrap();
    let names: Vec<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "model.decoder.embed_tokens.weight",
            "model.decoder.layers.0.encoder_attn.k_proj.bias",
            "model.decoder.layers.0.encoder_attn.v_proj.bias",
            "model.decoder.layers.0.final_layer_norm.weight",
            "model.encoder.layers.3.self_attn.k_proj.weight",
            "model.encoder.layers.3.self_attn.q_proj.weight",
            "model.encoder.layers.3.self_attn.v_proj.weight",
            "something/else",
        ]
    );
    let part = |which: &str| {
        let name = format!("model.encoder.layers.3.self_attn.{which}_proj.weight");
        checkpoint.get(&name).unwrap()
    };
    let (q, k, v) = (part("q"), part("k"), part("v"));
    assert_eq!((q.shape.as_slice(), q.bytes), (&[2, 2][..], 16));
    assert_eq!((k.offset, v.offset), (q.offset + 16, q.offset + 32));
    assert_eq!(bytes[q.offset as usize..][..48], [1; 48]);
    assert_eq!(
        checkpoint.metadata.u32("ctranslate2.encoder/num_heads"),
        Ok(6)
    );
    assert_eq!(checkpoint.metadata.u32("ctranslate2.revision"), Ok(3));
}

#[test]
fn reading_piece_by_piece_finds_the_same() {
    let bytes = small();
    let whole = parse(&bytes, "model.bin").unwrap();
    let source = MemorySource::new("model.bin", bytes);
    assert_eq!(pollster::block_on(read_header(&source)).unwrap(), whole);
}

#[test]
fn faults_name_the_tensor() {
    let told = |bytes: &[u8]| parse(bytes, "model.bin").unwrap_err().to_string();
    let wrong = file(&[("encoder/x", &[2, 3], 0, vec![0; 20])]);
    assert!(told(&wrong).contains("encoder/x"), "{}", told(&wrong));
    let fused = file(&[(
        "encoder/layer_0/self_attention/linear_0/bias",
        &[4],
        1,
        vec![0; 4],
    )]);
    assert!(told(&fused).contains("3 tensors"), "{}", told(&fused));
    let twice = file(&[("a", &[1], 1, vec![0]), ("a", &[1], 1, vec![0])]);
    assert!(told(&twice).contains("twice"), "{}", told(&twice));
    let mut other = small();
    other[6] = b'X';
    assert!(told(&other).contains("XhisperSpec"), "{}", told(&other));
    let mut many = small();
    many[22..26].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(
        told(&many).contains("4294967295 variables"),
        "{}",
        told(&many)
    );
    let mut longer = small();
    longer.push(0);
    assert!(
        told(&longer).contains("belong to no tensor"),
        "{}",
        told(&longer)
    );
    assert!(told(b"").contains("the version"));
}

proptest! {
    /// A file cut short, or with a byte that lies, is read or is a fault; both ways of reading agree.
    #[test]
    fn any_damage_ends(at in 0usize..5900, to in any::<u8>(), cut in 0usize..5900) {
        let mut bytes = small();
        let last = bytes.len() - 1;
        bytes[at.min(last)] = to;
        bytes.truncate(bytes.len() - cut.min(last));
        let len = bytes.len() as u64;
        let whole = parse(&bytes, "model.bin");
        let source = MemorySource::new("model.bin", bytes);
        let pieces = pollster::block_on(read_header(&source));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                for entry in whole.tensors.values() {
                    prop_assert!(entry.offset + entry.bytes <= len);
                }
                prop_assert_eq!(whole, pieces);
            }
            (Err(whole), Err(pieces)) => {
                prop_assert_eq!(whole.to_string(), pieces.to_string());
            }
            (whole, pieces) => prop_assert!(false, "{whole:?} {pieces:?}"),
        }
    }
}
