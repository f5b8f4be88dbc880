//! Pictures held against PIL: `fixtures/pictures.json` has what Pillow 13.0 decodes of each file beside it
//! (`ImageOps.exif_transpose(Image.open(file)).convert("RGB")`); Pillow wrote the files too, from sines.

use fewbit_engine::input::image::ImageError;
use fewbit_media::{MediaError, decode_image};
use proptest::prelude::*;

/// File, width, height, RGB.
struct Expected(String, usize, usize, Vec<u8>);

fn expected() -> Vec<Expected> {
    let json = include_str!("fixtures/pictures.json");
    // An array of flat objects in a fixed order, without spaces or escapes.
    let field = |object: &str, name: &str| -> String {
        let begin = object.find(&format!("\"{name}\":")).expect(name) + name.len() + 3;
        let rest = &object[begin..];
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        rest[..end].trim_matches('"').to_owned()
    };
    json.split("},")
        .map(|object| {
            let number = |name| field(object, name).parse().expect(name);
            let rgb = base64(&field(object, "rgb"));
            Expected(
                field(object, "file"),
                number("width"),
                number("height"),
                rgb,
            )
        })
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes().filter(|&digit| digit != b'=') {
        let value = DIGITS.iter().position(|&d| d == digit).expect("base64");
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect(name)
}

#[test]
fn every_format_is_decoded_as_pil_does() {
    let expected = expected();
    assert_eq!(expected.len(), 21);
    for Expected(file, width, height, rgb) in expected {
        let picture =
            decode_image(&fixture(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(
            (picture.width(), picture.height()),
            (width, height),
            "{file}"
        );
        assert_eq!(picture.rgb().len(), rgb.len(), "{file}");
        let differences = picture.rgb().iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b));
        let most = differences.clone().max().unwrap_or(0);
        let mean = differences.map(f64::from).sum::<f64>() / rgb.len() as f64;
        // JPEG and lossy WebP leave the inverse transform and the upsampling of colour to the decoder.
        let (most_allowed, mean_allowed) = match file.as_str() {
            "subsampled.jpg" | "progressive.jpg" | "lossy.webp" => (12, 1.5),
            "cmyk.jpg" => (6, 1.0),
            name if name.ends_with(".jpg") => (3, 0.6),
            _ => (0, 0.0),
        };
        assert!(
            most <= most_allowed && mean <= mean_allowed,
            "{file}: {most} at most, {mean:.2} on average"
        );
    }
}

/// A PNG of one header that says `width` × `height`, and no data.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&chunk);
    file.extend(crc32(&chunk).to_be_bytes());
    // An empty chunk of data, so that the header is taken.
    file.extend(b"\0\0\0\0IDAT");
    file.extend(crc32(b"IDAT").to_be_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn sizes_that_a_header_claims_are_checked_first() {
    let error = decode_image(&png_header(100_000, 100_000)).expect_err("too large");
    let MediaError::Image {
        error: ImageError::Edge { field, value, .. },
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*field, *value), ("width", 100_000));
    let error = decode_image(&png_header(60_000, 60_000)).expect_err("too many pixels");
    assert!(error.to_string().contains("60000×60000"), "{error}");
    // Within the limits, but not within 57 bytes.
    let error = decode_image(&png_header(8000, 8000)).expect_err("a lie");
    assert!(matches!(error, MediaError::Claim { .. }), "{error}");
    let error = decode_image(&png_header(0, 1)).expect_err("no width");
    assert!(
        matches!(error, MediaError::Corrupt { .. } | MediaError::Image { .. }),
        "{error}"
    );

    // The same of the others: their sizes, written over.
    for (file, at, bytes) in [
        ("rgb.bmp", 18, &100_000u32.to_le_bytes()[..]),
        ("rgb.bmp", 22, &(-100_000i32).to_le_bytes()),
        ("palette.gif", 6, &[0xff, 0xff, 0xff, 0xff]),
        ("lossless.webp", 21, &[0xff, 0xff, 0xff, 0x0f]),
    ] {
        let mut lying = fixture(file);
        lying[at..at + bytes.len()].copy_from_slice(bytes);
        let error = decode_image(&lying).expect_err(file);
        assert!(
            !matches!(error, MediaError::UnknownFormat { .. }),
            "{file}: {error}"
        );
    }
}

#[test]
fn other_files_are_told_apart() {
    for (bytes, told) in [
        (&b""[..], "PNG, JPEG"),
        (b"RIFF\0\0\0\0WAVE", "[52, 49, 46, 46"),
        (b"%PDF-1.7", "PNG, JPEG"),
    ] {
        let error = decode_image(bytes).expect_err("not a picture");
        assert!(matches!(error, MediaError::UnknownFormat { .. }), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_a_picture() {
    for Expected(file, width, height, _) in expected() {
        let whole = fixture(&file);
        for end in 0..whole.len() {
            // JPEG decoders fill what is missing.
            if let Ok(picture) = decode_image(&whole[..end]) {
                let size = [picture.width(), picture.height()];
                assert!(
                    size == [width, height] || size == [height, width],
                    "{file}, {end}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever bytes change, there is an error or a picture, and no panic.
    #[test]
    fn changed_bytes_do_no_harm(
        which in 0..21usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let file = &expected()[which].0;
        let mut bytes = fixture(file);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode_image(&bytes);
    }
}
