//! The CTranslate2 reader on any bytes, with and without a right beginning.
#![no_main]

use fewbit_engine::format::ctranslate2;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // Most mutations break the fixed part; this one is past it.
    let mut file = b"\x06\0\0\0\x0c\0WhisperSpec\0\x03\0\0\0".to_vec();
    file.extend(bytes);
    read(&file);
});

fn read(file: &[u8]) {
    match ctranslate2::parse(file, "fuzz.bin") {
        Ok(checkpoint) => {
            for entry in checkpoint.tensors.values() {
                assert!(entry.offset + entry.bytes <= file.len() as u64);
                assert_eq!(
                    entry.element.byte_len(&entry.shape),
                    Some(entry.bytes as usize)
                );
            }
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
}
