//! Choosing the next token from the logits.
//!
//! The steps, in the order of Hugging Face's `transformers` (llama.cpp filters before it tempers):
//!
//! 1. repetition penalty (Keskar et al., 2019, <https://arxiv.org/abs/1909.05858>), then OpenAI's presence
//!    and frequency penalties, over the tokens that are there already;
//! 2. temperature;
//! 3. top-k, then top-p (Holtzman et al., 2020, <https://arxiv.org/abs/1904.09751>), then min-p
//!    (Nguyen et al., 2024, <https://arxiv.org/abs/2407.01082>), each over what the one before left;
//! 4. one draw from what is left, renormalized.
//!
//! The log-probabilities reported are those of the model: log-softmax of the logits as they came, before
//! any of these steps, as OpenAI's API has it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::random::Random;

/// How to choose. The default is greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingParams {
    /// 0 takes the most probable token every time; 1 draws from the model's own distribution.
    pub temperature: f32,
    /// Only this many of the most probable tokens; 0 is all.
    pub top_k: usize,
    /// Only the most probable tokens that together have this probability; 1 is all.
    pub top_p: f32,
    /// Only tokens at least this fraction as probable as the most probable one; 0 is all.
    pub min_p: f32,
    /// Logits of tokens already there are divided by this if positive, else multiplied; 1 is none.
    pub repetition_penalty: f32,
    /// Taken from the logit of every token generated so far, once.
    pub presence_penalty: f32,
    /// Taken from the logit of every token generated so far, as often as it was.
    pub frequency_penalty: f32,
    /// The same seed, parameters and logits give the same tokens, natively and in wasm.
    pub seed: u64,
    /// How many of the most probable tokens to report with each choice; at most [`MAX_TOP_LOGPROBS`].
    pub top_logprobs: usize,
}

/// The most alternatives that are reported for a token; OpenAI's limit.
pub const MAX_TOP_LOGPROBS: usize = 20;

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
            top_logprobs: 0,
        }
    }
}

/// Why no token could be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    #[error("sampling parameter {name} is {value}; {allowed}")]
    Parameter {
        name: &'static str,
        value: f64,
        allowed: &'static str,
    },
    #[error("there are no logits to choose from")]
    NoLogits,
    /// The model computed something that is no number, or nothing but minus infinity.
    #[error("logit {index} is {value}")]
    NotFinite { index: usize, value: f32 },
    #[error("all {0} logits are minus infinity")]
    NothingPossible(usize),
}

/// A token and how probable the model thought it, as a natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub id: u32,
    pub logprob: f32,
}

/// The token chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub id: u32,
    /// Of the model, before penalties and filters.
    pub logprob: f32,
    /// The most probable tokens, best first, if asked for.
    pub top: Vec<TokenLogprob>,
}

/// Chooses the tokens of one generation, one after the other.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    random: Random,
    /// Tokens of the prompt, for the repetition penalty.
    prompt: HashMap<u32, u32>,
    /// How often each token was generated.
    generated: HashMap<u32, u32>,
}

impl Sampler {
    /// A sampler for a generation that begins after `prompt`.
    ///
    /// # Errors
    /// A parameter outside its range.
    pub fn new(params: SamplingParams, prompt: &[u32]) -> Result<Self, SamplingError> {
        check(&params)?;
        let mut seen = HashMap::new();
        for &id in prompt {
            *seen.entry(id).or_insert(0) += 1;
        }
        Ok(Self {
            random: Random::new(params.seed),
            params,
            prompt: seen,
            generated: HashMap::new(),
        })
    }

    /// Chooses the next token, and remembers it. `logits` has one value for each row of the vocabulary;
    /// minus infinity marks a token as impossible.
    ///
    /// # Errors
    /// A logit that is NaN or plus infinity, or none that is finite. The sampler is then as it was.
    pub fn choose(&mut self, logits: &[f32]) -> Result<Choice, SamplingError> {
        let normalizer = log_sum_exp(logits)?;
        let id = if self.params.temperature == 0.0 && !self.has_penalties() {
            argmax(logits.iter().copied())
        } else {
            let mut penalized = logits.to_vec();
            self.penalize(&mut penalized);
            if self.params.temperature == 0.0 {
                argmax(penalized.iter().copied())
            } else {
                self.draw(&penalized)
            }
        };
        *self.generated.entry(id).or_insert(0) += 1;
        let logprob = |id: u32| (f64::from(logits[id as usize]) - normalizer) as f32;
        Ok(Choice {
            id,
            logprob: logprob(id),
            top: most_probable(logits, self.params.top_logprobs)
                .into_iter()
                .map(|id| TokenLogprob {
                    id,
                    logprob: logprob(id),
                })
                .collect(),
        })
    }

    fn has_penalties(&self) -> bool {
        let params = &self.params;
        params.repetition_penalty != 1.0
            || params.presence_penalty != 0.0
            || params.frequency_penalty != 0.0
    }

