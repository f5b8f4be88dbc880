//! The tokens that a model expects around a text: `[CLS] … [SEP]`, `<s> …`.

use std::collections::HashMap;

use serde::Deserialize;

use super::error::TokenizerError;

/// What stands before and after the ids of one text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PostProcessor {
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

/// A post-processor as `tokenizer.json` spells it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PostProcessorJson {
    TemplateProcessing {
        single: Vec<TemplatePiece>,
        special_tokens: HashMap<String, SpecialToken>,
    },
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    ByteLevel,
    Sequence {
        processors: Vec<PostProcessorJson>,
    },
}

#[derive(Deserialize)]
pub(super) enum TemplatePiece {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
pub(super) struct SpecialToken {
    ids: Vec<u32>,
}

impl PostProcessor {
    pub(super) fn from_json(
        file: &'static str,
        json: PostProcessorJson,
    ) -> Result<Self, TokenizerError> {
        match json {
            PostProcessorJson::ByteLevel => Ok(Self::default()),
            PostProcessorJson::BertProcessing { sep, cls }
            | PostProcessorJson::RobertaProcessing { sep, cls } => Ok(Self {
                before: vec![cls.1],
                after: vec![sep.1],
            }),
            PostProcessorJson::TemplateProcessing {
                single,
                special_tokens,
            } => from_template(file, &single, &special_tokens),
            PostProcessorJson::Sequence { processors } => {
                let mut all = Self::default();
                for json in processors {
                    let mut next = Self::from_json(file, json)?;
                    next.before.extend(all.before);
                    all.after.extend(next.after);
                    all.before = next.before;
                }
                Ok(all)
            }
        }
    }
}

fn from_template(
    file: &'static str,
    single: &[TemplatePiece],
    special_tokens: &HashMap<String, SpecialToken>,
) -> Result<PostProcessor, TokenizerError> {
    let malformed = |reason: String| TokenizerError::Malformed {
        file,
        at: "post_processor TemplateProcessing".into(),
        reason,
    };
    let mut processor = PostProcessor::default();
    let mut texts = 0;
    for piece in single {
        match piece {
            TemplatePiece::Sequence { id } if id == "A" => texts += 1,
            TemplatePiece::Sequence { id } => {
                return Err(malformed(format!("`single` names the text {id:?}")));
            }
            TemplatePiece::SpecialToken { id } => {
                let token = special_tokens
                    .get(id)
                    .ok_or_else(|| malformed(format!("no special token {id:?}")))?;
                let side = if texts == 0 {
                    &mut processor.before
                } else {
                    &mut processor.after
                };
                side.extend(&token.ids);
            }
        }
    }
    if texts != 1 {
        return Err(malformed(format!("`single` holds the text {texts} times")));
    }
    Ok(processor)
}
