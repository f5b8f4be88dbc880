//! What repeats gave, metric by metric.

use crate::job::{EmbedResult, GenerateResult};
use crate::results::record::Measurement;
use crate::speech::TranscribeResult;

#[derive(Default)]
pub(super) struct Samples {
    prefill: Vec<f64>,
    decode: Vec<f64>,
    first: Vec<f64>,
    embed_ms: Vec<f64>,
    texts: Vec<f64>,
    transcribe_ms: Vec<f64>,
    real_time: Vec<f64>,
    tokens: Vec<f64>,
}

impl Samples {
    pub(super) fn generated(&mut self, result: &GenerateResult) {
        self.prefill.extend(result.prefill_tokens_per_second);
        self.decode.extend(result.decode_tokens_per_second);
        self.first.extend(result.time_to_first_token_ms);
        // Prompts of a batch are of one length.
        let prompts = 1 + result.beside.len();
        self.tokens.push((result.prompt_ids.len() * prompts) as f64);
    }

    /// `outside_ms` is what the caller measured, for a target that tells no time.
    pub(super) fn embedded(&mut self, result: &EmbedResult, outside_ms: f64) {
        let ms = result.elapsed_ms.unwrap_or(outside_ms);
        self.embed_ms.push(ms);
        if ms > 0.0 {
            self.texts.push(result.embeddings.len() as f64 * 1e3 / ms);
        }
        let tokens: usize = result.embeddings.iter().map(|e| e.input_ids.len()).sum();
        self.tokens.push(tokens as f64);
    }

    pub(super) fn transcribed(&mut self, result: &TranscribeResult, outside_ms: f64) {
        self.transcribe_ms
            .push(result.elapsed_ms.unwrap_or(outside_ms));
        self.real_time.extend(result.real_time_factor);
    }

    pub(super) fn into_measurements(self) -> impl Iterator<Item = Measurement> {
        [
            ("prefill_tokens_per_second", "tokens/s", self.prefill),
            ("decode_tokens_per_second", "tokens/s", self.decode),
            ("time_to_first_token_ms", "ms", self.first),
            ("embed_ms", "ms", self.embed_ms),
            ("texts_per_second", "texts/s", self.texts),
            ("transcribe_ms", "ms", self.transcribe_ms),
            ("real_time_factor", "s/s", self.real_time),
            ("input_tokens", "tokens", self.tokens),
        ]
        .into_iter()
        .filter(|(_, _, samples)| !samples.is_empty())
        .map(|(metric, unit, samples)| Measurement::new(metric, unit, samples))
    }
}
