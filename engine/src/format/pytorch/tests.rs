//! The fixtures have the layout that PyTorch 2 writes (`old.bin`: 1.6), byte for byte where it matters: zip64 end
//! records, aligned payloads, local headers without sizes.

use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::format::read_tensor;
use crate::format::safetensors_index::ShardIndex;
use crate::source::MemorySource;
use crate::tensor::{DataType, Tensor as HostTensor};

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

fn parse(bytes: Vec<u8>) -> Result<Checkpoint, FormatError> {
    pollster::block_on(read_header(&MemorySource::new("m.bin", bytes)))
}

fn told(bytes: Vec<u8>) -> String {
    parse(bytes).unwrap_err().to_string()
}

/// A tensor's type, shape and elements.
fn values(bytes: &[u8], name: &str) -> (DataType, Vec<usize>, Vec<f64>) {
    let checkpoint = parse(bytes.to_vec()).unwrap();
    let entry = checkpoint.get(name).unwrap();
    let sources: [Rc<dyn ByteSource>; 1] = [Rc::new(MemorySource::new("m.bin", bytes.to_vec()))];
    let raw = pollster::block_on(read_tensor(&sources, entry)).unwrap();
    let data_type = entry.element.plain().unwrap();
    let tensor = HostTensor::from_bytes(data_type, &entry.shape, &raw).unwrap();
    (data_type, entry.shape.clone(), tensor.to_f64_vec())
}

/// Puts `to` where `from` stands for the `nth` time.
fn patch(bytes: &[u8], from: &[u8], nth: usize, to: &[u8]) -> Vec<u8> {
    let places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from));
    let at = places.clone().nth(nth).unwrap();
    let mut patched = bytes.to_vec();
    patched[at..at + to.len()].copy_from_slice(to);
    patched
}

#[test]
fn every_tensor_of_a_state_dict_is_found() {
    for file in ["state_dict.bin", "nested.pt", "old.bin"] {
        let bytes = fixture(file);
        assert_eq!(parse(bytes.clone()).unwrap().tensors.len(), 10, "{file}");
        let quarters: Vec<f64> = (0..6).map(|n| f64::from(n) / 4.0).collect();
        for tied in ["embedding.weight", "head.weight"] {
            let got = values(&bytes, tied);
            assert_eq!(got, (DataType::F32, vec![2, 3], quarters.clone()));
        }
        for (name, data_type, shape, expected) in [
            ("a.half", DataType::F16, &[2][..], &[1.5, -2.0][..]),
            ("a.brain", DataType::Bf16, &[2, 1], &[1.0, -0.5]),
            ("a.parameter", DataType::F32, &[1], &[7.0]),
            ("part.one", DataType::F32, &[4], &[0.0, 1.0, 2.0, 3.0]),
            (
                "part.two",
                DataType::F32,
                &[1, 2, 3],
                &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            ),
            ("steps", DataType::I64, &[], &[300.0]),
            ("empty", DataType::F32, &[0, 3], &[]),
            ("mask", DataType::Bool, &[2], &[1.0, 0.0]),
        ] {
            let got = values(&bytes, name);
            assert_eq!(
                got,
                (data_type, shape.to_vec(), expected.to_vec()),
                "{name}"
            );
        }
    }
}

#[test]
fn code_is_refused_by_name() {
    for file in ["code.bin", "code4.bin"] {
        let error = parse(fixture(file)).unwrap_err();
        let Fault::Global(name) = &*error.fault else {
            panic!("{error}");
        };
        // What `os.system` is called where it was pickled.
        assert_eq!(name, "posix.system");
        assert!(error.to_string().contains("nothing of a pickle is run"));
        assert!(error.offset.is_some());
    }
    // A class of torch that no state dict needs.
    let other = patch(&fixture("old.bin"), b"HalfStorage", 0, b"HalfTensors");
    assert!(told(other).contains("\"torch.HalfTensors\""));
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let turned = told(fixture("transposed.bin"));
    assert!(
        turned.contains("\"turned\"") && turned.contains("[1, 3]") && turned.contains("contiguous"),
        "{turned}"
    );
    let legacy = told(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec());
    assert!(legacy.contains("before 1.6"), "{legacy}");
    assert!(told(b"GGUF".to_vec()).contains("no zip archive"));
    assert!(told(Vec::new()).contains("no zip archive"));
}

/// Where the directory's record of an entry begins.
fn record(bytes: &[u8], name: &str) -> usize {
    let name_at = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(name.as_bytes()))
        .find(|&at| at >= 46 && bytes[at - 46..].starts_with(b"PK\x01\x02"));
    name_at.unwrap() - 46
}

