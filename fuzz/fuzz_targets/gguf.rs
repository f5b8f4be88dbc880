//! The GGUF reader on any bytes, with and without a right beginning; also with a prefix cut short.
#![no_main]

use fewbit_engine::format::{Parsed, gguf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // Most mutations break the fixed part; this one is past it.
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(bytes);
    read(&file);
});

fn read(file: &[u8]) {
    let len = file.len() as u64;
    match gguf::parse(file, len, "fuzz.gguf") {
        Ok(Parsed::Done(gguf)) => {
            for entry in gguf.checkpoint.tensors.values() {
                assert!(entry.offset + entry.bytes <= len);
                assert_eq!(
                    entry.element.byte_len(&entry.shape),
                    Some(entry.bytes as usize)
                );
            }
        }
        Ok(Parsed::NeedMore(_)) => panic!("the whole file was there"),
        Err(error) => {
            let _ = error.to_string();
        }
    }
    // Half of the file: more is asked for, or the header is in that half; never more than there is.
    if let Ok(Parsed::NeedMore(bytes)) = gguf::parse(&file[..file.len() / 2], len, "fuzz.gguf") {
        assert!(bytes > len / 2 && bytes <= len);
    }
}
