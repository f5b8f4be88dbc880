use std::rc::Rc;

use proptest::prelude::*;

use super::write::{Writer, array, string};
use super::*;
use crate::format::{MetaArray, MetaValue, read_tensor};
use crate::source::MemorySource;
use crate::tensor::{BlockFormat, DataType, ElementType};

/// A file with every value type and three tensors, whose last byte is the last tensor's.
fn sample() -> Writer {
    let mut w = Writer::new();
    w.pair("general.architecture", 8, &string("llama"));
    w.pair("a.u8", 0, &[200]);
    w.pair("a.i8", 1, &[0xff]);
    w.pair("a.u16", 2, &65535u16.to_le_bytes());
    w.pair("a.i16", 3, &(-2i16).to_le_bytes());
    w.pair("a.u32", 4, &7u32.to_le_bytes());
    w.pair("a.i32", 5, &(-3i32).to_le_bytes());
    w.pair("a.f32", 6, &1.5f32.to_le_bytes());
    w.pair("a.bool", 7, &[1]);
    w.pair("a.u64", 10, &(1u64 << 40).to_le_bytes());
    w.pair("a.i64", 11, &(-4i64).to_le_bytes());
    w.pair("a.f64", 12, &2.5f64.to_le_bytes());
    let texts = [string("héllo"), string(""), string("w")].concat();
    w.pair("a.texts", 9, &array(8, 3, &texts));
    let floats = [1.0f32, -1.0].map(f32::to_le_bytes).concat();
    w.pair("a.floats", 9, &array(6, 2, &floats));
    let nested = [array(0, 2, &[1, 2]), array(7, 1, &[0])].concat();
    w.pair("a.nested", 9, &array(9, 2, &nested));
    w.tensor("matrix", &[2, 3], 0, &[1; 24]);
    w.tensor("blocks", &[32, 2], 2, &[2; 36]);
    w.tensor("half", &[5], 1, &[3; 10]);
    w
}

fn read(bytes: &[u8]) -> Result<Gguf, FormatError> {
    let source = MemorySource::new("t.gguf", bytes.to_vec());
    pollster::block_on(read_header(&source))
}

fn fault(bytes: &[u8]) -> FormatError {
    read(bytes).expect_err("the file is bad")
}

#[test]
fn reads_every_value_type() {
    let gguf = read(&sample().file()).unwrap();
    let m = gguf.metadata();
    assert_eq!(m.str("general.architecture"), Ok("llama"));
    assert_eq!(m.u32("a.u8"), Ok(200));
    assert_eq!(m.i64("a.i8"), Ok(-1));
    assert_eq!(m.usize("a.u16"), Ok(65535));
    assert_eq!(m.i64("a.i16"), Ok(-2));
    assert_eq!(m.u64("a.u32"), Ok(7));
    assert_eq!(m.i64("a.i32"), Ok(-3));
    assert_eq!(m.f32("a.f32"), Ok(1.5));
    assert_eq!(m.bool("a.bool"), Ok(true));
    assert_eq!(m.u64("a.u64"), Ok(1 << 40));
    assert_eq!(m.i64("a.i64"), Ok(-4));
    assert_eq!(m.f32("a.f64"), Ok(2.5));
    assert_eq!(m.strings("a.texts").unwrap(), ["héllo", "", "w"]);
    assert_eq!(m.f32s("a.floats").unwrap(), [1.0, -1.0]);
    let nested = MetaArray::Array(vec![
        MetaArray::U8(vec![1, 2]),
        MetaArray::Bool(vec![false]),
    ]);
    assert_eq!(m.get("a.nested"), Some(&MetaValue::Array(nested)));
    assert_eq!(m.len(), 15);
}

#[test]
fn getters_name_the_key() {
    let gguf = read(&sample().file()).unwrap();
    let m = gguf.metadata();
    let told = m.u32("a.i32").unwrap_err().to_string();
    assert_eq!(
        told,
        "metadata key \"a.i32\" is -3, an integer of 32 bits without sign is needed"
    );
    let told = m.u32("a.none").unwrap_err().to_string();
    assert_eq!(told, "metadata key \"a.none\" is missing");
    let told = m.f32s("a.texts").unwrap_err().to_string();
    assert!(told.contains("string[3]"), "{told}");
}

#[test]
fn reads_tensors() {
    for version in [2, 3] {
        let mut w = sample();
        w.version = version;
        let file = w.file();
        let gguf = read(&file).unwrap();
        assert_eq!(gguf.version, version);
        let matrix = gguf.checkpoint.get("matrix").unwrap();
        assert_eq!(matrix.shape, [3, 2]);
        assert_eq!(matrix.element, ElementType::F32);
        let blocks = gguf.checkpoint.get("blocks").unwrap();
        assert_eq!(blocks.shape, [2, 32]);
        assert_eq!(blocks.element, ElementType::Block(BlockFormat::Q4_0));
        let half = gguf.checkpoint.get("half").unwrap();
        assert_eq!(half.element, ElementType::Plain(DataType::F16));
        let sources: Vec<Rc<dyn ByteSource>> = vec![Rc::new(MemorySource::new("t", file))];
        for (entry, byte, bytes) in [(matrix, 1, 24), (blocks, 2, 36), (half, 3, 10)] {
            let got = pollster::block_on(read_tensor(&sources, entry)).unwrap();
            assert_eq!(got, vec![byte; bytes]);
            assert_eq!(entry.offset % 32, 0);
        }
        let told = gguf.checkpoint.get("nothing").unwrap_err().to_string();
        assert_eq!(told, "t.gguf: tensor \"nothing\": there is no such tensor");
    }
}

