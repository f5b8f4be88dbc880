//! Files carried in `tests/fixtures/tokenizers`: a byte-level BPE (the first 1,200 merges of SmolLM2) and a
//! WordPiece (a twentieth of BERT's), and the ids that the real models' own tokenizers give.

mod files;
mod gguf;
mod hostile;
mod real_models;
mod reference;

use super::Tokenizer;
use serde_json::{Value, json};

pub(super) const BYTE_LEVEL_BPE: &str =
    include_str!("../../../tests/fixtures/tokenizers/byte_level_bpe.json");
pub(super) const WORD_PIECE: &str =
    include_str!("../../../tests/fixtures/tokenizers/word_piece.json");

/// A Unigram tokenizer as T5's files describe it, with few tokens.
pub(super) fn unigram() -> Value {
    let mut vocab = vec![
        json!(["<pad>", 0.0]),
        json!(["</s>", 0.0]),
        json!(["<unk>", 0.0]),
    ];
    for (at, token) in [
        "▁", "▁the", "▁robot", "s", "e", "a", "i", "n", "t", "o", "r", "b", "h", "▁r", "ob", "ot",
        "▁a", "in", "ing", "th", "the", "é", "日", "本",
    ]
    .iter()
    .enumerate()
    {
        vocab.push(json!([token, -1.5 - 0.37 * at as f64]));
    }
    json!({
        "added_tokens": [
            {"id": 0, "content": "<pad>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 1, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 2, "content": "<unk>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false},
    })
}

pub(super) fn read(json: &Value) -> Tokenizer {
    Tokenizer::from_tokenizer_json(json.to_string().as_bytes()).unwrap()
}

pub(super) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
