//! Held against PIL and `transformers`.
//!
//! `fixtures/resize.json` has what Pillow 13.0's `Image.resize` makes of [`drawn`] pictures, `fixtures/processors.json` what
//! the image processors of transformers 5.23 (`ViTImageProcessorPil` and so on) make of them; both were written by a
//! script of numpy loops over sizes and configs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::config::Size;
use super::*;
use crate::input::fields::ConfigError;

/// The same picture as the script's.
fn drawn(width: usize, height: usize) -> Picture {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                rgb.push(((x * 37 + y * 101 + c * 59 + x * y * 13 + (x * x * y) / 7) % 256) as u8);
            }
        }
    }
    Picture::from_rgb(width, height, rgb).expect("a small picture")
}

fn numbers(value: &Value) -> Vec<usize> {
    let values = value.as_array().expect("an array").iter();
    values
        .map(|v| v.as_u64().expect("a number") as usize)
        .collect()
}

#[test]
fn resizes_as_pil_does_to_the_bit() {
    let cases: Vec<Value> =
        serde_json::from_slice(include_bytes!("fixtures/resize.json")).expect("JSON");
    assert_eq!(cases.len(), 48);
    for case in cases {
        let (from, to) = (numbers(&case["from"]), numbers(&case["to"]));
        let number = case["filter"].as_u64().expect("a number") as usize;
        let filter = Filter::from_pil(number).expect("a filter");
        let want = STANDARD
            .decode(case["rgb"].as_str().expect("text"))
            .expect("base64");
        let got = resize(&drawn(from[0], from[1]), to[0], to[1], filter).expect("small");
        assert_eq!(got.rgb(), want, "{from:?} to {to:?} with {filter:?}");
    }
}

#[test]
fn processors_give_what_transformers_gives() {
    let cases: Vec<Value> =
        serde_json::from_slice(include_bytes!("fixtures/processors.json")).expect("JSON");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let config = case["config"].to_string();
        let preprocessor =
            ImagePreprocessor::from_json(config.as_bytes(), None).expect("a known config");
        let pictures: Vec<Picture> = case["sizes"]
            .as_array()
            .expect("sizes")
            .iter()
            .map(|size| {
                let size = numbers(size);
                drawn(size[0], size[1])
            })
            .collect();
        let batch = preprocessor.run(&pictures).expect("small pictures");
        assert_eq!(
            batch.pixel_values.shape(),
            numbers(&case["shape"]),
            "{config}"
        );
        let want = case["pixel_values"].as_array().expect("values");
        let got = batch.pixel_values.as_f32().expect("f32");
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let want = want.as_f64().expect("a number");
            let error = (f64::from(*got) - want).abs();
            assert!(
                error <= 1e-5 * (1.0 + want.abs()),
                "{config}, value {i}: {got} for {want}"
            );
        }
        let mask = batch.pixel_mask.map(|mask| mask.to_f64_vec());
        let want = case["pixel_mask"].as_array().map(|mask| {
            let values = mask.iter().map(|v| v.as_f64().expect("a number"));
            values.collect::<Vec<_>>()
        });
        assert_eq!(mask, want, "{config}");
    }
}

fn config(json: &str) -> Result<ImageConfig, ImageError> {
    Ok(ImagePreprocessor::from_json(json.as_bytes(), None)?.config)
}

#[test]
fn older_files_are_read() {
    // As in facebook/detr-resnet-50 and openai/clip-vit-base-patch32.
    let detr = config(
        r#"{"feature_extractor_type": "DetrFeatureExtractor", "max_size": 1333, "size": 800}"#,
    );
    let detr = detr.expect("DETR's config");
    let (size, filter) = detr.resize.expect("resizes");
    let shortest = Size::Shortest {
        edge: 800,
        longest: Some(1333),
    };
    assert_eq!((size, filter, detr.pad), (shortest, Filter::Bilinear, true));
    let clip = config(
        r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3}"#,
    );
    let clip = clip.expect("CLIP's config");
    let shortest = Size::Shortest {
        edge: 224,
        longest: None,
    };
    assert_eq!(clip.resize, Some((shortest, Filter::Bicubic)));
    assert_eq!(clip.center_crop, Some((224, 224)));
    // google/vit-base-patch16-224 once named no class.
    let vit = ImagePreprocessor::from_json(br#"{"size": 224}"#, Some("vit")).expect("ViT's config");
    let square = Size::Exact {
        height: 224,
        width: 224,
    };
    assert_eq!(vit.config().resize, Some((square, Filter::Bilinear)));
    // Nested, as newer processors save it.
    let nested = r#"{"image_processor": {"image_processor_type": "ViTImageProcessorFast", "size": [30, 40]}}"#;
    let size = Size::Exact {
        height: 30,
        width: 40,
    };
    assert_eq!(
        config(nested).expect("nested").resize.map(|r| r.0),
        Some(size)
    );
}

