//! A decoder that takes its cache and gives it back: a causal model whose cache is in place.

use fewbit_engine::model::{Config, DEFAULT_CONTEXT, ModelKind};
use fewbit_engine::task::checkpoint::ModelFiles;

use super::integers;
use super::special::SpecialTokens;
use super::{OpenError, OpenModel, opened};
use crate::import::{DecoderOptions, OnnxFile};

/// How configs call the most tokens that a context may have.
const LENGTHS: [&str; 3] = ["max_position_embeddings", "n_positions", "n_ctx"];

/// What the config tells of a decoder.
fn options(config: Option<&Config>, special: &SpecialTokens) -> DecoderOptions {
    let told = config.and_then(|config| LENGTHS.iter().find_map(|key| config.size(key).ok()));
    let ids = config.and_then(|config| config.ids("eos_token_id").ok());
    DecoderOptions {
        context_length: told.unwrap_or(DEFAULT_CONTEXT).min(DEFAULT_CONTEXT),
        eos_ids: ids.unwrap_or_else(|| special.end.into_iter().collect()),
    }
}

/// The file as a causal model; `None` where it has no cache, or one that is not understood beside an encoder.
///
/// # Errors
/// What [`OnnxFile::open_decoder`] and [`OnnxFile::import_decoder`] say of one that has.
pub(super) async fn open(
    files: &ModelFiles,
    name: &str,
    config: Option<&Config>,
) -> Result<Option<OpenModel>, OpenError> {
    let Some(file) = files.find(name) else {
        return Ok(None);
    };
    if !OnnxFile::has_cache(file.as_ref()).await? {
        return Ok(None);
    }
    let file = OnnxFile::open_decoder(files, name).await?;
    let special = SpecialTokens::read(files).await?;
    let made = file.import_decoder(&options(config, &special)).await?;
    let graph = integers::narrowed(&made.imported.graph)?;
    let kind = ModelKind::CausalLm(made.model);
    Ok(Some(opened((graph, kind), made.imported.source, config)))
}
