//! From a vector for each token to one for the text, as the model's files say
//! (sentence-transformers: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`;
//! Reimers and Gurevych, 2019, <https://arxiv.org/abs/1908.10084>).

use serde::Deserialize;

/// One way to make a vector out of many. Padding never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    /// The mean of all tokens.
    Mean,
    /// The first token, `[CLS]`.
    Cls,
    /// The greatest value of each dimension.
    Max,
    /// The last token.
    LastToken,
    /// The sum of all tokens, divided by the square root of their number.
    MeanSqrtLength,
    /// The mean, weighted by position: the n-th token counts n times.
    WeightedMean,
}

/// How a model makes embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// Their results stand one after the other; usually there is one.
    pub modes: Vec<PoolingMode>,
    /// Whether the result is scaled to length 1.
    pub normalize: bool,
    /// Longer texts are cut to this many tokens, the special ones among them.
    pub max_tokens: Option<usize>,
}

/// Where no file says anything: the mean, scaled to length 1, so that a dot product is a cosine.
impl Default for Pooling {
    fn default() -> Self {
        Self {
            modes: vec![PoolingMode::Mean],
            normalize: true,
            max_tokens: None,
        }
    }
}

/// Why the files, or the numbers, make no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolingError {
    #[error("{file}: {reason}")]
    File { file: &'static str, reason: String },
    #[error("modules.json: the module {0:?} is not supported")]
    UnsupportedModule(String),
    #[error("{values} values are no {tokens} tokens of {width}")]
    Shape {
        values: usize,
        tokens: usize,
        width: usize,
    },
    #[error("there is no token to pool over")]
    NoTokens,
    #[error("value {index} of the embedding is not finite")]
    NotFinite { index: usize },
}

