//! The safetensors reader and the reader of the shards' index on any bytes.
#![no_main]

use fewbit_engine::format::{Parsed, safetensors, safetensors_index::ShardIndex};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // The same bytes as a header of the right length, half of them as data.
    let json = bytes.len() / 2;
    let mut file = (json as u64).to_le_bytes().to_vec();
    file.extend(bytes);
    read(&file);
    if let Ok(index) = ShardIndex::parse(bytes, "fuzz.index.json") {
        assert!(index.tensors.values().all(|&file| file < index.files.len()));
        assert!(index.files.iter().all(|file| !file.contains(['/', '\\'])));
    }
});

fn read(file: &[u8]) {
    let len = file.len() as u64;
    match safetensors::parse(file, len, "fuzz.safetensors") {
        Ok(Parsed::Done(checkpoint)) => {
            for entry in checkpoint.tensors.values() {
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
}
