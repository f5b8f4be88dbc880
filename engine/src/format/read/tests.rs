use proptest::prelude::*;

use super::*;
use crate::source::MemorySource;
use crate::tensor::{BlockFormat, DataType};

fn entry(element: ElementType, bytes: u64) -> TensorEntry {
    TensorEntry {
        name: "t".to_owned(),
        element,
        shape: vec![],
        file: 0,
        offset: 10,
        bytes,
    }
}

fn source(bytes: usize) -> Vec<Rc<dyn ByteSource>> {
    let bytes = (0..bytes).map(|n| n as u8).collect();
    vec![Rc::new(MemorySource::new("m.gguf", bytes))]
}

proptest! {
    #[test]
    fn chunks_cover_a_tensor_in_order(blocks in 0u64..200, most in 0usize..5000, format in 0usize..11) {
        let element = BlockFormat::ALL
            .get(format)
            .map_or(ElementType::Plain(DataType::F16), |&f| f.into());
        let block = element.block().map_or(2, BlockFormat::bytes);
        let entry = entry(element, blocks * block as u64);
        let mut next = 0;
        for chunk in entry.chunks(most) {
            prop_assert_eq!(chunk.offset, next);
            prop_assert!(chunk.bytes > 0 && chunk.bytes <= most.max(4 * block));
            prop_assert_eq!(chunk.offset % 4, 0);
            prop_assert_eq!(chunk.offset % block as u64, 0);
            next += chunk.bytes as u64;
        }
        prop_assert_eq!(next, entry.bytes);
    }
}

#[test]
fn chunks_join_to_the_tensor() {
    let sources = source(200);
    let entry = entry(ElementType::F32, 100);
    let whole = pollster::block_on(read_tensor(&sources, &entry)).unwrap();
    assert_eq!(whole, (10..110).collect::<Vec<u8>>());
    let (mut joined, mut buffer) = (Vec::<u8>::new(), Vec::new());
    for chunk in entry.chunks(16) {
        pollster::block_on(read_chunk(&sources, &entry, chunk, &mut buffer)).unwrap();
        joined.extend(&buffer);
    }
    assert_eq!(joined, whole);
}

#[test]
fn a_tensor_that_is_not_there_is_named() {
    let told = |entry: &TensorEntry, sources: &[Rc<dyn ByteSource>]| {
        pollster::block_on(read_tensor(sources, entry))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        told(&entry(ElementType::F32, 100), &source(50)),
        "m.gguf: tensor \"t\": at byte 10: the file ends at byte 50, the tensor needs it to reach 110"
    );
    // Larger than any memory: refused by the file's length, before memory is asked for.
    assert!(told(&entry(ElementType::F32, u64::MAX), &source(50)).contains("ends at byte 50"));
    assert!(told(&entry(ElementType::F32, 4), &[]).contains("file has number 0"));
}

#[test]
fn an_abort_is_told_from_a_fault() {
    struct Aborting;
    impl ByteSource for Aborting {
        fn name(&self) -> &str {
            "aborting"
        }
        fn len(&self) -> u64 {
            1 << 20
        }
        fn read_at<'a>(
            &'a self,
            _: u64,
            _: &'a mut [u8],
        ) -> crate::source::LocalFuture<'a, Result<(), crate::source::SourceError>> {
            Box::pin(async { Err(crate::source::SourceError::Aborted) })
        }
    }
    let sources: Vec<Rc<dyn ByteSource>> = vec![Rc::new(Aborting)];
    let error = pollster::block_on(read_tensor(&sources, &entry(ElementType::F32, 4))).unwrap_err();
    assert!(error.is_aborted());
    let error = pollster::block_on(super::super::gguf::read_header(&Aborting)).unwrap_err();
    assert!(error.is_aborted());
    assert_eq!(error.to_string(), "aborted");
}
