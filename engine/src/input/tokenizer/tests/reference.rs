//! Ours against Hugging Face's `tokenizers`, on texts drawn at random.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BYTE_LEVEL_BPE, WORD_PIECE, parse, read, unigram};

/// Words, spaces, digits, punctuation, other scripts, control tokens, marks that combine.
pub(super) fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => "[a-zA-Z]{1,8}",
        2 => "[ ]{1,3}",
        1 => "[0-9]{1,5}",
        1 => prop::sample::select(vec![
            "\n", "\r\n", "\t", "'s", "'ll", "n't", ".", ",", "!?", "…", "«", "<|im_start|>", "<|im_end|>",
            "[MASK]", "<pad>", "</s>", "é", "e\u{301}", "ﬁ", "日本", "漢字", "한국어", "👩‍💻", "🇩🇪", "\u{200b}",
            "\u{a0}", "ǅ", "ß", "İ", "Ω", "مرحبا", "नमस्ते", "\u{0}", "_", "-", "the robots", " the", "½", "٣",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn theirs(json: &Value) -> tokenizers::Tokenizer {
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).unwrap();
    tokenizer
}

/// Both encode the text to the same ids, with and without what goes around it, and decode to the same.
fn agree(json: &Value) {
    let (ours, theirs) = (read(json), theirs(json));
    assert_eq!(ours.vocab_size(), theirs.get_vocab_size(true));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&texts(), |text| {
            for add_special in [true, false] {
                let expected = theirs.encode(text.as_str(), add_special).unwrap();
                let ids = ours.encode(&text, add_special).unwrap();
                prop_assert_eq!(&ids, expected.get_ids(), "{:?}", text);
                for skip_special in [true, false] {
                    let expected = theirs.decode(&ids, skip_special).unwrap();
                    prop_assert_eq!(ours.decode(&ids, skip_special).unwrap(), expected);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn byte_level_bpe() {
    agree(&parse(BYTE_LEVEL_BPE));
}

#[test]
fn llama_3_and_qwen_2_patterns() {
    for digits in [r"\p{N}{1,3}", r"\p{N}"] {
        let pattern = format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        );
        let mut json = parse(BYTE_LEVEL_BPE);
        json["model"]["ignore_merges"] = json!(true);
        json["normalizer"] = json!({"type": "NFC"});
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]});
        agree(&json);
    }
}

#[test]
fn word_piece() {
    agree(&parse(WORD_PIECE));
}

#[test]
fn unigram_with_metaspace() {
    let mut json = unigram();
    agree(&json);
    json["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    agree(&json);
}

/// SentencePiece BPE as `transformers` converts Llama 2: merges, `▁`, bytes for what is unknown.
#[test]
fn byte_fallback_bpe() {
    let mut vocab = serde_json::Map::new();
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let tokens = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let letters = "▁abcdefghijklmnopqrstuvwxyz".chars().map(String::from);
    let merged = ["▁t", "he", "▁the", "in", "an", "▁a"].map(str::to_owned);
    for token in tokens.into_iter().chain(bytes).chain(letters).chain(merged) {
        let id = vocab.len();
        vocab.insert(token, json!(id));
    }
    agree(&json!({
        "added_tokens": [
            {"id": 0, "content": "<unk>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false},
            {"id": 2, "content": "</s>", "special": false, "normalized": true, "lstrip": true, "rstrip": true, "single_word": false},
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": ["▁ t", "h e", "▁t he", "i n", "a n", "▁ a"]},
    }));
}

#[test]
fn pre_tokenizers_one_by_one() {
    let behaviors = [
        "Removed",
        "Isolated",
        "MergedWithPrevious",
        "MergedWithNext",
        "Contiguous",
    ];
    let splits = behaviors.iter().flat_map(|behavior| {
        [true, false].map(|invert| {
            json!({"type": "Split", "pattern": {"Regex": r"\s|[a-c]"}, "behavior": behavior, "invert": invert})
        })
    });
    let others = [
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "BertPreTokenizer"}),
        json!({"type": "Punctuation", "behavior": "Contiguous"}),
        json!({"type": "Digits", "individual_digits": false}),
        json!({"type": "FixedLength", "length": 3}),
        json!({"type": "CharDelimiterSplit", "delimiter": "e"}),
    ];
    for step in splits.chain(others) {
        let mut json = parse(BYTE_LEVEL_BPE);
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            step,
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false},
        ]});
        let ours = std::panic::catch_unwind(|| agree(&json));
        assert!(ours.is_ok(), "{json:?}", json = json["pre_tokenizer"]);
    }
}
