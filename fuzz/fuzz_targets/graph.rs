//! Graphs as one wasm module hands them to another: any bytes are a graph or an error, and a graph comes back as it was.
#![no_main]

use fewbit_engine::graph::wire::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut whole = b"fbg\x01".to_vec();
    whole.extend_from_slice(bytes);
    if let Ok(graph) = decode(&whole) {
        let again = encode(&graph).expect("a builder made it");
        decode(&again).expect("it was encoded");
    }
});