#[test]
fn keeps_to_another_alignment() {
    let mut w = Writer::new();
    w.alignment = 128;
    w.pair("general.alignment", 4, &128u32.to_le_bytes());
    w.tensor("a", &[1], 24, &[1]);
    w.tensor("b", &[1], 24, &[2]);
    let gguf = read(&w.file()).unwrap();
    assert_eq!(gguf.alignment, 128);
    let (a, b) = (&gguf.checkpoint.tensors["a"], &gguf.checkpoint.tensors["b"]);
    assert_eq!(
        (a.offset, b.offset),
        (gguf.data_offset, gguf.data_offset + 128)
    );
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let file = sample().file();
    for length in 0..file.len() {
        let error = fault(&file[..length]);
        assert_eq!(error.file, "t.gguf", "{length}: {error}");
        assert!(
            matches!(
                *error.fault,
                Fault::Truncated { .. } | Fault::Count { .. } | Fault::OutOfRange { .. }
            ),
            "{length}: {error}"
        );
    }
    assert!(read(&file).is_ok());
}

/// A prefix of any length asks for more, or answers; it is never taken for the whole file.
#[test]
fn a_short_prefix_asks_for_more() {
    let file = sample().file();
    let header = sample().header().len();
    for length in 0..file.len() {
        match parse(&file[..length], file.len() as u64, "t.gguf").unwrap() {
            Parsed::Done(_) => assert!(length >= header),
            Parsed::NeedMore(bytes) => {
                assert!(length < header);
                assert!(bytes > length as u64 && bytes <= header as u64);
            }
        }
    }
}

/// Reads a header far longer than the first read, with the source watching what is asked for.
#[test]
fn reads_little_more_than_the_header() {
    struct Watched(MemorySource, std::cell::Cell<u64>);
    impl ByteSource for Watched {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn read_at<'a>(
            &'a self,
            offset: u64,
            buffer: &'a mut [u8],
        ) -> crate::source::LocalFuture<'a, Result<(), crate::source::SourceError>> {
            self.1.set(self.1.get() + buffer.len() as u64);
            self.0.read_at(offset, buffer)
        }
    }
    let mut w = Writer::new();
    let texts: Vec<u8> = (0..30_000)
        .flat_map(|n| string(&format!("token {n}")))
        .collect();
    w.pair("texts", 9, &array(8, 30_000, &texts));
    w.tensor("big", &[8 << 20], 24, &vec![0; 8 << 20]);
    let header = w.header().len() as u64;
    let source = Watched(MemorySource::new("t.gguf", w.file()), Default::default());
    let gguf = pollster::block_on(read_header(&source)).unwrap();
    assert_eq!(
        gguf.metadata().strings("texts").unwrap()[29_999],
        "token 29999"
    );
    assert!(header > 4 * (64 << 10));
    assert!(
        source.1.get() <= 4 * header,
        "{} of {header}",
        source.1.get()
    );
}

#[test]
fn refuses_other_files() {
    assert!(matches!(
        *fault(b"PK\x03\x04aaaa").fault,
        Fault::Magic { .. }
    ));
    for (version, big_endian) in [(1u32, false), (4, false), (3u32.swap_bytes(), true)] {
        let mut w = sample();
        w.version = version;
        let error = fault(&w.file());
        assert_eq!(matches!(*error.fault, Fault::BigEndian), big_endian);
        assert_eq!(matches!(*error.fault, Fault::Version(_)), !big_endian);
    }
}

#[test]
fn huge_counts_are_refused_before_memory_is_asked_for() {
    for count in [1 << 20, 1 << 40, u64::MAX / 14, u64::MAX] {
        let mut w = sample();
        w.tensor_count = Some(count);
        assert!(matches!(
            *fault(&w.file()).fault,
            Fault::Count {
                what: "tensors",
                ..
            }
        ));
        let mut w = sample();
        w.pair_count = Some(count);
        assert!(matches!(*fault(&w.file()).fault, Fault::Count { .. }));
        for type_number in [0, 5, 7, 8, 9, 12] {
            let mut w = Writer::new();
            w.pair("k", 9, &array(type_number, count, &[0; 64]));
            let error = fault(&w.file());
            assert!(matches!(*error.fault, Fault::Count { .. }), "{error}");
        }
        let mut w = Writer::new();
        w.pair("k", 8, &count.to_le_bytes());
        assert!(matches!(*fault(&w.file()).fault, Fault::Truncated { .. }));
    }
}