#[test]
fn a_directory_that_lies_is_refused() {
    let whole = fixture("state_dict.bin");
    let with = |name: &str, at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        let at = record(&whole, name) + at;
        bytes[at..at + to.len()].copy_from_slice(to);
        told(bytes)
    };
    let deflated = with("archive/data/0", 10, &[8]);
    assert!(
        deflated.contains("\"archive/data/0\" is compressed"),
        "{deflated}"
    );
    assert!(with("archive/data.pkl", 8, &[1]).contains("encrypted"));
    // One storage on another's bytes.
    let mut header = [0; 4];
    let first = record(&whole, "archive/data/0") + 42;
    header.copy_from_slice(&whole[first..first + 4]);
    let overlap = with("archive/data/3", 42, &header);
    assert!(overlap.contains("overlaps"), "{overlap}");
    // One with other bytes than the pickle says.
    let shorter: Vec<u8> = [8u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
    let length = with("archive/data/0", 20, &shorter);
    assert!(length.contains("asks for 24 bytes"), "{length}");
    // One beyond the file.
    let longer: Vec<u8> = [u32::MAX - 1; 2].map(u32::to_le_bytes).concat();
    let beyond = with("archive/data/7", 20, &longer);
    assert!(beyond.contains("outside the file's data"), "{beyond}");
    assert!(with("archive/data/0", 42, &[7]).contains("malformed"));
    assert!(with("archive/data/1", 46, b"archive/data/0").contains("one name"));
    assert!(with("archive/data/1", 46, b"archive/data/x").contains("has no \"archive/data/1\""));
    let big = patch(&whole, b"little", 0, b"bigger");
    assert!(told(big).contains("byteorder"));
}

/// An archive of one pickle and one storage of 8 bytes, with the plainest headers.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let entries = [("a/data.pkl", pickle), ("a/data/0", &[0; 8][..])];
    for (name, data) in entries {
        let at = file.len() as u32;
        let name_len = (name.len() as u16).to_le_bytes();
        let size = (data.len() as u32).to_le_bytes();
        file.extend(b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend(name_len);
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(data);
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 16]);
        directory.extend(size);
        directory.extend(size);
        directory.extend(name_len);
        directory.extend([0; 12]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let offset = (file.len() as u32).to_le_bytes();
    let bytes = (directory.len() as u32).to_le_bytes();
    file.extend(directory);
    file.extend(b"PK\x05\x06");
    file.extend([0; 8]);
    file.extend(bytes);
    file.extend(offset);
    file.extend([0; 2]);
    file
}

/// Opcodes that leave the storage of two f32 on the stack.
const STORAGE: &[u8] =
    b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ";

/// A state dict of `w`, a tensor of that storage with these arguments.
fn tensor_pickle(arguments: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(STORAGE);
    pickle.extend(arguments);
    pickle.extend(b"\x89NtRs.");
    pickle
}