#[test]
fn bad_configs_name_their_field() {
    for (json, told) in [
        ("", "malformed JSON"),
        ("[]", "not a JSON object"),
        ("{}", "`image_processor_type` is missing"),
        (
            r#"{"image_processor_type": "SamImageProcessor"}"#,
            "\"SamImageProcessor\"",
        ),
        (
            r#"{"image_processor_type": 3}"#,
            "`image_processor_type` is not a string",
        ),
        (
            r#"{"feature_extractor_type": "WhisperFeatureExtractor"}"#,
            "for audio",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "size": 100000}"#,
            "`size` is 100000",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "size": {"height": 0, "width": 1}}"#,
            "`height` is 0",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "size": {"height": 1}}"#,
            "`size` is not",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "size": 1.5}"#,
            "`size` is not a whole number",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "resample": 6}"#,
            "`resample` is 6",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "image_std": [0, 1, 1]}"#,
            "`image_std` is 0",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "image_mean": [1, 1]}"#,
            "`image_mean` is not",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "rescale_factor": 1e300}"#,
            "`rescale_factor`",
        ),
        (
            r#"{"image_processor_type": "ViTImageProcessor", "do_resize": "yes"}"#,
            "`do_resize` is not a boolean",
        ),
        (
            r#"{"image_processor_type": "CLIPImageProcessor", "crop_size": {"width": 1}}"#,
            "`crop_size` is not",
        ),
    ] {
        let error = config(json).expect_err(json);
        assert!(matches!(error, ImageError::Config(_)), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let long = vec![b' '; 9 << 20];
    let error = ImagePreprocessor::from_json(&long, None).expect_err("too long");
    assert!(matches!(
        error,
        ImageError::Config(ConfigError::TooLong { .. })
    ));
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let (width, height) = (100_000, 100_000);
    let error = Picture::from_rgb(width, height, Vec::new()).expect_err("too large");
    assert!(error.to_string().contains("width is 100000"), "{error}");
    let error = Picture::from_rgb(60_000, 60_000, Vec::new()).expect_err("too many");
    assert!(error.to_string().contains("60000×60000"), "{error}");
    let error = Picture::from_rgb(0, 1, Vec::new()).expect_err("empty");
    assert_eq!(error, ImageError::Empty { field: "width" });
    assert!(Picture::from_rgb(2, 2, vec![0; 11]).is_err());
    assert!(Picture::from_rgba(2, 2, vec![0; 12]).is_err());
    assert!(Picture::from_grey(2, 2, &[0; 3]).is_err());

    // A long strip: its longer edge would become 65,535 × 224 pixels.
    let strip = drawn(65_535, 1);
    let clip = r#"{"image_processor_type": "CLIPImageProcessor"}"#;
    let clip = ImagePreprocessor::from_json(clip.as_bytes(), None).expect("CLIP's config");
    let error = clip.run(&[strip]).expect_err("too long");
    assert!(matches!(error, ImageError::Resized { .. }), "{error}");
    assert_eq!(clip.run(&[]), Err(ImageError::NoPicture));
}

#[test]
fn pictures_of_several_sizes_need_padding() {
    let config = r#"{"image_processor_type": "ViTImageProcessor", "do_resize": false}"#;
    let vit = ImagePreprocessor::from_json(config.as_bytes(), None).expect("ViT's config");
    let error = vit.run(&[drawn(3, 2), drawn(3, 4)]).expect_err("two sizes");
    assert!(
        error.to_string().contains("picture 1 becomes 3×4"),
        "{error}"
    );
    let config = r#"{"image_processor_type": "DetrImageProcessor", "do_resize": false, "pad_size": {"height": 4, "width": 5}}"#;
    let detr = ImagePreprocessor::from_json(config.as_bytes(), None).expect("DETR's config");
    let batch = detr.run(&[drawn(3, 2)]).expect("fits");
    assert_eq!(batch.pixel_values.shape(), [1, 3, 4, 5]);
    let names: Vec<_> = batch
        .into_named()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["pixel_values", "pixel_mask"]);
    let error = detr.run(&[drawn(6, 2)]).expect_err("too wide");
    assert!(matches!(error, ImageError::PadSize { .. }), "{error}");
}

