//! A sha256 that is fed piece by piece: WebCrypto's takes a whole file only.

use sha2::Digest;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256 {
    state: sha2::Sha256,
}

#[wasm_bindgen]
impl Sha256 {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest as lower-case hex; the hasher starts anew.
    pub fn digest(&mut self) -> String {
        use std::fmt::Write;

        let mut hex = String::with_capacity(64);
        for byte in self.state.finalize_reset() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}