#[derive(Deserialize)]
struct ModuleJson {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

impl ModuleJson {
    /// The class, without the Python modules it is in.
    fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct PoolingJson {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct SentenceBertJson {
    max_seq_length: Option<usize>,
}

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const SENTENCE_BERT: &str = "sentence_bert_config.json";

/// The folder whose `config.json` says how to pool, `1_Pooling` unless `modules.json` names another.
///
/// # Errors
/// `modules.json` is no list of modules.
pub fn pooling_folder(modules: &[u8]) -> Result<String, PoolingError> {
    let modules: Vec<ModuleJson> = parse(MODULES, modules)?;
    let pooling = modules
        .into_iter()
        .find(|module| module.class() == "Pooling");
    Ok(pooling.map_or_else(|| "1_Pooling".to_owned(), |module| module.path))
}

impl Pooling {
    /// From `modules.json`, the `config.json` in the folder that [`pooling_folder`] names, and
    /// `sentence_bert_config.json`, each of which may be absent; [`Self::default`] where they say nothing.
    ///
    /// # Errors
    /// A file that cannot be read, or a module that is not supported (a dense layer, say).
    pub fn from_files(
        modules: Option<&[u8]>,
        pooling: Option<&[u8]>,
        sentence_bert_config: Option<&[u8]>,
    ) -> Result<Self, PoolingError> {
        let mut config = Self::default();
        if let Some(bytes) = modules {
            let modules: Vec<ModuleJson> = parse(MODULES, bytes)?;
            config.normalize = false;
            for module in &modules {
                match module.class() {
                    "Transformer" | "Pooling" => {}
                    "Normalize" => config.normalize = true,
                    _ => return Err(PoolingError::UnsupportedModule(module.kind.clone())),
                }
            }
        }
        if let Some(bytes) = pooling {
            config.modes = parse::<PoolingJson>(POOLING, bytes)?.modes();
            if config.modes.is_empty() {
                let reason = "no pooling mode is set".to_owned();
                return Err(PoolingError::File {
                    file: POOLING,
                    reason,
                });
            }
        }
        if let Some(bytes) = sentence_bert_config {
            config.max_tokens = parse::<SentenceBertJson>(SENTENCE_BERT, bytes)?
                .max_seq_length
                .filter(|&tokens| tokens > 0);
        }
        Ok(config)
    }

    /// From GGUF's `ARCHITECTURE.pooling_type`: 1 mean, 2 cls, 3 last token; [`Self::default`] without it.
    ///
    /// # Errors
    /// Another number (0, no pooling, and 4, ranking, give no embedding).
    pub fn from_gguf(pooling_type: Option<u32>) -> Result<Self, PoolingError> {
        let pooling = match pooling_type {
            None | Some(1) => PoolingMode::Mean,
            Some(2) => PoolingMode::Cls,
            Some(3) => PoolingMode::LastToken,
            Some(other) => {
                let reason = format!("pooling_type {other} makes no embedding");
                let file = "GGUF metadata";
                return Err(PoolingError::File { file, reason });
            }
        };
        Ok(Self {
            modes: vec![pooling],
            ..Self::default()
        })
    }

    /// The embedding of one text. `hidden` is `[tokens, width]`, row-major, for the tokens of the text
    /// only: no padding. Gives `width` values for each pooling.
    ///
    /// # Errors
    /// `hidden` is not of that shape, there are no tokens, or the result is not finite.
    pub fn pool(&self, hidden: &[f32], width: usize) -> Result<Vec<f32>, PoolingError> {
        let tokens = hidden.len().checked_div(width).unwrap_or(0);
        if tokens * width != hidden.len() {
            let values = hidden.len();
            return Err(PoolingError::Shape {
                values,
                tokens,
                width,
            });
        }
        if tokens == 0 {
            return Err(PoolingError::NoTokens);
        }
        let mut embedding = Vec::with_capacity(width * self.modes.len());
        for pooling in &self.modes {
            embedding.extend(pooling.apply(hidden, width));
        }
        if let Some(index) = embedding.iter().position(|value| !value.is_finite()) {
            return Err(PoolingError::NotFinite { index });
        }
        if self.normalize {
            let square = |value: &f32| f64::from(*value) * f64::from(*value);
            // sentence-transformers divides by no less than 1e-12.
            let length = embedding.iter().map(square).sum::<f64>().sqrt().max(1e-12);
            for value in &mut embedding {
                *value = (f64::from(*value) / length) as f32;
            }
        }
        Ok(embedding)
    }
}

impl PoolingJson {
    /// In the order in which sentence-transformers joins them.
    fn modes(&self) -> Vec<PoolingMode> {
        [
            (self.pooling_mode_cls_token, PoolingMode::Cls),
            (self.pooling_mode_max_tokens, PoolingMode::Max),
            (self.pooling_mode_mean_tokens, PoolingMode::Mean),
            (
                self.pooling_mode_mean_sqrt_len_tokens,
                PoolingMode::MeanSqrtLength,
            ),
            (
                self.pooling_mode_weightedmean_tokens,
                PoolingMode::WeightedMean,
            ),
            (self.pooling_mode_lasttoken, PoolingMode::LastToken),
        ]
        .into_iter()
        .filter_map(|(set, pooling)| set.then_some(pooling))
        .collect()
    }
}

impl PoolingMode {
    /// `hidden` holds at least one row of `width`.
    fn apply(self, hidden: &[f32], width: usize) -> Vec<f32> {
        let rows = hidden.chunks_exact(width);
        let tokens = rows.len() as f64;
        let weighted = |weight: &dyn Fn(usize) -> f64, divisor: f64| -> Vec<f32> {
            let mut sums = vec![0f64; width];
            for (at, row) in hidden.chunks_exact(width).enumerate() {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += weight(at) * f64::from(value);
                }
            }
            sums.into_iter().map(|sum| (sum / divisor) as f32).collect()
        };
        match self {
            Self::Cls => hidden[..width].to_vec(),
            Self::LastToken => hidden[hidden.len() - width..].to_vec(),
            Self::Mean => weighted(&|_| 1.0, tokens),
            Self::MeanSqrtLength => weighted(&|_| 1.0, tokens.sqrt()),
            Self::WeightedMean => weighted(&|at| at as f64 + 1.0, tokens * (tokens + 1.0) / 2.0),
            Self::Max => rows.fold(vec![f32::NEG_INFINITY; width], |mut most, row| {
                for (most, &value) in most.iter_mut().zip(row) {
                    // A value that is no number stays, to be reported.
                    if value > *most || value.is_nan() {
                        *most = value;
                    }
                }
                most
            }),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(
    file: &'static str,
    bytes: &[u8],
) -> Result<T, PoolingError> {
    serde_json::from_slice(bytes).map_err(|error| PoolingError::File {
        file,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES_JSON: &[u8] = br#"[
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
    const POOLING_JSON: &[u8] =
        br#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
        "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}"#;

    #[test]
    fn minilm_s_files_name_the_mean_and_unit_length() {
        let config = Pooling::from_files(
            Some(MODULES_JSON),
            Some(POOLING_JSON),
            Some(br#"{"max_seq_length": 256, "do_lower_case": false}"#),
        )
        .unwrap();
        assert_eq!(config.modes, [PoolingMode::Mean]);
        assert!(config.normalize);
        assert_eq!(config.max_tokens, Some(256));
        assert_eq!(pooling_folder(MODULES_JSON).unwrap(), "1_Pooling");
    }

    #[test]
    fn without_files_there_is_a_default() {
        let config = Pooling::from_files(None, None, None).unwrap();
        assert_eq!(config, Pooling::default());
        let modules = br#"[{"type": "sentence_transformers.models.Transformer"}]"#;
        assert!(
            !Pooling::from_files(Some(modules), None, None)
                .unwrap()
                .normalize
        );
        assert_eq!(
            Pooling::from_gguf(Some(2)).unwrap().modes,
            [PoolingMode::Cls]
        );
        assert!(Pooling::from_gguf(Some(4)).is_err());
    }

    #[test]
    fn files_that_cannot_be_followed_are_named() {
        let fails = |modules: &[u8], pooling: &[u8]| {
            let error = Pooling::from_files(Some(modules), Some(pooling), None).unwrap_err();
            error.to_string()
        };
        let dense = br#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
        assert!(fails(dense, POOLING_JSON).contains("Dense"));
        assert!(fails(MODULES_JSON, b"{}").contains("no pooling mode"));
        assert!(fails(b"{}", POOLING_JSON).contains("modules.json"));
        assert!(fails(MODULES_JSON, b"[").contains("1_Pooling"));
    }

    #[test]
    fn each_pooling_does_what_it_says() {
        let hidden = [1.0, -4.0, 3.0, 2.0, 5.0, -1.0];
        let pool = |mode| {
            let config = Pooling {
                modes: vec![mode],
                normalize: false,
                max_tokens: None,
            };
            config.pool(&hidden, 2).unwrap()
        };
        assert_eq!(pool(PoolingMode::Mean), [3.0, -1.0]);
        assert_eq!(pool(PoolingMode::Cls), [1.0, -4.0]);
        assert_eq!(pool(PoolingMode::LastToken), [5.0, -1.0]);
        assert_eq!(pool(PoolingMode::Max), [5.0, 2.0]);
        assert_eq!(pool(PoolingMode::WeightedMean), [22.0 / 6.0, -0.5]);
        let by_root = |sum: f64| (sum / 3f64.sqrt()) as f32;
        assert_eq!(
            pool(PoolingMode::MeanSqrtLength),
            [by_root(9.0), by_root(-3.0)]
        );
    }

    #[test]
    fn several_modes_are_joined_and_scaled_together() {
        let config = Pooling {
            modes: vec![PoolingMode::Cls, PoolingMode::Max],
            normalize: true,
            max_tokens: None,
        };
        assert_eq!(config.pool(&[1.0, 1.0], 2).unwrap(), [0.5; 4]);
    }

    #[test]
    fn numbers_that_make_no_embedding_are_refused() {
        let config = Pooling::default();
        assert!(matches!(
            config.pool(&[1.0; 3], 2),
            Err(PoolingError::Shape { .. })
        ));
        assert!(matches!(
            config.pool(&[1.0; 3], 0),
            Err(PoolingError::Shape { .. })
        ));
        assert_eq!(config.pool(&[], 2), Err(PoolingError::NoTokens));
        let result = config.pool(&[0.0, f32::NAN], 2);
        assert_eq!(result, Err(PoolingError::NotFinite { index: 1 }));
        assert_eq!(config.pool(&[0.0, 0.0], 2).unwrap(), [0.0, 0.0]);
    }
}
