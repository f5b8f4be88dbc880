//! `fewbit run --task turn`: whether a speaker has finished, by what was said in the last seconds (Smart Turn 3).
//!
//! The model hears 8 s at 16 kHz, which end with the recording; a shorter one has silence before it. The samples get a mean of 0
//! and a variance of 1, the silence among them, and become Whisper's log-mel spectrogram. What the model calls `logits` is the
//! probability that the turn is over.

#[cfg(feature = "media")]
use fewbit_engine::input::audio::AudioPreprocessor;
#[cfg(feature = "media")]
use fewbit_engine::input::preprocessor::Preprocessor;
use serde_json::{Value, json};

use crate::job::{ForwardJob, InputFile, RunError, TensorData};
use crate::runner::Runner;

/// Samples a second, and seconds that the model hears.
#[cfg(feature = "media")]
const RATE: u32 = 16_000;
#[cfg(feature = "media")]
const SECONDS: usize = 8;

/// What is added to a variance that may be 0, as Whisper's feature extractor does.
#[cfg(feature = "media")]
const LEAST: f64 = 1e-7;

pub(super) async fn turn(file: &InputFile, runner: &mut dyn Runner) -> Result<Value, RunError> {
    let job = ForwardJob {
        inputs: [("input_features".to_owned(), features(file)?)].into(),
        outputs: vec!["logits".into()],
    };
    let result = runner.forward(&job).await?;
    let logits = result.outputs.get("logits");
    let logits = logits.filter(|tensor| tensor.data_type == "f32" && tensor.data.len() == 4);
    let Some(bytes) = logits.and_then(|tensor| tensor.data.first_chunk()) else {
        return Err(RunError::error("output", "no probability came out"));
    };
    let over = f32::from_le_bytes(*bytes);
    let class = |class: u8, label: &str, score: f32| json!({ "class": class, "label": label, "score": score });
    let mut answer = vec![
        class(1, "complete", over),
        class(0, "incomplete", 1.0 - over),
    ];
    if over <= 0.5 {
        answer.reverse();
    }
    Ok(json!({ "answer": answer, "elapsed_ms": result.elapsed_ms }))
}

#[cfg(not(feature = "media"))]
fn features(_: &InputFile) -> Result<TensorData, RunError> {
    Err(RunError::unavailable(
        "not_built",
        "pictures and sound are not in this build of fewbit (feature `media`)",
    ))
}

/// f32 `[1, 80, 800]`.
#[cfg(feature = "media")]
fn features(file: &InputFile) -> Result<TensorData, RunError> {
    let told = |error: String| RunError::error("input", error);
    let clip = fewbit_media::decode_audio(&file.data, RATE);
    let clip = clip.map_err(|error| told(format!("{}: {error}", file.name)))?;
    let config =
        json!({ "feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": SECONDS });
    let preprocessor = Preprocessor::from_json(config.to_string().as_bytes(), None);
    let preprocessor = preprocessor.map_err(|error| told(error.to_string()))?;
    let Preprocessor::Audio(AudioPreprocessor::Whisper(whisper)) = preprocessor else {
        return Err(told("no features of sound".to_owned()));
    };
    let tensor = whisper.chunks(&[&heard(&clip)]);
    let tensor = tensor.map_err(|error| told(error.to_string()))?;
    Ok(TensorData {
        data_type: "f32".into(),
        shape: tensor.shape().to_vec(),
        data: tensor.bytes().to_vec(),
    })
}

/// The samples that the model hears.
#[cfg(feature = "media")]
fn heard(clip: &[f32]) -> Vec<f32> {
    let most = SECONDS * RATE as usize;
    let last = &clip[clip.len().saturating_sub(most)..];
    let mut samples = vec![0.0; most - last.len()];
    samples.extend_from_slice(last);
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = samples
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / count;
    let root = (variance + LEAST).sqrt();
    for x in &mut samples {
        *x = ((f64::from(*x) - mean) / root) as f32;
    }
    samples
}

#[cfg(all(test, feature = "media"))]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_heard_with_silence_before_it() {
        let most = SECONDS * RATE as usize;
        let clip: Vec<f32> = (0..most / 2).map(|n| (n as f32 * 0.1).sin()).collect();
        let samples = heard(&clip);
        assert_eq!(samples.len(), most);
        // Silence is all alike, the mean is 0 and the variance 1.
        assert!(samples[..most / 2].iter().all(|x| *x == samples[0]));
        let mean = samples.iter().sum::<f32>() / most as f32;
        let variance = samples.iter().map(|x| x * x).sum::<f32>() / most as f32;
        assert!(
            mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3,
            "{mean} {variance}"
        );
        // Of a long recording the last seconds.
        let long: Vec<f32> = (0..2 * most)
            .map(|n| if n < most { 9.0 } else { (n % 7) as f32 })
            .collect();
        assert_eq!(heard(&long), heard(&long[most..]));
        assert!(heard(&[]).iter().all(|x| *x == 0.0));
    }
}
