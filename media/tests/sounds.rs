//! Sound out of files. Those under `fixtures/` were written by libsndfile 1.2 (python-soundfile): 441 Hz at 0.5 on the left,
//! 882 Hz at 0.25 on the right, 22,050 Hz, a quarter of a second (1000 frames of WAV).

use std::f64::consts::TAU;

use fewbit_engine::input::audio::AudioError;
use fewbit_media::{MediaError, decode_audio};
use proptest::prelude::*;

const RATE: u32 = 22_050;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect(name)
}

/// What the mean of the channels is at `second`.
fn wanted(second: f64) -> f64 {
    (0.5 * (TAU * 441.0 * second).sin() + 0.25 * (TAU * 882.0 * second + 1.0).sin()) / 2.0
}

/// The largest and the mean difference from what was recorded.
fn differences(samples: &[f32], rate: u32, margin: usize) -> (f64, f64) {
    let errors: Vec<f64> = samples
        .iter()
        .enumerate()
        .skip(margin)
        .take(samples.len() - 2 * margin)
        .map(|(i, &x)| (f64::from(x) - wanted(i as f64 / f64::from(rate))).abs())
        .collect();
    let most = errors.iter().copied().fold(0.0, f64::max);
    (most, errors.iter().sum::<f64>() / errors.len() as f64)
}

#[test]
fn every_format_is_decoded() {
    for (file, frames, most_allowed, mean_allowed) in [
        ("stereo.wav", 1000, 4e-5, 2e-5),
        ("float.wav", 1000, 1e-6, 1e-6),
        ("pcm24.wav", 1000, 1e-6, 1e-6),
        ("u8.wav", 1000, 1e-2, 5e-3),
        ("stereo.flac", 5512, 4e-5, 2e-5),
        // Lossy, but in place: an offset of one sample would show as 0.05.
        ("stereo.ogg", 5512, 0.03, 0.005),
        ("stereo.mp3", 5512, 0.08, 0.01),
    ] {
        let samples = decode_audio(&fixture(file), RATE).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(samples.len(), frames, "{file}");
        let (most, mean) = differences(&samples, RATE, 0);
        assert!(
            most <= most_allowed && mean <= mean_allowed,
            "{file}: {most} and {mean}"
        );
    }
}

#[test]
fn the_rate_is_the_one_asked_for() {
    let samples = decode_audio(&fixture("stereo.flac"), 16_000).expect("a FLAC file");
    assert_eq!(samples.len(), (5512 * 16_000usize).div_ceil(22_050));
    let (most, _) = differences(&samples, 16_000, 300);
    assert!(most < 1e-4, "{most}");
    let error = decode_audio(&fixture("stereo.flac"), 0).expect_err("no rate");
    assert!(matches!(error, MediaError::Asked(_)), "{error}");
}

#[test]
fn tags_in_front_are_skipped() {
    // Two ID3v2 tags, one with what looks like a frame of MP3 in it and one with a footer.
    let mut file =
        b"ID3\x04\0\0\0\0\0\x04\xff\xfb\x90\x64ID3\x04\0\x10\0\0\0\x020123456789ab".to_vec();
    file.extend(fixture("stereo.mp3"));
    let tagged = decode_audio(&file, RATE).expect("a tagged file");
    assert_eq!(
        tagged,
        decode_audio(&fixture("stereo.mp3"), RATE).expect("a file")
    );
    assert!(decode_audio(b"ID3\x04\0\0\x7f\x7f\x7f\x7f", RATE).is_err());
}

/// A WAV of 16-bit PCM whose header says `claimed` bytes of data.
fn wav(rate: u32, channels: u16, claimed: u32, data: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend(claimed.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate.saturating_mul(2 * u32::from(channels))).to_le_bytes());
    file.extend(channels.saturating_mul(2).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(claimed.to_le_bytes());
    file.extend(data);
    file
}

#[test]
fn sound_that_is_empty_or_too_long_is_refused() {
    let error = decode_audio(&wav(16_000, 1, 0, &[]), 16_000).expect_err("no samples");
    let empty = MediaError::Audio {
        format: "WAV",
        error: AudioError::Empty,
    };
    assert_eq!(error, empty);
    // Three hours of silence at 1 kHz.
    let hours = vec![0; 3 * 3600 * 1000 * 2];
    let file = wav(1000, 1, hours.len() as u32, &hours);
    let error = decode_audio(&file, 16_000).expect_err("three hours");
    let MediaError::Duration { field, seconds, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((field, seconds), ("length in the header", 10_800.0));
    // The same behind a header that knows no length.
    let file = wav(1000, 1, u32::MAX, &hours);
    let error = decode_audio(&file, 1000).expect_err("three hours");
    assert!(matches!(error, MediaError::Duration { .. }), "{error}");
    // FLAC's header claims 2^36 - 1 samples.
    let mut flac = fixture("stereo.flac");
    flac[21] |= 0x0f;
    flac[22..26].fill(0xff);
    let error = decode_audio(&flac, 16_000).expect_err("a lie");
    assert!(matches!(error, MediaError::Duration { .. }), "{error}");
}

#[test]
fn what_streams_without_a_length_is_read_to_its_end() {
    let file = wav(16_000, 1, u32::MAX, &[0, 64, 0, 192]);
    assert_eq!(decode_audio(&file, 16_000), Ok(vec![0.5, -0.5]));
    // Cut short.
    let file = wav(16_000, 1, 1000, &[0, 64, 0, 192]);
    assert_eq!(decode_audio(&file, 16_000), Ok(vec![0.5, -0.5]));
}

#[test]
fn headers_that_make_no_sense_are_refused() {
    for (rate, channels) in [(0, 1), (16_000, 0), (16_000, 65_535), (1, 1), (u32::MAX, 1)] {
        let error = decode_audio(&wav(rate, channels, 8, &[0; 8]), 16_000).expect_err("nonsense");
        assert!(error.to_string().starts_with("WAV: "), "{error}");
    }
    for bytes in [
        &b""[..],
        b"RIFF",
        b"\x89PNG\r\n\x1a\n",
        b"fLaC",
        b"OggS",
        b"\xff\xfb\x90\x64",
    ] {
        assert!(decode_audio(bytes, 16_000).is_err());
    }
}

const FILES: [&str; 6] = [
    "stereo.wav",
    "float.wav",
    "pcm24.wav",
    "stereo.flac",
    "stereo.ogg",
    "stereo.mp3",
];

#[test]
fn a_file_cut_anywhere_is_an_error_or_shorter() {
    for file in FILES {
        let whole = fixture(file);
        let frames = decode_audio(&whole, RATE).expect(file).len();
        for end in (0..whole.len()).step_by(whole.len() / 150) {
            if let Ok(samples) = decode_audio(&whole[..end], RATE) {
                // The padding at the end of a lossy file is trimmed by its last page or frame.
                assert!(
                    samples.len() <= frames + 2304,
                    "{file} to {end}: {}",
                    samples.len()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever bytes change, there is an error or sound, and no panic.
    #[test]
    fn changed_bytes_do_no_harm(
        file in prop::sample::select(&FILES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        head in any::<bool>(),
    ) {
        let mut bytes = fixture(file);
        for (at, value) in changes {
            // Headers are short and worth more tries.
            let at = at.index(if head { bytes.len().min(120) } else { bytes.len() });
            bytes[at] = value;
        }
        let _ = decode_audio(&bytes, 16_000);
    }
}