#[test]
fn alpha_is_dropped_and_grey_spread() {
    let rgba = vec![1, 2, 3, 0, 4, 5, 6, 255];
    let picture = Picture::from_rgba(2, 1, rgba).expect("two pixels");
    assert_eq!(picture.rgb(), [1, 2, 3, 4, 5, 6]);
    let picture = Picture::from_grey(1, 2, &[7, 8]).expect("two pixels");
    assert_eq!(picture.rgb(), [7, 7, 7, 8, 8, 8]);
}

/// Exif's orientations, by where the stored corner pixels are to be seen (Exif 2.32, tag 0x0112).
#[test]
fn orientations_turn_and_mirror() {
    // 1 2 3
    // 4 5 6
    let stored = Picture::from_grey(3, 2, &[1, 2, 3, 4, 5, 6]).expect("six pixels");
    for (exif, width, want) in [
        (0, 3, [1, 2, 3, 4, 5, 6]),
        (1, 3, [1, 2, 3, 4, 5, 6]),
        (2, 3, [3, 2, 1, 6, 5, 4]),
        (3, 3, [6, 5, 4, 3, 2, 1]),
        (4, 3, [4, 5, 6, 1, 2, 3]),
        (5, 2, [1, 4, 2, 5, 3, 6]),
        (6, 2, [4, 1, 5, 2, 6, 3]),
        (7, 2, [6, 3, 5, 2, 4, 1]),
        (8, 2, [3, 6, 2, 5, 1, 4]),
        (9, 3, [1, 2, 3, 4, 5, 6]),
    ] {
        let seen = stored.clone().oriented(exif);
        let grey: Vec<u8> = seen.rgb().chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!((seen.width(), &grey[..]), (width, &want[..]), "{exif}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn filters() -> impl Strategy<Value = Filter> {
        (0..6usize).prop_map(|number| Filter::from_pil(number).expect("six filters"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A picture of one colour keeps it at every size.
        #[test]
        fn one_colour_stays(
            (fw, fh, tw, th) in (1..40usize, 1..40usize, 1..40usize, 1..40usize),
            colour: [u8; 3],
            filter in filters(),
        ) {
            let picture = Picture::from_rgb(fw, fh, colour.repeat(fw * fh)).expect("small");
            let resized = resize(&picture, tw, th, filter).expect("small");
            prop_assert_eq!((resized.width(), resized.height()), (tw, th));
            for pixel in resized.rgb().chunks(3) {
                prop_assert_eq!(pixel, &colour[..]);
            }
        }

        /// Mirroring commutes with the symmetric filters (rounding halves up is the only difference).
        #[test]
        fn mirrored_either_way(
            (fw, fh, tw, th) in (1..30usize, 1..30usize, 1..30usize, 1..30usize),
            filter in prop::sample::select(vec![Filter::Bilinear, Filter::Bicubic, Filter::Lanczos]),
        ) {
            let picture = drawn(fw, fh);
            let a = resize(&picture, tw, th, filter).expect("small").oriented(3);
            let b = resize(&picture.oriented(3), tw, th, filter).expect("small");
            for (a, b) in a.rgb().iter().zip(b.rgb()) {
                prop_assert!(a.abs_diff(*b) <= 1, "{} and {}", a, b);
            }
        }

        /// Whatever the sizes, the batch has the shape asked for and only finite numbers.
        #[test]
        fn any_size_is_fed(
            (width, height) in (1..120usize, 1..120usize),
            edge in 1..50usize,
            crop in 1..50usize,
        ) {
            let config = format!(
                r#"{{"image_processor_type": "CLIPImageProcessor", "size": {{"shortest_edge": {edge}}}, "crop_size": {crop}}}"#
            );
            let clip = ImagePreprocessor::from_json(config.as_bytes(), None).expect("a config");
            match clip.run(&[drawn(width, height)]) {
                Ok(batch) => {
                    prop_assert_eq!(batch.pixel_values.shape(), &[1, 3, crop, crop]);
                    let values = batch.pixel_values.as_f32().expect("f32");
                    prop_assert!(values.iter().all(|value| value.is_finite()));
                }
                Err(error) => {
                    let thin = matches!(error, ImageError::Resized { .. });
                    prop_assert!(thin, "{}", error);
                }
            }
        }

        /// DETR's sizes keep both limits, and the shorter edge is as asked unless the longer one forbids it.
        #[test]
        fn both_edges_hold(
            (width, height) in (1..3000usize, 1..3000usize),
            (edge, more) in (1..500usize, 0..500usize),
        ) {
            let longest = edge + more;
            let size = Size::Shortest { edge, longest: Some(longest) };
            let (wide, high) = size.resolve(width, height).expect("within the limits");
            prop_assert!(wide.max(high) <= longest, "{}×{}", wide, high);
            prop_assert!(wide.min(high) <= edge);
        }
    }
}
