use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::format::read_tensor;
use crate::source::MemorySource;

fn file(json: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(data);
    bytes
}

fn sample() -> Vec<u8> {
    let json = r#"{"__metadata__":{"format":"pt","\u0061":"b"},
        "weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b\u0069as":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},
        "none":{"dtype":"I64","shape":[0,4],"data_offsets":[30,30]},
        "scalar":{"dtype":"U8","shape":[],"data_offsets":[30,31]}}   "#;
    let data: Vec<u8> = (0..31).collect();
    file(json, &data)
}

fn read(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
    let source = MemorySource::new("t.safetensors", bytes.to_vec());
    pollster::block_on(read_header(&source))
}

fn fault(json: &str, data: usize) -> FormatError {
    let error = read(&file(json, &vec![0; data])).expect_err(json);
    assert_eq!(error.file, "t.safetensors");
    error
}

#[test]
fn reads_tensors_and_metadata() {
    let bytes = sample();
    let checkpoint = read(&bytes).unwrap();
    assert_eq!(checkpoint.tensors.len(), 4);
    assert_eq!(checkpoint.total_bytes(), 31);
    assert_eq!(checkpoint.metadata.str("format"), Ok("pt"));
    assert_eq!(checkpoint.metadata.str("a"), Ok("b"));
    let weight = checkpoint.get("weight").unwrap();
    assert_eq!(
        (weight.shape.as_slice(), weight.element),
        (&[2, 3][..], ElementType::F32)
    );
    let bias = checkpoint.get("bias").unwrap();
    assert_eq!(bias.element, ElementType::Plain(DataType::Bf16));
    assert_eq!(checkpoint.get("scalar").unwrap().elements(), 1);
    assert_eq!(checkpoint.get("none").unwrap().elements(), 0);
    let sources: Vec<Rc<dyn ByteSource>> = vec![Rc::new(MemorySource::new("t", bytes))];
    let got = pollster::block_on(read_tensor(&sources, bias)).unwrap();
    assert_eq!(got, [24, 25, 26, 27, 28, 29]);
}

#[test]
fn reads_every_type() {
    let types = [
        ("F64", 8),
        ("F32", 4),
        ("F16", 2),
        ("BF16", 2),
        ("I64", 8),
        ("I32", 4),
        ("I16", 2),
        ("I8", 1),
        ("U64", 8),
        ("U32", 4),
        ("U16", 2),
        ("U8", 1),
        ("BOOL", 1),
    ];
    for (name, bytes) in types {
        let json =
            format!(r#"{{"x":{{"dtype":"{name}","shape":[1],"data_offsets":[0,{bytes}]}}}}"#);
        let checkpoint = read(&file(&json, &vec![0; bytes])).unwrap();
        let data_type = checkpoint.tensors["x"].element.plain().unwrap();
        assert_eq!(data_type.name().to_uppercase(), name);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("cut off");
        assert!(
            matches!(
                *error.fault,
                Fault::Truncated { .. } | Fault::OutOfRange { .. }
            ),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_short_prefix_asks_for_more() {
    let bytes = sample();
    let header = bytes.len() - 31;
    for length in 0..bytes.len() {
        match parse(&bytes[..length], bytes.len() as u64, "t").unwrap() {
            Parsed::Done(_) => assert!(length >= header),
            Parsed::NeedMore(more) => assert!(length < header && more > length as u64),
        }
    }
}

#[test]
fn bad_tensors_are_named() {
    let one = |dtype: &str, shape: &str, offsets: &str, data| {
        let json =
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
        let error = fault(&json, data);
        assert_eq!(error.tensor.as_deref(), Some("x"), "{error}");
        *error.fault
    };
    assert!(
        matches!(one("F8_E4M3", "[1]", "[0,1]", 1), Fault::UnsupportedDataType(t) if t == "F8_E4M3")
    );
    assert!(matches!(
        one("F32", "[2]", "[0,4]", 4),
        Fault::Length {
            expected: 8,
            got: 4
        }
    ));
    assert!(matches!(
        one("F32", "[2]", "[0,8]", 4),
        Fault::OutOfRange { .. }
    ));
    assert!(matches!(
        one("F32", "[2]", "[8,0]", 8),
        Fault::Backwards { .. }
    ));
    assert!(matches!(
        one(
            "U8",
            "[1]",
            "[18446744073709551614,18446744073709551615]",
            8
        ),
        Fault::OutOfRange { .. }
    ));
    for shape in [
        "[4294967296,4294967296]",
        "[18446744073709551615,2]",
        "[0,9223372036854775808,4]",
    ] {
        assert!(
            matches!(one("F32", shape, "[0,8]", 8), Fault::ShapeTooLarge { .. }),
            "{shape}"
        );
    }
    assert!(matches!(
        one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]", 1),
        Fault::Rank { .. }
    ));
    assert!(matches!(
        one("U8", "[1]", "[3,4]", 4),
        Fault::Hole { begin, end } if end - begin == 3
    ));
}

#[test]
fn tensors_must_cover_the_data_once() {
    let two = |first: &str, second: &str, data| {
        let json = format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{first}}},
                "b":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
        );
        read(&file(&json, &vec![0; data]))
    };
    assert!(two("[0,4]", "[4,8]", 8).is_ok());
    assert!(two("[4,8]", "[0,4]", 8).is_ok());
    let overlap = two("[0,4]", "[3,7]", 7).unwrap_err();
    assert_eq!(overlap.tensor.as_deref(), Some("b"));
    assert!(matches!(*overlap.fault, Fault::Overlap { other } if other == "a"));
    assert!(matches!(
        *two("[0,4]", "[5,9]", 9).unwrap_err().fault,
        Fault::Hole { .. }
    ));
    assert!(matches!(
        *two("[0,4]", "[4,8]", 9).unwrap_err().fault,
        Fault::Hole { .. }
    ));
}

