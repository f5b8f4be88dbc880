//! RoBERTa (Liu et al. 2019) and XLM-RoBERTa: BERT whose positions are counted from the padding's id on.

use super::bert::{FirstPosition, Tower};
use super::config::one_id;
use super::{BuiltModel, Config, ModelError, Weights};

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    tower(config)?.build("roberta", weights, Some(config))
}

/// The tower that `config` describes.
pub(super) fn tower(config: &Config) -> Result<Tower, ModelError> {
    let padding = one_id(config, "pad_token_id")?.unwrap_or(1);
    Tower::from_config(config, 1, FirstPosition::AfterPadding(padding))
}
