//! Held against `transformers`: `fixtures/extractors.json` has what transformers 5.23 computes from a [`chirp`] — Whisper with
//! `WhisperFeatureExtractor._np_extract_fbank_features`, CLAP with `audio_utils.spectrogram` and `mel_filter_bank` called as
//! `ClapFeatureExtractor` calls them, Wav2Vec2 with numpy's `mean` and `var`.

use std::f64::consts::TAU;

use serde_json::Value;

use super::resample::resample;
use super::*;

/// The same sound as the script's.
fn chirp(samples: usize, rate: f64) -> Vec<f32> {
    (0..samples)
        .map(|i| {
            let t = i as f64 / rate;
            (0.4 * (TAU * (220.0 + 400.0 * t) * t).sin() + 0.2 * (TAU * 1330.0 * t).sin()) as f32
        })
        .collect()
}

fn close(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(
            error <= tolerance * (1.0 + want.abs()),
            "{what}, value {i}: {got} for {want}"
        );
    }
}

#[test]
fn features_are_those_of_transformers() {
    let cases: Vec<Value> =
        serde_json::from_slice(include_bytes!("fixtures/extractors.json")).expect("JSON");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let config = case["config"].to_string();
        let preprocessor =
            AudioPreprocessor::from_json(config.as_bytes(), None).expect("a known config");
        let samples = case["samples"].as_u64().expect("a number") as usize;
        let clip = chirp(samples, f64::from(preprocessor.rate()));
        let named = preprocessor.run(&[&clip], 0).expect("a short clip");
        let (name, got) = &named[0];
        let shape: Vec<usize> = case["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|d| d.as_u64().expect("a number") as usize)
            .collect();
        assert_eq!(got.shape(), shape, "{config}");
        let mut want: Vec<f64> = case[*name]
            .as_array()
            .expect("values")
            .iter()
            .map(|v| v.as_f64().expect("a number"))
            .collect();
        // CLAP's four views are alike unless the clip is longer; the file has one.
        want = want.repeat(got.elements() / want.len());
        close(got.as_f32().expect("f32"), &want, 2e-5, &config);
    }
}

const WHISPER: &str = r#"{"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 1}"#;

fn whisper() -> WhisperFeatures {
    match AudioPreprocessor::from_json(WHISPER.as_bytes(), None).expect("Whisper's config") {
        AudioPreprocessor::Whisper(whisper) => whisper,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_recording_has_all_its_frames() {
    let whisper = whisper();
    assert_eq!(
        (whisper.rate(), whisper.mels(), whisper.chunk_samples()),
        (16_000, 80, 16_000)
    );
    let clip = chirp(40_000, 16_000.0);
    let whole = whisper.whole(&clip).expect("2.5 s");
    assert_eq!(whole.shape(), [1, 80, 250]);
    assert_eq!(
        whisper.whole(&clip[..9000]),
        whisper.chunks(&[&clip[..9000]])
    );
    // Away from the ends, a chunk of it is the same.
    let chunk = whisper.chunks(&[&clip[..16_000]]).expect("1 s");
    let (whole, chunk) = (whole.to_f64_vec(), chunk.to_f64_vec());
    // What is 8 below the loudest is cut there, and the whole is louder.
    let floor = whole.iter().copied().fold(f64::INFINITY, f64::min);
    for band in 0..80 {
        for frame in 5..90 {
            let (a, b) = (
                whole[band * 250 + frame],
                chunk[band * 100 + frame].max(floor),
            );
            assert!(
                (a - b).abs() < 0.05,
                "band {band}, frame {frame}: {a} and {b}"
            );
        }
    }
}

fn clap(truncation: &str) -> AudioPreprocessor {
    let config = format!(
        r#"{{"feature_extractor_type": "ClapFeatureExtractor", "sampling_rate": 16000, "frequency_max": 7000,
            "fft_window_size": 512, "hop_length": 160, "max_length_s": 0.1, "truncation": "{truncation}"}}"#
    );
    AudioPreprocessor::from_json(config.as_bytes(), None).expect("CLAP's config")
}