#[test]
fn tensors_stay_in_their_storages() {
    // (offset, shape, strides)
    let good = tensor_pickle(b"K\x00K\x02\x85K\x01\x85");
    assert_eq!(parse(archive(&good)).unwrap().get("w").unwrap().shape, [2]);
    for (arguments, part) in [
        (&b"K\x01K\x02\x85K\x01\x85"[..], "outside the file's data"),
        (b"K\x00K\x03\x85K\x01\x85", "outside the file's data"),
        (
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x85K\x01\x85",
            "outside",
        ),
        (b"J\xff\xff\xff\xffK\x02\x85K\x01\x85", "another kind"),
        (b"K\x00K\x02\x85K\x00\x85", "not contiguous"),
        (b"K\x00K\x02\x85K\x01K\x01\x86", "another kind"),
        (
            b"K\x00J\xff\xff\xff\x7f\x85K\x01\x85",
            "outside the file's data",
        ),
        (
            b"K\x00(\x8a\x05\0\0\0\0\x01\x8a\x05\0\0\0\0\x01tK\x01K\x01\x86",
            "more bytes than can be addressed",
        ),
        (b"NK\x02\x85K\x01\x85", "another kind"),
    ] {
        let error = told(archive(&tensor_pickle(arguments)));
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn pickles_that_grow_are_refused() {
    let repeated = |unit: &[u8], times: usize| {
        let mut pickle = b"\x80\x02".to_vec();
        pickle.extend(unit.repeat(times));
        pickle.push(b'.');
        told(archive(&pickle))
    };
    for unit in [&b"}"[..], b")", b"N", b"(", b"Nq\x00"] {
        let error = repeated(unit, 600_000);
        assert!(error.contains("larger than a state dict"), "{error}");
    }
    let long = repeated(b"N", 9 << 20);
    assert!(long.contains("longer than the limit"), "{long}");
    // One storage under more names than tied weights have.
    let mut pickle = tensor_pickle(b"K\x00K\x02\x85K\x01\x85");
    pickle.truncate(pickle.len() - 2);
    pickle.extend(b"q\x00s");
    for n in 0..20_000 {
        pickle.extend(b"X\x05\0\0\0");
        pickle.extend(format!("{n:05}").as_bytes());
        pickle.extend(b"h\x00s");
    }
    pickle.push(b'.');
    // The pickle's own bytes count as room.
    assert_eq!(parse(archive(&pickle)).unwrap().tensors.len(), 20_001);
    pickle.truncate(pickle.len() - 1);
    pickle.extend([b"X\x01\0\0\0xh\x00s".as_slice(); 2].concat());
    pickle.push(b'.');
    assert!(told(archive(&pickle)).contains("comes twice"));
    let selves = b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.";
    assert!(told(archive(selves)).contains("no tensor"));
    let state = b"\x80\x02}q\x00X\x0a\0\0\0state_dicth\x00s.";
    assert!(told(archive(state)).contains("no tensor"));
}

#[test]
fn other_opcodes_and_ends_are_refused() {
    for (pickle, part) in [
        (&b"\x80\x01."[..], "protocol"),
        (b"\x80\x02i", "0x69"),
        (b"\x80\x02R", "more from its stack"),
        (b"\x80\x02N(0", "0x30"),
        (b"\x80\x02N(a", "more from its stack"),
        (b"\x80\x02t", "more from its stack"),
        (b"\x80\x02h\x05", "recalls"),
        (b"\x80\x02Nq\x05", "holes"),
        (b"\x80\x02cos", "too early"),
        (b"\x80\x02cos\nsystem\n", "\"os.system\""),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93", "\"os.system\""),
        (b"\x80\x02X\xff\xff\xff\xffa", "too early"),
        (
            b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa",
            "too early",
        ),
        (b"\x80\x02X\x01\0\0\0\xff", "UTF-8"),
        (b"\x80\x02N.", "another kind"),
        (b"\x80\x02}.", "no tensor"),
        (
            b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
            "another kind",
        ),
        (b"", "too early"),
    ] {
        let error = told(archive(pickle));
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn shards_are_joined() {
    let index = r#"{"weight_map": {"a.half": "p-1.bin", "steps": "p-2.bin"}}"#;
    let index = ShardIndex::parse(index.as_bytes(), "pytorch_model.bin.index.json").unwrap();
    let shards: [Rc<dyn ByteSource>; 2] = [
        Rc::new(MemorySource::new("p-1.bin", fixture("state_dict.bin"))),
        Rc::new(MemorySource::new("p-2.bin", fixture("old.bin"))),
    ];
    let checkpoint = pollster::block_on(index.read_headers(&shards)).unwrap();
    assert_eq!(checkpoint.get("a.half").unwrap().file, 0);
    assert_eq!(checkpoint.get("steps").unwrap().file, 1);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = fixture("state_dict.bin");
    for length in 0..bytes.len() {
        assert!(parse(bytes[..length].to_vec()).is_err(), "{length}");
    }
}

/// Opcodes with their arguments.
const PIECES: &[&[u8]] = &[
    b"}",
    b")",
    b"(",
    b"t",
    b"s",
    b"u",
    b"R",
    b"b",
    b"q\x00",
    b"h\x00",
    b"\x85",
    b"\x87",
    b"K\x02",
    b"X\x01\0\0\0w",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
    b"N",
    b".",
    STORAGE,
    b"Q",
    b"]",
    b"e",
    b"a",
    b"\x94",
];

proptest! {
    /// A file with bytes that lie is read or is a fault, and what is read lies inside of it.
    #[test]
    fn any_damage_ends(places in prop::collection::vec((0usize..3300, any::<u8>()), 1..6), nested: bool) {
        let mut bytes = fixture(if nested { "nested.pt" } else { "state_dict.bin" });
        let last = bytes.len() - 1;
        for (at, to) in places {
            bytes[at.min(last)] = to;
        }
        let len = bytes.len() as u64;
        match parse(bytes) {
            Ok(checkpoint) => {
                for entry in checkpoint.tensors.values() {
                    prop_assert!(entry.offset + entry.bytes <= len);
                    prop_assert_eq!(entry.element.byte_len(&entry.shape), Some(entry.bytes as usize));
                }
            }
            Err(error) => prop_assert!(error.to_string().len() < 1000),
        }
    }

    #[test]
    fn any_pickle_ends(pickle in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let mut bytes = b"\x80\x02".to_vec();
        bytes.extend(pickle.concat());
        if let Err(error) = parse(archive(&bytes)) {
            prop_assert!(error.to_string().len() < 1000);
        }
    }
}
