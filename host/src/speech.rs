//! Transcription as a job: what is asked, what comes back, and how it is done natively.

use serde::{Deserialize, Serialize};

use crate::job::{MemoryFacts, base64_bytes};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TranscribeJob {
    /// What the recording is called in an error.
    pub name: String,
    /// A WAV, FLAC, MP3 or Ogg Vorbis file, in standard base64.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
    /// A code such as `en`; otherwise heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Into English.
    pub translate: bool,
    /// Whether the model says when; if left out, where the recording is longer than what it hears at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<bool>,
    pub condition_on_previous: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TranscribeResult {
    pub text: String,
    /// The ids of the text.
    pub ids: Vec<u32>,
    pub segments: Vec<Segment>,
    /// The language's code, where the model knows several.
    pub language: Option<String>,
    /// How long the recording is.
    pub seconds: f64,
    /// Without the decoding of the file.
    pub elapsed_ms: Option<f64>,
    /// What was needed for each second of the recording, in seconds.
    pub real_time_factor: Option<f64>,
    pub memory: MemoryFacts,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment {
    /// Seconds from the beginning.
    pub start: f64,
    pub end: f64,
    pub text: String,
    pub ids: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg_logprob: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_speech_prob: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_ratio: Option<f64>,
}

#[cfg(feature = "native")]
pub(crate) use native::transcribe as native;

#[cfg(feature = "native")]
mod native {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use fewbit_engine::backend::MemoryUse;
    use fewbit_engine::task::transcribe::{self, Part, SpeechTask, TranscribeOptions};
    use fewbit_native_backends::{NativeError, NativeModel, Transcribed};
    use tokio::sync::mpsc;
    use tokio::task::JoinError;

    use super::{Segment, TranscribeJob, TranscribeResult};
    use crate::runner::{OnProgress, Progress};

    /// The result, and what the device holds.
    type Done = Result<(TranscribeResult, MemoryUse), NativeError>;

    pub(crate) async fn transcribe(
        model: Arc<NativeModel>,
        job: TranscribeJob,
        progress: OnProgress<'_>,
    ) -> Result<Done, JoinError> {
        let (sender, mut parts) = mpsc::unbounded_channel::<Part>();
        let mut work = tokio::task::spawn_blocking(move || -> Done {
            let options = TranscribeOptions {
                language: job.language.clone(),
                task: match job.translate {
                    true => SpeechTask::Translate,
                    false => SpeechTask::Transcribe,
                },
                timestamps: job.timestamps,
                condition_on_previous: job.condition_on_previous,
                ..TranscribeOptions::default()
            };
            let told = model.transcribe(
                move |rate| decode(&job, rate),
                options,
                move |part| match sender.send(part) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                },
            )?;
            Ok((result(&told), told.memory))
        });
        let mut count = 0;
        loop {
            tokio::select! {
                biased;
                Some(part) = parts.recv() => {
                    count += usize::from(part.segment.is_some());
                    progress(Progress::Token { text: part.text, count });
                }
                done = &mut work => return done,
            }
        }
    }

    #[cfg(feature = "media")]
    fn decode(job: &TranscribeJob, rate: u32) -> Result<Vec<f32>, NativeError> {
        let samples = fewbit_media::decode_audio(&job.data, rate);
        samples.map_err(|error| NativeError::Sound(format!("{}: {error}", job.name)))
    }

    #[cfg(not(feature = "media"))]
    fn decode(job: &TranscribeJob, _: u32) -> Result<Vec<f32>, NativeError> {
        let reason = "this program was built without decoders of sound";
        Err(NativeError::Sound(format!("{}: {reason}", job.name)))
    }

    fn result(told: &Transcribed) -> TranscribeResult {
        let transcript = &told.transcript;
        let elapsed = told.elapsed.as_secs_f64();
        TranscribeResult {
            text: transcript.text.clone(),
            ids: transcript.ids.clone(),
            segments: transcript.segments.iter().map(segment).collect(),
            language: transcript.language.clone(),
            seconds: told.seconds,
            elapsed_ms: Some(1e3 * elapsed),
            real_time_factor: Some(elapsed / told.seconds),
            ..TranscribeResult::default()
        }
    }

    fn segment(segment: &transcribe::Segment) -> Segment {
        Segment {
            start: segment.start,
            end: segment.end,
            text: segment.text.clone(),
            ids: segment.ids.clone(),
            avg_logprob: segment.avg_logprob,
            no_speech_prob: segment.no_speech_prob,
            temperature: segment.temperature,
            compression_ratio: segment.compression_ratio,
        }
    }
}
