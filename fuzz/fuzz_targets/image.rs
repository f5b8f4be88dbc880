//! The decoders of pictures on any bytes, and what stands between them and a model.
//!
//! The first byte chooses a config; the rest is a file, and the same again behind the beginning of each format.
#![no_main]

use fewbit_engine::input::image::ImagePreprocessor;
use fewbit_media::decode_image;
use libfuzzer_sys::fuzz_target;

const CONFIGS: [&str; 4] = [
    r#"{"image_processor_type": "ViTImageProcessor", "size": 32}"#,
    r#"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16}, "crop_size": 20}"#,
    r#"{"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 20, "longest_edge": 33}}"#,
    r#"{"image_processor_type": "DeiTImageProcessor", "resample": 1}"#,
];

const BEGINNINGS: [&[u8]; 5] = [
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"\xff\xd8\xff",
    b"RIFF\0\x10\0\0WEBPVP8",
    b"GIF89a",
    b"BM",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, file)) = bytes.split_first() else {
        return;
    };
    let config = CONFIGS[usize::from(*choice) % CONFIGS.len()];
    let preprocessor =
        ImagePreprocessor::from_json(config.as_bytes(), None).expect("the config is right");
    feed(&preprocessor, file);
    for beginning in BEGINNINGS {
        feed(&preprocessor, &[beginning, file].concat());
    }
    // The bytes as a config of their own.
    let _ = ImagePreprocessor::from_json(file, Some("clip"));
});

fn feed(preprocessor: &ImagePreprocessor, file: &[u8]) {
    match decode_image(file) {
        Ok(picture) => match preprocessor.run(&[picture]) {
            Ok(batch) => {
                let values = batch.pixel_values.as_f32().expect("f32");
                assert!(values.iter().all(|value| value.is_finite()));
            }
            Err(error) => drop(error.to_string()),
        },
        Err(error) => drop(error.to_string()),
    }
}
