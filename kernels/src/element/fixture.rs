//! The carried blocks and values of fixtures/block_formats.py, for tests.

use safetensors::SafeTensors;

const FILE: &[u8] = include_bytes!("fixtures/block_formats.safetensors");

/// The bytes of one of its tensors.
pub(crate) fn tensor(name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(FILE).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

/// The elements of one of its f32 tensors.
pub(crate) fn floats(name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&tensor(name))
}