#[test]
fn bad_headers_are_refused() {
    let x = r#""x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    assert!(matches!(
        *fault(&format!("{{{x},{x}}}"), 1).fault,
        Fault::DuplicateTensor
    ));
    let twice = r#"{"__metadata__":{"k":"1","k":"2"}}"#;
    assert!(matches!(*fault(twice, 0).fault, Fault::DuplicateKey(k) if k == "k"));
    for json in [
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        r#"{"__metadata__":{"k":1}}"#,
        r#"{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#,
        r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#,
        r#"{"x":{"dtype":"U8","shape":[1]}}"#,
        r#"{"x":null}"#,
        "{",
        "{}}",
    ] {
        assert!(matches!(*fault(json, 1).fault, Fault::Json(_)), "{json}");
    }
    // The parser quotes what it does not like; the error stays short.
    let long = format!(
        r#"{{"x":{{"dtype":"U8","shape":"{}"}}}}"#,
        "é".repeat(100_000)
    );
    let told = fault(&long, 1).to_string();
    assert!(told.len() < 600 && told.contains("line 1 column"), "{told}");
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(*fault(&deep, 1).fault, Fault::Json(_)));
    assert!(matches!(*fault("[]", 0).fault, Fault::Magic { .. }));
    assert!(matches!(*fault("", 0).fault, Fault::Magic { .. }));
    let mut huge = sample();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        *read(&huge).unwrap_err().fault,
        Fault::HeaderTooLarge { .. }
    ));
    huge[..8].copy_from_slice(&99_000_000u64.to_le_bytes());
    assert!(matches!(
        *read(&huge).unwrap_err().fault,
        Fault::Truncated { .. }
    ));
}

proptest! {
    #[test]
    fn arbitrary_headers_never_panic(json in ".{0,200}", data in 0usize..40) {
        let _ = read(&file(&json, &vec![0; data]));
    }

    #[test]
    fn changed_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(checkpoint) = read(&bytes) {
            for entry in checkpoint.tensors.values() {
                prop_assert!(entry.offset + entry.bytes <= bytes.len() as u64);
            }
        }
    }
}
