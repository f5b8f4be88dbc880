//! Which tokens Whisper may say next ("Robust Speech Recognition via Large-Scale Weak Supervision", section 4.5, and
//! `whisper/decoding.py`), and the choice among them.

use super::tokens::WhisperTokens;
use crate::task::random::Random;

/// Puts what may not follow `said` (the tokens of this window so far) out of reach. Times come in pairs, an end and the next
/// beginning, and never go back; a window begins with a time.
pub(super) fn restrict(logits: &mut [f32], tokens: &WhisperTokens, said: &[u32], times: bool) {
    for &id in &tokens.suppressed {
        forbid(logits, id..id + 1);
    }
    if said.is_empty() {
        for &id in &tokens.suppressed_first {
            forbid(logits, id..id + 1);
        }
    }
    let all = logits.len() as u32;
    if !times {
        return forbid(logits, tokens.first_time..all);
    }
    let is_time = |back: usize| {
        let at = said.len().checked_sub(back)?;
        Some(tokens.is_time(said[at]))
    };
    let last_was_time = is_time(1) == Some(true);
    // Before the first token there is, as it were, a time.
    let before_was_time = is_time(2) != Some(false);
    if last_was_time {
        if before_was_time {
            forbid(logits, tokens.first_time..all);
        } else {
            forbid(logits, 0..tokens.end);
        }
    }
    if let Some(&time) = said.iter().rev().find(|&&id| tokens.is_time(id)) {
        let equal = last_was_time && !before_was_time;
        forbid(logits, tokens.first_time..time + u32::from(!equal));
    }
    if said.is_empty() {
        forbid(logits, 0..tokens.first_time);
        let latest = tokens.first_time.saturating_add(tokens.latest_first_time);
        forbid(logits, latest.saturating_add(1)..all);
    }
    // Where the times together are likelier than any text, it is a time.
    let (texts, at_times) = logits.split_at(logits.len().min(tokens.first_time as usize));
    let best_text = texts.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if log_sum(at_times) > f64::from(best_text) {
        forbid(logits, 0..tokens.first_time);
    }
}

fn forbid(logits: &mut [f32], ids: std::ops::Range<u32>) {
    let end = logits.len().min(ids.end as usize);
    let start = end.min(ids.start as usize);
    logits[start..end].fill(f32::NEG_INFINITY);
}

/// A token and the natural logarithm of its probability; nothing if none is left to choose from. At temperature 0 the
/// likeliest, otherwise one drawn.
pub(super) fn choose(logits: &[f32], temperature: f64, random: &mut Random) -> Option<(u32, f64)> {
    let (best, most) = best(logits)?;
    let id = if temperature > 0.0 {
        let weight = |logit: f32| ((f64::from(logit) - f64::from(most)) / temperature).exp();
        let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
        let mut rest = random.unit() * total;
        let drawn = logits.iter().position(|&logit| {
            rest -= weight(logit);
            rest < 0.0
        });
        drawn.map_or(best, |at| at as u32)
    } else {
        best
    };
    let chosen = f64::from(logits[id as usize]);
    Some((id, chosen - log_sum(logits)))
}

/// The greatest logit, if one is a number.
pub(super) fn best(logits: &[f32]) -> Option<(u32, f32)> {
    let finite = logits
        .iter()
        .enumerate()
        .filter(|(_, logit)| logit.is_finite());
    let best = finite.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?;
    Some((best.0 as u32, *best.1))
}

/// The probability of one token among all.
pub(super) fn probability(logits: &[f32], id: u32) -> Option<f64> {
    let logit = f64::from(*logits.get(id as usize)?);
    Some((logit - log_sum(logits)).exp())
}

/// The logarithm of the sum of the exponentials.
fn log_sum(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let most = f64::from(most);
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - most).exp()).sum();
    most + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids 0 to 3 are text, 4 ends, 5 starts, 6 forbids times, 7 is `<|0.00|>`.
    fn tokens() -> WhisperTokens {
        WhisperTokens {
            start: 5,
            end: 4,
            no_timestamps: Some(6),
            first_time: 7,
            suppressed: vec![3, 5, 6],
            suppressed_first: vec![0, 4],
            latest_first_time: 2,
            ..WhisperTokens::default()
        }
    }

    fn allowed(logits: &[f32; 12], said: &[u32], times: bool) -> Vec<u32> {
        let mut logits = *logits;
        restrict(&mut logits, &tokens(), said, times);
        (0..12)
            .filter(|&id| logits[id as usize].is_finite())
            .collect()
    }

    #[test]
    fn what_may_follow() {
        // Text is likelier than all times together.
        let mut text = [0.0; 12];
        text[1] = 10.0;
        assert_eq!(allowed(&text, &[], true), [7, 8, 9]);
        assert_eq!(allowed(&text, &[], false), [1, 2]);
        assert_eq!(allowed(&text, &[8], true), [0, 1, 2, 4]);
        // After text a later time, which is to be followed by the same time or a later one, or the end.
        assert_eq!(allowed(&text, &[8, 1], true), [0, 1, 2, 4, 9, 10, 11]);
        assert_eq!(allowed(&[0.0; 12], &[8, 1, 10], true), [10, 11]);
        let mut end = [0.0; 12];
        end[4] = 10.0;
        assert_eq!(allowed(&end, &[8, 1, 10], true), [4, 10, 11]);
        assert_eq!(allowed(&text, &[8, 1, 10, 10], true), [0, 1, 2, 4]);
        // The times together outweigh each text.
        assert_eq!(allowed(&[0.0; 12], &[8, 1], true), [9, 10, 11]);
        assert_eq!(allowed(&text, &[1, 2], false), [0, 1, 2, 4]);
    }

    #[test]
    fn choices_and_their_probabilities() {
        let mut random = Random::new(1);
        let logits = [1.0, 3.0, f32::NEG_INFINITY, f32::NAN, 2.0];
        assert_eq!(best(&logits), Some((1, 3.0)));
        assert_eq!(choose(&[f32::NEG_INFINITY; 3], 0.0, &mut random), None);
        let logits = [0.0, 0.0, f32::NEG_INFINITY];
        let (id, logprob) = choose(&logits, 0.0, &mut random).expect("two are left");
        assert_eq!((id, (logprob + 2f64.ln()).abs() < 1e-9), (0, true));
        let drawn: Vec<u32> = (0..100)
            .filter_map(|_| choose(&logits, 1.0, &mut random))
            .map(|(id, _)| id)
            .collect();
        assert!(drawn.contains(&0) && drawn.contains(&1) && !drawn.contains(&2));
        assert_eq!(probability(&logits, 1), Some(0.5));
    }
}
