//! The decoders of sound on any bytes, and what stands between them and a model.
//!
//! The first byte chooses a config; the rest is a file, and the same again behind the beginning of each format.
#![no_main]

use fewbit_engine::input::audio::AudioPreprocessor;
use fewbit_media::decode_audio;
use libfuzzer_sys::fuzz_target;

const CONFIGS: [&str; 4] = [
    r#"{"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 1}"#,
    r#"{"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 1}"#,
    r#"{"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 1, "truncation": "rand_trunc", "padding": "pad"}"#,
    r#"{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "return_attention_mask": true}"#,
];

const BEGINNINGS: [&[u8]; 4] = [
    b"RIFF\0\x10\0\0WAVEfmt \x10\0\0\0\x01\0",
    b"fLaC\0\0\0\x22",
    b"OggS\0\x02",
    b"\xff\xfb\x90\x64",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, file)) = bytes.split_first() else {
        return;
    };
    let config = CONFIGS[usize::from(*choice) % CONFIGS.len()];
    let preprocessor =
        AudioPreprocessor::from_json(config.as_bytes(), None).expect("the config is right");
    feed(&preprocessor, file);
    for beginning in BEGINNINGS {
        feed(&preprocessor, &[beginning, file].concat());
    }
    // The bytes as a config of their own.
    let _ = AudioPreprocessor::from_json(file, Some("whisper"));
});

fn feed(preprocessor: &AudioPreprocessor, file: &[u8]) {
    match decode_audio(file, preprocessor.rate()) {
        Ok(samples) => {
            assert!(!samples.is_empty());
            match preprocessor.run(&[&samples], 7) {
                Ok(named) => assert!(!named.is_empty()),
                Err(error) => drop(error.to_string()),
            }
        }
        Err(error) => drop(error.to_string()),
    }
}