#[test]
fn bad_metadata_names_the_key() {
    let one = |type_number, value: &[u8]| {
        let mut w = Writer::new();
        w.pair("some.key", type_number, value);
        fault(&w.file()).to_string()
    };
    assert_eq!(
        one(13, &[0; 8]),
        "t.gguf: at byte 40: metadata key \"some.key\": unknown value type 13"
    );
    assert!(one(7, &[2]).ends_with("metadata key \"some.key\": 2 is no boolean (0 or 1)"));
    assert!(one(9, &array(77, 0, &[])).contains("unknown value type 77"));
    let mut deep = array(0, 0, &[]);
    for _ in 0..5 {
        deep = array(9, 1, &deep);
    }
    assert!(one(9, &deep).contains("arrays nested deeper than 4"));
    let mut broken = string("ab");
    broken[9] = 0xff;
    assert!(one(8, &broken).contains("not valid UTF-8"));
    let mut w = sample();
    w.pair("a.u8", 0, &[1]);
    assert!(matches!(*fault(&w.file()).fault, Fault::DuplicateKey(key) if key == "a.u8"));
    let mut w = Writer::new();
    w.pair("", 0, &[1]);
    assert!(matches!(*fault(&w.file()).fault, Fault::EmptyName(_)));
    for alignment in [0u32, 3, 48] {
        let mut w = Writer::new();
        w.pair("general.alignment", 4, &alignment.to_le_bytes());
        assert!(matches!(*fault(&w.file()).fault, Fault::Alignment(_)));
    }
    let mut w = Writer::new();
    w.pair("general.alignment", 8, &string("32"));
    assert!(matches!(*fault(&w.file()).fault, Fault::Metadata(_)));
}

/// A tensor that is wrong in one way: the error names it.
fn bad_tensor(change: impl FnOnce(&mut super::write::TensorSpec)) -> Fault {
    let mut w = sample();
    change(w.tensors.last_mut().unwrap());
    let name = w.tensors.last().unwrap().name.clone();
    let error = fault(&w.file());
    assert_eq!(error.tensor, Some(name), "{error}");
    assert!(error.offset.is_some(), "{error}");
    *error.fault
}

#[test]
fn bad_tensors_are_named() {
    for number in [16, 39] {
        let fault = bad_tensor(|t| t.type_number = number);
        assert!(matches!(fault, Fault::UnsupportedTensorType { number: n, .. } if n == number));
    }
    let fault = bad_tensor(|t| t.type_number = 1000);
    assert!(matches!(fault, Fault::UnknownTensorType { number: 1000 }));
    for ne in [
        vec![1 << 32; 2],
        vec![1 << 31; 3],
        vec![u64::MAX],
        vec![0, 1 << 40, 1 << 40],
    ] {
        let fault = bad_tensor(|t| t.ne = ne);
        assert!(matches!(fault, Fault::ShapeTooLarge { .. }));
    }
    let fault = bad_tensor(|t| t.ne = vec![1; 17]);
    assert!(matches!(fault, Fault::Rank { rank: 17, .. }));
    let fault = bad_tensor(|t| {
        t.type_number = 2;
        t.ne = vec![31];
    });
    assert!(matches!(fault, Fault::PartialBlock { block: 32, .. }));
    let fault = bad_tensor(|t| {
        t.type_number = 12;
        t.ne = vec![];
    });
    assert!(matches!(fault, Fault::PartialBlock { block: 256, .. }));
    let fault = bad_tensor(|t| t.offset += 1);
    assert!(matches!(fault, Fault::Misaligned { .. }));
    for offset in [32 * 100, u64::MAX - 31] {
        let fault = bad_tensor(|t| t.offset = offset);
        assert!(matches!(fault, Fault::OutOfRange { .. }));
    }
    let fault = bad_tensor(|t| t.ne = vec![6]);
    assert!(matches!(fault, Fault::OutOfRange { .. }));
    let fault = bad_tensor(|t| t.offset = 64);
    assert!(matches!(fault, Fault::Overlap { other } if other == "blocks"));
    let fault = bad_tensor(|t| t.name = "blocks".to_owned());
    assert!(matches!(fault, Fault::DuplicateTensor));
}

#[test]
fn names_in_errors_are_short_and_printable() {
    let mut w = sample();
    w.tensors[0].name = format!("\u{1b}[31m{}", "x".repeat(1000));
    w.tensors[0].type_number = 99;
    let told = fault(&w.file()).to_string();
    assert!(told.len() < 300 && !told.contains('\u{1b}'), "{told}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(&bytes);
        let _ = read(&file);
    }

    #[test]
    fn changed_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut file = sample().file();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if cuts {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(gguf) = read(&file) {
            for entry in gguf.checkpoint.tensors.values() {
                prop_assert!(entry.offset + entry.bytes <= file.len() as u64);
            }
        }
    }

    /// A u64 anywhere in the header replaced by one that provokes overflow.
    #[test]
    fn changed_numbers_never_panic(
        at in any::<prop::sample::Index>(),
        number in prop_oneof![Just(u64::MAX), Just(1 << 63), Just(u64::MAX - 31), Just(1 << 32), any::<u64>()],
    ) {
        let mut file = sample().file();
        let at = at.index(sample().header().len() - 8);
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = read(&file);
    }
}
