//! Transcription on a [`NativeModel`].

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fewbit_engine::backend::MemoryUse;
use fewbit_engine::task::transcribe::{Part, TranscribeEvent, TranscribeOptions, Transcript};

use crate::model::{NativeError, NativeModel};

#[derive(Clone, Debug)]
pub struct Transcribed {
    /// As far as it came, if it was stopped.
    pub transcript: Transcript,
    /// Of the recording.
    pub seconds: f64,
    pub stopped: bool,
    /// Without the decoding of the recording.
    pub elapsed: Duration,
    pub memory: MemoryUse,
}

impl NativeModel {
    /// Transcribes what `sound` gives for the rate that the model hears: mono samples. `on_part` may stop it, upon which what
    /// there is comes back.
    pub fn transcribe(
        &self,
        sound: impl FnOnce(u32) -> Result<Vec<f32>, NativeError> + Send + 'static,
        options: TranscribeOptions,
        on_part: impl Fn(Part) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Transcribed, NativeError> {
        self.call(move |model| {
            pollster::block_on(async {
                let transcriber = model.transcriber().await?;
                let samples = sound(transcriber.rate())?;
                let start = Instant::now();
                let begun = transcriber.begin(samples.len(), &options);
                let mut transcription =
                    begun.map_err(|error| NativeError::Transcription(error.into()))?;
                let stopped = loop {
                    match model
                        .step_transcription(&mut transcription, &samples)
                        .await?
                    {
                        TranscribeEvent::Computed => {}
                        TranscribeEvent::Part(part) => {
                            if on_part(part).is_break() {
                                break true;
                            }
                        }
                        TranscribeEvent::Done => break false,
                    }
                };
                Ok(Transcribed {
                    transcript: transcription.transcript().clone(),
                    seconds: samples.len() as f64 / f64::from(transcriber.rate()),
                    stopped,
                    elapsed: start.elapsed(),
                    memory: model.memory(),
                })
            })
        })?
    }
}
