//! The carried blocks and values of fixtures/block_formats.py, for tests.

use crate::format::{Parsed, safetensors};

const FILE: &[u8] = include_bytes!("fixtures/block_formats.safetensors");

/// The bytes of one of its tensors.
pub(crate) fn tensor(name: &str) -> Vec<u8> {
    let Parsed::Done(checkpoint) =
        safetensors::parse(FILE, FILE.len() as u64, "block_formats.safetensors").unwrap()
    else {
        panic!("the whole file is there");
    };
    let entry = checkpoint.get(name).unwrap();
    FILE[entry.offset as usize..][..entry.bytes as usize].to_vec()
}

/// The elements of one of its f32 tensors.
pub(crate) fn floats(name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&tensor(name))
}
