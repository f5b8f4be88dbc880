//! What the files beside a `tokenizer.json` add.

use serde_json::json;

use super::{BYTE_LEVEL_BPE, parse, read};
use crate::input::tokenizer::{TokenizerConfig, TokenizerError};

#[test]
fn special_tokens_and_template_come_from_the_configs() {
    let tokenizer = read(&parse(BYTE_LEVEL_BPE));
    let end = tokenizer.id("<|im_end|>").unwrap();
    let text_end = tokenizer.id("<|endoftext|>").unwrap();
    let config = json!({
        "bos_token": "<|im_start|>",
        "eos_token": {"content": "<|im_end|>", "lstrip": false},
        "pad_token": "not in the vocabulary",
        "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}],
    })
    .to_string();
    let map = json!({"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}).to_string();
    let generation = json!({"eos_token_id": [end, text_end, 4_000_000]}).to_string();
    let tokenizer = tokenizer
        .with_config(&TokenizerConfig {
            tokenizer_config: Some(config.as_bytes()),
            special_tokens_map: Some(map.as_bytes()),
            generation_config: Some(generation.as_bytes()),
            chat_template: None,
        })
        .unwrap();
    let special = tokenizer.special();
    assert_eq!(special.eos, Some(end));
    assert_eq!(special.bos, tokenizer.id("<|im_start|>"));
    assert_eq!(special.unk, Some(text_end));
    assert_eq!(special.pad, None);
    assert_eq!(special.end_of_generation, [end, text_end]);
    assert_eq!(tokenizer.chat_template(), Some("yes"));
}

#[test]
fn a_broken_config_is_named() {
    let error = read(&parse(BYTE_LEVEL_BPE))
        .with_config(&TokenizerConfig {
            generation_config: Some(b"{"),
            ..TokenizerConfig::default()
        })
        .unwrap_err();
    let file = "generation_config.json";
    assert!(matches!(error, TokenizerError::Json { file: named, .. } if named == file));
}
