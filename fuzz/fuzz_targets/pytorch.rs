//! The reader of PyTorch's archives on any bytes: as a file, and as the pickle of a file whose archive is right.
#![no_main]

use fewbit_engine::format::pytorch;
use fewbit_engine::source::MemorySource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    read(archive(bytes));
});

fn read(file: Vec<u8>) {
    let len = file.len() as u64;
    let source = MemorySource::new("fuzz.bin", file);
    match pollster::block_on(pytorch::read_header(&source)) {
        Ok(checkpoint) => {
            for entry in checkpoint.tensors.values() {
                assert!(entry.offset + entry.bytes <= len);
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

/// An archive of this pickle and a storage of 8 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("a/data.pkl", pickle), ("a/data/0", &[0; 8][..])] {
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