#[test]
fn long_clips_are_cut_by_seed() {
    let clip = chirp(8000, 16_000.0);
    let random = clap("rand_trunc");
    let one = random.run(&[&clip], 1).expect("half a second");
    assert_eq!(one[0].1.shape(), [1, 1, 11, 64]);
    assert_eq!((one[1].0, one[1].1.bytes()), ("is_longer", &[1][..]));
    assert_eq!(random.run(&[&clip], 1).expect("again"), one);
    assert_ne!(random.run(&[&clip], 2).expect("another seed"), one);
    let short = random.run(&[&clip[..1000]], 1).expect("short");
    assert_eq!(short[1].1.bytes(), [0]);

    let fusion = clap("fusion");
    let four = fusion.run(&[&clip, &clip[..1600]], 1).expect("two clips");
    assert_eq!(four[0].1.shape(), [2, 4, 11, 64]);
    assert_eq!(four[1].1.bytes(), [1, 0]);
    let values = four[0].1.as_f32().expect("f32");
    let views: Vec<_> = values[..4 * 11 * 64].chunks(11 * 64).collect();
    // The pieces come from three parts of the clip, in order.
    assert!(views[1] != views[2] && views[2] != views[3]);
    // The first view is all of it: 51 frames shrunk to 11. Frame 5 lies at (5.5 · 51 / 11) - 0.5 = 25, exactly.
    let long = r#"{"feature_extractor_type": "ClapFeatureExtractor", "sampling_rate": 16000, "frequency_max": 7000,
        "fft_window_size": 512, "hop_length": 160, "max_length_s": 0.5}"#;
    let long = AudioPreprocessor::from_json(long.as_bytes(), None).expect("a config");
    let long = long.run(&[&clip], 0).expect("fits");
    let long = long[0].1.as_f32().expect("f32");
    for (got, want) in views[0][5 * 64..6 * 64].iter().zip(&long[25 * 64..26 * 64]) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
    // With fusion, one of a batch counts as longer even if none is.
    let none = fusion.run(&[&clip[..800]], 0).expect("short");
    assert_eq!(none[1].1.bytes(), [1]);
}

#[test]
fn waveforms_are_padded_with_a_mask() {
    let config =
        r#"{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "return_attention_mask": true}"#;
    let wav2vec2 = AudioPreprocessor::from_json(config.as_bytes(), None).expect("a config");
    let named = wav2vec2
        .run(&[&[1.0, 3.0], &[5.0, 5.0, 5.0]], 0)
        .expect("two clips");
    let values = named[0].1.as_f32().expect("f32");
    for (got, want) in values.iter().zip([-1.0, 1.0, 0.0, 0.0, 0.0, 0.0]) {
        assert!((got - want).abs() < 1e-6, "{values:?}");
    }
    assert_eq!(named[1].0, "attention_mask");
    assert_eq!(named[1].1.as_i32().expect("i32"), [1, 1, 0, 1, 1, 1]);
}

#[test]
fn bad_sound_is_refused() {
    let whisper = AudioPreprocessor::from_json(WHISPER.as_bytes(), None).expect("a config");
    assert_eq!(whisper.run(&[], 0), Err(AudioError::NoClip));
    assert_eq!(whisper.run(&[&[]], 0), Err(AudioError::Empty));
    let error = whisper.run(&[&[0.0, f32::NAN]], 0).expect_err("NaN");
    assert_eq!(error, AudioError::NotFinite { index: 1 });
    // Three hours, checked before anything is computed.
    let hours = vec![0.0; 3 * 3600 * 16_000];
    let error = whisper.run(&[&hours], 0).expect_err("three hours");
    assert!(
        matches!(error, AudioError::TooLong { seconds: 3600, .. }),
        "{error}"
    );
    assert!(matches!(
        AudioPreprocessor::Whisper(self::whisper()).run(&[&hours[..16]; 40_000], 0),
        Err(AudioError::TooManyFeatures { .. })
    ));
    assert!(Resampler::new(0, 16_000).is_err());
    assert!(Resampler::new(16_000, u32::MAX).is_err());
    let mut mono = Vec::new();
    assert!(mix(&[0.0; 4], 0, &mut mono).is_err());
    assert!(mix(&[0.0; 4], 3, &mut mono).is_err());
    assert!(mix(&[0.0; 4], 65, &mut mono).is_err());
}