    fn penalize(&self, logits: &mut [f32]) {
        let params = &self.params;
        if params.repetition_penalty != 1.0 {
            let new_in_prompt = |id: &&u32| !self.generated.contains_key(id);
            let seen = self.generated.keys();
            for &id in seen.chain(self.prompt.keys().filter(new_in_prompt)) {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = if *logit > 0.0 {
                        *logit / params.repetition_penalty
                    } else {
                        *logit * params.repetition_penalty
                    };
                }
            }
        }
        if params.presence_penalty != 0.0 || params.frequency_penalty != 0.0 {
            for (&id, &count) in &self.generated {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit -= params.presence_penalty + params.frequency_penalty * count as f32;
                }
            }
        }
    }

    /// Filters, then draws.
    fn draw(&mut self, logits: &[f32]) -> u32 {
        let params = &self.params;
        let mut ranked: Vec<u32> = (0..logits.len() as u32)
            .filter(|&id| logits[id as usize] > f32::NEG_INFINITY)
            .collect();
        let better = |a: &u32, b: &u32| {
            // Equal logits by id, so that the order is the same everywhere.
            let (a_logit, b_logit) = (logits[*a as usize], logits[*b as usize]);
            b_logit.total_cmp(&a_logit).then(a.cmp(b))
        };
        if params.top_k > 0 && params.top_k < ranked.len() {
            ranked.select_nth_unstable_by(params.top_k - 1, better);
            ranked.truncate(params.top_k);
        }
        ranked.sort_unstable_by(better);
        let Some(&best) = ranked.first() else {
            return argmax(logits.iter().copied());
        };

        let temperature = f64::from(params.temperature);
        let highest = f64::from(logits[best as usize]);
        let mut weights: Vec<f64> = ranked
            .iter()
            .map(|&id| portable_exp((f64::from(logits[id as usize]) - highest) / temperature))
            .collect();
        if params.top_p < 1.0 {
            let goal = f64::from(params.top_p) * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let kept = weights
                .iter()
                .position(|weight| {
                    sum += weight;
                    sum >= goal
                })
                .map_or(weights.len(), |last| last + 1);
            weights.truncate(kept);
        }
        if params.min_p > 0.0 {
            // The best token weighs 1.
            let least = f64::from(params.min_p);
            let kept = weights.partition_point(|&weight| weight >= least).max(1);
            weights.truncate(kept);
        }
        let mut at = self.random.unit() * weights.iter().sum::<f64>();
        for (weight, &id) in weights.iter().zip(&ranked) {
            at -= weight;
            if at < 0.0 {
                return id;
            }
        }
        // Rounding can leave a crumb: it belongs to the last token with any weight.
        let last = weights.iter().rposition(|&weight| weight > 0.0);
        ranked[last.unwrap_or(0)]
    }
}

fn check(params: &SamplingParams) -> Result<(), SamplingError> {
    let unit = "it must be from 0 to 1";
    let any = "it must be a number";
    let within = |name, value: f32, ok: bool, allowed| {
        if ok {
            return Ok(());
        }
        Err(SamplingError::Parameter {
            name,
            value: f64::from(value),
            allowed,
        })
    };
    let p = params;
    let temperature_ok = p.temperature >= 0.0 && p.temperature.is_finite();
    within(
        "temperature",
        p.temperature,
        temperature_ok,
        "it must be 0 or more",
    )?;
    within(
        "topP",
        p.top_p,
        p.top_p > 0.0 && p.top_p <= 1.0,
        "it must be above 0, at most 1",
    )?;
    within("minP", p.min_p, (0.0..=1.0).contains(&p.min_p), unit)?;
    let penalty_ok = p.repetition_penalty > 0.0 && p.repetition_penalty.is_finite();
    within(
        "repetitionPenalty",
        p.repetition_penalty,
        penalty_ok,
        "it must be above 0",
    )?;
    within(
        "presencePenalty",
        p.presence_penalty,
        p.presence_penalty.is_finite(),
        any,
    )?;
    within(
        "frequencyPenalty",
        p.frequency_penalty,
        p.frequency_penalty.is_finite(),
        any,
    )?;
    let count = p.top_logprobs;
    within(
        "topLogprobs",
        count as f32,
        count <= MAX_TOP_LOGPROBS,
        "it must be 20 or less",
    )
}

/// Ids of the `count` greatest logits, best first; equal ones by id.
fn most_probable(logits: &[f32], count: usize) -> Vec<u32> {
    if count == 0 {
        return Vec::new();
    }
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let better = |a: &u32, b: &u32| {
        let (a_logit, b_logit) = (logits[*a as usize], logits[*b as usize]);
        b_logit.total_cmp(&a_logit).then(a.cmp(b))
    };
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, better);
        ids.truncate(count);
    }
    ids.sort_unstable_by(better);
    ids
}

/// The first of the greatest.
fn argmax(logits: impl Iterator<Item = f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, logit) in logits.enumerate() {
        if logit > best.1 {
            best = (index as u32, logit);
        }
    }
    best.0
}

/// `ln Σ exp(logit)`, after checking that every logit is a number.
///
/// # Errors
/// See [`SamplingError`].
pub fn log_sum_exp(logits: &[f32]) -> Result<f64, SamplingError> {
    if logits.is_empty() {
        return Err(SamplingError::NoLogits);
    }
    let mut highest = f32::NEG_INFINITY;
    for (index, &value) in logits.iter().enumerate() {
        if value.is_nan() || value == f32::INFINITY {
            return Err(SamplingError::NotFinite { index, value });
        }
        highest = highest.max(value);
    }
    if highest == f32::NEG_INFINITY {
        return Err(SamplingError::NothingPossible(logits.len()));
    }
    let highest = f64::from(highest);
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - highest).exp())
        .sum();
    Ok(highest + sum.ln())
}

/// `exp(x)` for `x ≤ 0`, from additions and multiplications only: the platform's `exp` may differ in the
/// last bit between native and wasm, and a draw must not.
fn portable_exp(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x < -700.0 {
        return 0.0;
    }
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    // Taylor to rest^13/13!, |rest| ≤ ln 2 / 2: the next term is below 2^-57.
    let mut sum = 1.0;
    for n in (1..=13).rev() {
        sum = 1.0 + rest / f64::from(n) * sum;
    }
    // x ≥ -700 keeps the exponent in the normal range.
    sum * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests;
