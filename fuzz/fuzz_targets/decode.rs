//! Decoding any bytes as any block format; what the simple formats encode must decode again.
#![no_main]

use fewbit_engine::tensor::{BlockFormat, ElementType, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in BlockFormat::ALL {
        let blocks = bytes.len() / format.bytes();
        let mut values = vec![0.0; blocks * format.elements()];
        let whole = &bytes[..blocks * format.bytes()];
        decode(ElementType::Block(format), whole, &mut values).expect("whole blocks decode");
        if let Ok(again) = encode(format, &values) {
            assert_eq!(again.len(), whole.len());
        }
        let short = whole.len().saturating_sub(1);
        if blocks > 0 {
            assert!(decode(ElementType::Block(format), &whole[..short], &mut values).is_err());
        }
    }
});
