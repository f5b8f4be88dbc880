//! From logits to labels: softmax, the best classes, and what `config.json` calls them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    pub class: usize,
    /// From `id2label`; without it `LABEL_7`, as `transformers` has it.
    pub label: String,
    /// 0 to 1; for a model of a quantity (`problem_type` is `regression`) the quantity.
    pub score: f32,
}

/// What a model's classes are called and how sure it is of them: `id2label` and `problem_type` of its `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    names: BTreeMap<usize, String>,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Problem {
    /// One class is right; one alone is right or not.
    #[default]
    SingleLabel,
    /// Each class is right or not.
    MultiLabel,
    Regression,
}

impl Labels {
    /// From a `config.json`; one without labels, or that is no JSON, gives none.
    pub fn from_config(json: &[u8]) -> Labels {
        let config: Value = serde_json::from_slice(json).unwrap_or(Value::Null);
        let named = config["id2label"].as_object().into_iter().flatten();
        Labels {
            names: named
                .filter_map(|(id, label)| Some((id.parse().ok()?, label.as_str()?.to_owned())))
                .collect(),
            problem: match config["problem_type"].as_str() {
                Some("multi_label_classification") => Problem::MultiLabel,
                Some("regression") => Problem::Regression,
                _ => Problem::SingleLabel,
            },
        }
    }

    /// What one row of logits says of each class, by the problem that the model solves.
    pub fn scores(&self, logits: &[f32]) -> Vec<f32> {
        match self.problem {
            Problem::Regression => logits.to_vec(),
            Problem::SingleLabel if logits.len() != 1 => softmax(logits),
            _ => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        }
    }

    pub fn get(&self, class: usize) -> String {
        match self.names.get(&class) {
            Some(label) => label.clone(),
            None => format!("LABEL_{class}"),
        }
    }
}

/// The `count` greatest of `scores` with their places, the greatest first.
pub(super) fn top(scores: Vec<f32>, count: usize) -> Vec<(usize, f32)> {
    let mut scores: Vec<_> = scores.into_iter().enumerate().collect();
    // Equal ones in the order of their places; a NaN after all numbers.
    scores.sort_by(|(_, a), (_, b)| a.is_nan().cmp(&b.is_nan()).then(b.total_cmp(a)));
    scores.truncate(count);
    scores
}

/// The `count` most probable classes of one row of `logits`, the best first.
pub fn classify(logits: &[f32], labels: &Labels, count: usize) -> Vec<Score> {
    top(labels.scores(logits), count)
        .into_iter()
        .map(|(class, score)| Score {
            class,
            label: labels.get(class),
            score,
        })
        .collect()
}

/// The probability of each of `candidates`, the best first: zero-shot classification from the logits of one picture or
/// sound against each text (`logits_per_image`, `logits_per_audio` of CLIP and CLAP). A class is a candidate's number.
pub fn zero_shot(logits: &[f32], candidates: &[String]) -> Vec<Score> {
    let named = top(softmax(logits), candidates.len()).into_iter();
    let named = named.filter_map(|(class, score)| Some((class, candidates.get(class)?, score)));
    named
        .map(|(class, label, score)| Score {
            class,
            label: label.clone(),
            score,
        })
        .collect()
}

/// Probabilities of logits. Where the largest is infinite it gets all, shared among equals.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&x: &f32| {
        if x == largest {
            1.0
        } else {
            f64::from(x - largest).exp()
        }
    };
    let weights: Vec<f64> = logits.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// The class with the largest logit, the first of equals; NaN never wins.
pub(super) fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    let mut largest = f32::NEG_INFINITY;
    for (class, &logit) in logits.iter().enumerate() {
        if logit > largest {
            (best, largest) = (class, logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_known_values() {
        // scipy.special.softmax([1, 2, 3, -1000])
        let want = [0.090_030_57, 0.244_728_47, 0.665_240_96, 0.0];
        for (got, want) in softmax(&[1.0, 2.0, 3.0, -1000.0]).iter().zip(want) {
            assert!((got - want).abs() < 1e-7, "{got} {want}");
        }
        assert_eq!(softmax(&[f32::INFINITY, 0.0]), [1.0, 0.0]);
        assert_eq!(softmax(&[f32::NEG_INFINITY; 2]), [0.5, 0.5]);
        assert!(softmax(&[]).is_empty());
    }

    #[test]
    fn the_best_classes_come_first_under_their_names() {
        let labels = Labels::from_config(br#"{"id2label": {"0": "cat", "2": "dog", "x": "no"}}"#);
        let scores = classify(&[1.0, 3.0, 2.0], &labels, 2);
        let named: Vec<_> = scores.iter().map(|s| (s.class, s.label.as_str())).collect();
        assert_eq!(named, [(1, "LABEL_1"), (2, "dog")]);
        assert!(scores[0].score > scores[1].score);
        assert_eq!(classify(&[0.0, 0.0], &labels, 9)[0].label, "cat");
        assert_eq!(Labels::from_config(b"no JSON"), Labels::default());
    }

    #[test]
    fn the_best_candidate_comes_first_with_its_number() {
        let scores = zero_shot(&[0.0, 2.0], &["cat".to_owned(), "dog".to_owned()]);
        assert_eq!((scores[0].label.as_str(), scores[0].class), ("dog", 1));
        assert!((scores[0].score - 0.880_797).abs() < 1e-6);
        assert_eq!(scores[1].label, "cat");
    }

    #[test]
    fn the_problem_says_what_logits_mean() {
        let labels = |problem: &str| {
            let json = format!(r#"{{"problem_type": "{problem}"}}"#);
            Labels::from_config(json.as_bytes())
        };
        let close = |got: Vec<f32>, want: [f32; 2]| {
            got.iter()
                .zip(want)
                .all(|(got, want)| (got - want).abs() < 1e-6)
        };
        let logits = [0.0, 2.0];
        assert!(close(
            labels("multi_label_classification").scores(&logits),
            [0.5, 0.880_797]
        ));
        assert!(close(
            labels("single_label_classification").scores(&logits),
            [0.119_203, 0.880_797]
        ));
        assert_eq!(labels("regression").scores(&logits), logits);
        // A class without a rival is right or not.
        assert_eq!(Labels::default().scores(&[0.0]), [0.5]);
        assert_eq!(
            labels("multi_label_classification").scores(&[-200.0]),
            [0.0]
        );
    }

    #[test]
    fn nan_never_wins() {
        assert_eq!(best(&[f32::NAN, 1.0, f32::NAN, 2.0]), 3);
        assert_eq!(best(&[f32::NAN]), 0);
    }
}
