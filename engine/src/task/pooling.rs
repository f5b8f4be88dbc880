//! From a text's token vectors to one vector, as the files of a sentence-transformers model name it.

use serde::Deserialize;

/// How token vectors become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolingMode {
    #[default]
    Mean,
    /// The first token's vector.
    Cls,
    /// The largest of each element.
    Max,
    LastToken,
}

/// How a model makes sentence vectors. Without files that say so: the mean, normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    pub mode: PoolingMode,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Longer texts are cut.
    pub max_tokens: Option<usize>,
}

impl Default for Pooling {
    fn default() -> Pooling {
        Pooling {
            mode: PoolingMode::Mean,
            normalize: true,
            max_tokens: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PoolingError {
    #[error("{file}: {reason}")]
    File { file: &'static str, reason: String },
    #[error("{values} values are no whole number of vectors of {hidden}")]
    Shape { values: usize, hidden: usize },
    #[error("a sentence's vector is not finite")]
    NotFinite,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingJson {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct SentenceJson {
    max_seq_length: Option<usize>,
}

impl Pooling {
    /// From `modules.json`, `1_Pooling/config.json` and `sentence_bert_config.json`, each of which may be absent.
    ///
    /// # Errors
    /// A file that is no JSON of its kind, or a pooling that is not one of [`PoolingMode`].
    pub fn from_files(
        modules: Option<&[u8]>,
        pooling: Option<&[u8]>,
        sentence: Option<&[u8]>,
    ) -> Result<Pooling, PoolingError> {
        let mut result = Pooling::default();
        if let Some(json) = modules {
            let modules: Vec<Module> = parse("modules.json", json)?;
            result.normalize = modules
                .iter()
                .any(|module| module.kind.ends_with(".Normalize"));
        }
        if let Some(json) = pooling {
            let modes: PoolingJson = parse("1_Pooling/config.json", json)?;
            let chosen = [
                (modes.pooling_mode_mean_tokens, PoolingMode::Mean),
                (modes.pooling_mode_cls_token, PoolingMode::Cls),
                (modes.pooling_mode_max_tokens, PoolingMode::Max),
                (modes.pooling_mode_lasttoken, PoolingMode::LastToken),
            ];
            let mut chosen = chosen.into_iter().filter(|(on, _)| *on);
            result.mode = match (chosen.next(), chosen.next()) {
                (Some((_, mode)), None) => mode,
                _ => {
                    return Err(PoolingError::File {
                        file: "1_Pooling/config.json",
                        reason: "exactly one of mean, cls, max and lasttoken is supported".into(),
                    });
                }
            };
        }
        if let Some(json) = sentence {
            let sentence: SentenceJson = parse("sentence_bert_config.json", json)?;
            result.max_tokens = sentence.max_seq_length.filter(|&tokens| tokens > 0);
        }
        Ok(result)
    }

    /// One vector of `hidden` elements from the vectors of a text's tokens, `[tokens, hidden]`.
    ///
    /// # Errors
    /// No whole number of vectors, or values that are not finite.
    pub fn pool(&self, states: &[f32], hidden: usize) -> Result<Vec<f32>, PoolingError> {
        if hidden == 0 || states.is_empty() || !states.len().is_multiple_of(hidden) {
            return Err(PoolingError::Shape {
                values: states.len(),
                hidden,
            });
        }
        let mut vector = match self.mode {
            PoolingMode::Cls => states[..hidden].to_vec(),
            PoolingMode::LastToken => states[states.len() - hidden..].to_vec(),
            PoolingMode::Mean => mean(states, hidden),
            PoolingMode::Max => {
                let mut vector = vec![f32::NEG_INFINITY; hidden];
                for state in states.chunks_exact(hidden) {
                    for (most, &value) in vector.iter_mut().zip(state) {
                        *most = most.max(value);
                    }
                }
                vector
            }
        };
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(PoolingError::NotFinite);
        }
        if self.normalize {
            let length = vector
                .iter()
                .map(|&v| f64::from(v) * f64::from(v))
                .sum::<f64>()
                .sqrt();
            // A vector of zeros has no direction and stays as it is.
            let scale = if length > 1e-12 { 1.0 / length } else { 1.0 };
            for value in &mut vector {
                *value = (f64::from(*value) * scale) as f32;
            }
        }
        Ok(vector)
    }
}

fn mean(states: &[f32], hidden: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; hidden];
    for state in states.chunks_exact(hidden) {
        for (sum, &value) in sums.iter_mut().zip(state) {
            *sum += f64::from(value);
        }
    }
    let tokens = (states.len() / hidden) as f64;
    sums.into_iter().map(|sum| (sum / tokens) as f32).collect()
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, json: &'a [u8]) -> Result<T, PoolingError> {
    serde_json::from_slice(json).map_err(|error| PoolingError::File {
        file,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 6] = [1.0, 2.0, 3.0, -4.0, 5.0, 2.0];

    fn pooled(mode: PoolingMode, normalize: bool) -> Vec<f32> {
        let pooling = Pooling {
            mode,
            normalize,
            max_tokens: None,
        };
        pooling.pool(&STATES, 2).unwrap()
    }

    #[test]
    fn each_mode() {
        assert_eq!(pooled(PoolingMode::Mean, false), [3.0, 0.0]);
        assert_eq!(pooled(PoolingMode::Mean, true), [1.0, 0.0]);
        assert_eq!(pooled(PoolingMode::Cls, false), [1.0, 2.0]);
        assert_eq!(pooled(PoolingMode::Max, false), [5.0, 2.0]);
        assert_eq!(pooled(PoolingMode::LastToken, false), [5.0, 2.0]);
    }

    #[test]
    fn files_decide() {
        let modules = br#"[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]"#;
        let cls = br#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let pooling = Pooling::from_files(
            Some(modules),
            Some(cls),
            Some(br#"{"max_seq_length": 256}"#),
        )
        .unwrap();
        assert_eq!(pooling.mode, PoolingMode::Cls);
        assert!(!pooling.normalize);
        assert_eq!(pooling.max_tokens, Some(256));
        let both = br#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#;
        assert!(Pooling::from_files(None, Some(both), None).is_err());
        assert!(Pooling::from_files(Some(b"{"), None, None).is_err());
    }

    #[test]
    fn hostile_shapes_and_values() {
        let pooling = Pooling::default();
        assert!(pooling.pool(&[1.0; 5], 2).is_err());
        assert!(pooling.pool(&[], 2).is_err());
        assert!(pooling.pool(&[f32::NAN, 1.0], 2).is_err());
        assert_eq!(pooling.pool(&[0.0, 0.0], 2).unwrap(), [0.0, 0.0]);
    }
}