#[test]
fn bad_configs_name_their_field() {
    for (fields, told) in [
        (r#""sampling_rate": 0"#, "`sampling_rate` is 0"),
        (r#""n_fft": 398"#, "`n_fft`"),
        (r#""n_fft": 1e9"#, "`n_fft` is 1000000000"),
        (r#""hop_length": 0"#, "`hop_length` is 0"),
        (r#""feature_size": 100000"#, "`feature_size` is 100000"),
        (r#""chunk_length": -1"#, "`chunk_length` is -1"),
        (r#""n_samples": 1e15"#, "`n_samples`"),
        (
            r#""chunk_length": 3600, "sampling_rate": 384000"#,
            "`n_samples`",
        ),
        (r#""dither": 1.0"#, "`dither` is 1"),
    ] {
        let json = format!(r#"{{"feature_extractor_type": "WhisperFeatureExtractor", {fields}}}"#);
        let error = AudioPreprocessor::from_json(json.as_bytes(), None).expect_err(fields);
        assert!(error.to_string().contains(told), "{error}");
    }
    for (fields, told) in [
        (r#""truncation": "sometimes""#, "`truncation` \"sometimes\""),
        (r#""padding": 3"#, "`padding` is not a string"),
        (r#""frequency_max": 1e6"#, "`frequency_max`"),
        (r#""max_length_s": 1e9"#, "`max_length_s`"),
    ] {
        let json = format!(r#"{{"feature_extractor_type": "ClapFeatureExtractor", {fields}}}"#);
        let error = AudioPreprocessor::from_json(json.as_bytes(), None).expect_err(fields);
        assert!(error.to_string().contains(told), "{error}");
    }
    let vit = br#"{"image_processor_type": "ViTImageProcessor"}"#;
    let error = AudioPreprocessor::from_json(vit, None).expect_err("not for sound");
    assert!(error.to_string().contains("for pictures"), "{error}");
}

/// The largest difference from a sine of `hertz` and `phase` at `rate`, away from the ends.
fn off_sine(samples: &[f32], hertz: f64, rate: f64, margin: usize) -> f64 {
    samples
        .iter()
        .enumerate()
        .skip(margin)
        .take(samples.len() - 2 * margin)
        .map(|(i, &x)| (f64::from(x) - (TAU * hertz * i as f64 / rate + 0.3).sin()).abs())
        .fold(0.0, f64::max)
}

fn sine(hertz: f64, rate: f64, samples: usize) -> Vec<f32> {
    (0..samples)
        .map(|i| (TAU * hertz * i as f64 / rate + 0.3).sin() as f32)
        .collect()
}

#[test]
fn a_sine_stays_the_same_sine() {
    for (from, to) in [
        (44_100, 16_000),
        (48_000, 16_000),
        (8_000, 16_000),
        (44_100, 48_000),
        (22_050, 16_000),
        // More phases than there are exact weights for.
        (47_999, 16_000),
        (16_000, 47_999),
    ] {
        let hertz = 1000.0;
        let source = sine(hertz, f64::from(from), from as usize / 2);
        let resampled = resample(&source, from, to).expect("known rates");
        let expected = (source.len() as u64 * u64::from(to)).div_ceil(u64::from(from));
        assert_eq!(resampled.len() as u64, expected, "{from} to {to}");
        let margin = 200 * to.max(from) as usize / from as usize;
        let error = off_sine(&resampled, hertz, f64::from(to), margin);
        assert!(error < 2e-5, "{from} to {to}: off by {error}");
    }
}

#[test]
fn what_the_lower_rate_cannot_carry_is_gone() {
    // 10 kHz would be heard as 6 kHz at 16 kHz.
    let resampled = resample(&sine(10_000.0, 44_100.0, 22_050), 44_100, 16_000).expect("rates");
    let loudest = resampled[200..resampled.len() - 200]
        .iter()
        .fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(loudest < 1e-4, "{loudest}");
    // 7 kHz is still there.
    let resampled = resample(&sine(7_000.0, 44_100.0, 22_050), 44_100, 16_000).expect("rates");
    assert!(off_sine(&resampled, 7_000.0, 16_000.0, 200) < 1e-4);
}

#[test]
fn channels_are_mixed_evenly() {
    let mut mono = Vec::new();
    mix(&[1.0, 0.0, 0.5, 0.5, -1.0, 1.0], 2, &mut mono).expect("three frames");
    assert_eq!(mono, [0.5, 0.5, 0.0]);
    mix(&[0.25], 1, &mut mono).expect("one frame");
    assert_eq!(mono[3], 0.25);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// However the stream is cut, the same samples come out.
        #[test]
        fn pieces_make_the_whole(
            (from, to) in (1000..50_000u32, 1000..50_000u32),
            pieces in prop::collection::vec(0..700usize, 0..6),
        ) {
            let total = pieces.iter().sum();
            let source = chirp(total, f64::from(from));
            let whole = resample(&source, from, to).expect("rates within limits");
            prop_assert_eq!(
                whole.len() as u64,
                (total as u64 * u64::from(to)).div_ceil(u64::from(from))
            );
            let mut resampler = Resampler::new(from, to).expect("rates within limits");
            let (mut out, mut rest) = (Vec::new(), &source[..]);
            for piece in pieces {
                let (now, later) = rest.split_at(piece);
                resampler.push(now, &mut out);
                rest = later;
            }
            resampler.finish(&mut out);
            prop_assert_eq!(out, whole);
        }

        /// Any number of samples, however few, has features.
        #[test]
        fn any_length_is_fed(samples in 1..3000usize, seed: u64) {
            let clip = chirp(samples, 16_000.0);
            for truncation in ["rand_trunc", "fusion"] {
                let named = clap(truncation).run(&[&clip], seed).expect("a short clip");
                let values = named[0].1.as_f32().expect("f32");
                prop_assert!(values.iter().all(|value| value.is_finite()));
            }
            let named = AudioPreprocessor::Whisper(whisper()).run(&[&clip], seed).expect("short");
            let values = named[0].1.as_f32().expect("f32");
            prop_assert!(values.iter().all(|value| value.is_finite()));
        }
    }
}
