//! Files and texts that mean harm end in an error, or in nothing worse than odd ids.

use serde_json::{Value, json};

use super::{BYTE_LEVEL_BPE, WORD_PIECE, parse, read, unigram};
use crate::format::{MetaArray, MetaValue, Metadata};
use crate::input::tokenizer::{MAX_TEXT_BYTES, Tokenizer, TokenizerError};

fn fails(json: &Value) -> TokenizerError {
    Tokenizer::from_tokenizer_json(json.to_string().as_bytes()).unwrap_err()
}

fn with(path: &str, value: Value) -> Value {
    let mut json = parse(BYTE_LEVEL_BPE);
    *json.pointer_mut(path).unwrap() = value;
    json
}

#[test]
fn a_tokenizer_without_vocabulary_is_refused() {
    let mut json = parse(BYTE_LEVEL_BPE);
    json["model"]["vocab"] = json!({});
    assert!(matches!(fails(&json), TokenizerError::NoVocabulary { .. }));
    json["model"].as_object_mut().unwrap().remove("vocab");
    assert!(matches!(fails(&json), TokenizerError::NoVocabulary { .. }));
    let mut json = unigram();
    json["model"]["vocab"] = json!([]);
    assert!(matches!(fails(&json), TokenizerError::NoVocabulary { .. }));
    assert!(matches!(fails(&json!({})), TokenizerError::Json { .. }));
    assert!(matches!(
        Tokenizer::from_tokenizer_json(b"\xff\xfe").unwrap_err(),
        TokenizerError::Json { .. }
    ));
}

#[test]
fn contradictions_are_named() {
    let deep = (0..200).fold(
        json!({"type": "Lowercase"}),
        |inner, _| json!({"type": "Sequence", "normalizers": [inner]}),
    );
    for (json, says) in [
        (with("/model/merges", json!([["a", "zzz"]])), "zzz"),
        (with("/model/merges", json!([["Ġ", "Ġ"], ["q", "q"]])), "qq"),
        (with("/model/merges", json!(["onlyone"])), "merge 0"),
        (with("/model/merges", json!([7])), "a merge is neither"),
        (with("/model/vocab", json!({"a": 0, "b": 0})), "already"),
        (
            with("/model/vocab", json!({"a": 4_000_000_000u32})),
            "far beyond",
        ),
        (with("/model/vocab", json!({"a": -1})), "vocab"),
        (with("/model/vocab", json!([["a", 0.5]])), "shape"),
        (with("/model/unk_token", json!("nowhere")), "nowhere"),
        (with("/model/type", json!("Quantum")), "Quantum"),
        (with("/added_tokens/0/id", json!(300)), "already"),
        (
            with("/added_tokens/0/content", json!("y".repeat(5_000))),
            "already",
        ),
        (
            with("/pre_tokenizer", json!({"type": "Telepathy"})),
            "Telepathy",
        ),
        (
            with(
                "/pre_tokenizer",
                json!({"type": "FixedLength", "length": 0}),
            ),
            "length of 0",
        ),
        (with("/decoder", json!({"type": "CTC"})), "CTC"),
        (
            with(
                "/normalizer",
                json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
            ),
            "trie",
        ),
        (
            with(
                "/normalizer",
                json!({"type": "Precompiled", "precompiled_charsmap": "*"}),
            ),
            "character map",
        ),
        (with("/normalizer", deep), "recursion"),
        (
            with(
                "/post_processor",
                json!({"type": "BertProcessing", "sep": ["x", 999_999], "cls": ["y", 0]}),
            ),
            "999999",
        ),
        (
            with(
                "/post_processor",
                json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "special_tokens": {}}),
            ),
            "special token",
        ),
        (with("/pre_tokenizer", split("(")), "pattern"),
        (
            with("/pre_tokenizer", split(&"(?:a{1000}){1000}".repeat(40))),
            "pattern",
        ),
        (
            with(
                "/pre_tokenizer",
                split(&format!("{}a{}", "(?=".repeat(300), ")".repeat(300))),
            ),
            "pattern",
        ),
    ] {
        let error = fails(&json).to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
    let mut json = parse(WORD_PIECE);
    json["model"]["max_input_chars_per_word"] = json!(1_000_000_000);
    assert!(fails(&json).to_string().contains("1000000000"));
    let mut json = unigram();
    json["model"]["unk_id"] = json!(9_999);
    assert!(fails(&json).to_string().contains("9999"));
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

#[test]
fn patterns_that_backtrack_without_end_are_stopped() {
    let text = "a".repeat(400) + "!";
    for pattern in [
        r"^(?:(?=a)a|(?!b)a)*$",
        r"(a*)*\1b(?!x)",
        r"(?:(a)|(a)(?<=a))+(?!a|!)",
        r"((a+)\2?)+$(?!b)",
    ] {
        let tokenizer = read(&with("/pre_tokenizer", split(pattern)));
        let outcome = tokenizer.encode(&text, false);
        let stopped = matches!(outcome, Err(TokenizerError::PatternLimit { .. }));
        assert!(stopped, "{pattern}");
        // In a normalizer too.
        let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": ""});
        let outcome = read(&with("/normalizer", replace)).encode(&text, false);
        assert!(
            matches!(outcome, Err(TokenizerError::PatternLimit { .. })),
            "{pattern}"
        );
    }
}

#[test]
fn real_patterns_stay_under_the_limit_on_long_runs() {
    let tokenizer = read(&parse(BYTE_LEVEL_BPE));
    for unit in [" ", "\n", "a", "7", "!", " a", "日", "\u{a0}"] {
        let text = unit.repeat(20_000);
        let ids = tokenizer.encode(&text, false).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

#[test]
fn texts_past_all_measure_are_refused() {
    let tokenizer = read(&parse(BYTE_LEVEL_BPE));
    let error = tokenizer
        .encode(&" ".repeat(MAX_TEXT_BYTES + 1), false)
        .unwrap_err();
    assert!(matches!(error, TokenizerError::TextTooLong { .. }));

    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let json = with(
        "/normalizer",
        json!({"type": "Sequence", "normalizers": vec![double; 60]}),
    );
    let error = read(&json).encode("a", false).unwrap_err();
    assert!(matches!(error, TokenizerError::TextGrows { .. }));
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let tokenizer = read(&parse(BYTE_LEVEL_BPE));
    let error = tokenizer.decode(&[5, u32::MAX], false).unwrap_err();
    assert!(matches!(
        error,
        TokenizerError::UnknownId { id: u32::MAX, .. }
    ));
}

#[test]
fn added_tokens_that_swallow_spaces_do_not_collide() {
    let token = |id: u32, content: &str| json!({"id": id, "content": content, "lstrip": true, "rstrip": true, "normalized": false, "special": false});
    let mut json = parse(BYTE_LEVEL_BPE);
    let next = json["model"]["vocab"].as_object().unwrap().len() as u32;
    json["added_tokens"] = json!([
        token(next, "<a>"),
        token(next + 1, " <b>"),
        token(next + 2, "")
    ]);
    let tokenizer = read(&json);
    let ids = tokenizer.encode("x <a>  <b> <a> y", false).unwrap();
    assert!(ids.contains(&next));
}

/// Every part of the real files replaced by every kind of JSON: an error or a tokenizer, never a panic.
#[test]
fn mutations_never_panic() {
    fn paths(value: &Value, path: String, out: &mut Vec<String>) {
        out.push(path.clone());
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter().take(8) {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    paths(value, format!("{path}/{key}"), out);
                }
            }
            Value::Array(list) => {
                for (at, value) in list.iter().take(2).enumerate() {
                    paths(value, format!("{path}/{at}"), out);
                }
            }
            _ => {}
        }
    }
    for json in [parse(BYTE_LEVEL_BPE), parse(WORD_PIECE), unigram()] {
        let mut all = Vec::new();
        paths(&json, String::new(), &mut all);
        for path in all.iter().skip(1) {
            for value in [
                json!(null),
                json!(0),
                json!(-1),
                json!(1e300),
                json!(4_294_967_295u32),
                json!(true),
                json!(""),
                json!("▁"),
                json!([]),
                json!([[]]),
                json!({}),
                json!({"": 0}),
                json!(["a", 0]),
            ] {
                let mut mutated = json.clone();
                *mutated.pointer_mut(path).unwrap() = value;
                let read = Tokenizer::from_tokenizer_json(mutated.to_string().as_bytes());
                if let Ok(tokenizer) = read
                    && let Ok(ids) = tokenizer.encode("The robots, é日本 <|im_end|> 12!", true)
                {
                    let _ = tokenizer.decode(&ids, true);
                }
            }
        }
    }
}

fn metadata(pairs: &[(&str, MetaValue)]) -> Metadata {
    let mut metadata = Metadata::default();
    for (key, value) in pairs {
        metadata.insert((*key).to_owned(), value.clone()).unwrap();
    }
    metadata
}

fn strings(list: &[&str]) -> MetaValue {
    MetaValue::Array(MetaArray::String(
        list.iter().map(|&s| s.to_owned()).collect(),
    ))
}

fn text(text: &str) -> MetaValue {
    MetaValue::String(text.to_owned())
}

#[test]
fn gguf_metadata_that_is_wrong_is_named() {
    let model = "tokenizer.ggml.model";
    let tokens = "tokenizer.ggml.tokens";
    let scores = "tokenizer.ggml.scores";
    let f32s = |values: &[f32]| MetaValue::Array(MetaArray::F32(values.to_vec()));
    let i32s = |values: &[i32]| MetaValue::Array(MetaArray::I32(values.to_vec()));
    let types = "tokenizer.ggml.token_type";
    let merges = "tokenizer.ggml.merges";
    let pre = "tokenizer.ggml.pre";
    let two = strings(&["a", "b"]);
    for (pairs, says) in [
        (vec![(model, text("gpt2"))], "absent or empty"),
        (
            vec![(model, text("gpt2")), (tokens, strings(&[]))],
            "absent or empty",
        ),
        (vec![(tokens, two.clone())], "tokenizer.ggml.model"),
        (vec![(model, text("rwkv")), (tokens, two.clone())], "rwkv"),
        (
            vec![(model, MetaValue::U32(1)), (tokens, two.clone())],
            "tokenizer.ggml.model",
        ),
        (vec![(model, text("gpt2")), (tokens, i32s(&[1]))], tokens),
        (vec![(model, text("gpt2")), (tokens, two.clone())], merges),
        (
            vec![
                (model, text("gpt2")),
                (tokens, two.clone()),
                (pre, text("secret")),
            ],
            "secret",
        ),
        (
            vec![
                (model, text("gpt2")),
                (tokens, two.clone()),
                (merges, strings(&["a c"])),
            ],
            "\"c\"",
        ),
        (
            vec![
                (model, text("gpt2")),
                (tokens, two.clone()),
                (merges, strings(&["ab"])),
            ],
            "one space",
        ),
        (vec![(model, text("llama")), (tokens, two.clone())], scores),
        (
            vec![
                (model, text("llama")),
                (tokens, two.clone()),
                (scores, f32s(&[1.0])),
            ],
            "1 scores for 2",
        ),
        (
            vec![
                (model, text("llama")),
                (tokens, two.clone()),
                (scores, f32s(&[1.0, f32::NAN])),
            ],
            "not a number",
        ),
        (
            vec![
                (model, text("t5")),
                (tokens, two.clone()),
                (scores, f32s(&[1.0; 3])),
            ],
            "3 scores for 2",
        ),
        (
            vec![
                (model, text("llama")),
                (tokens, two.clone()),
                (types, i32s(&[1])),
            ],
            "1 types for 2",
        ),
        (
            vec![
                (model, text("llama")),
                (tokens, two.clone()),
                ("tokenizer.ggml.bos_token_id", MetaValue::U32(2)),
            ],
            "bos_token_id",
        ),
        (
            vec![(model, text("bert")), (tokens, two.clone())],
            "unknown_token_id",
        ),
    ] {
        let error = Tokenizer::from_gguf(&metadata(&pairs))
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
}

#[test]
fn gguf_duplicate_tokens_decode_both_ways() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&[
        ("tokenizer.ggml.model", text("llama")),
        ("tokenizer.ggml.tokens", strings(&["<unk>", "▁", "a", "a"])),
        ("tokenizer.ggml.unknown_token_id", MetaValue::U32(0)),
        (
            "tokenizer.ggml.scores",
            MetaValue::Array(MetaArray::F32(vec![0.0, -1.0, -2.0, -3.0])),
        ),
        ("tokenizer.ggml.add_bos_token", MetaValue::Bool(false)),
    ]))
    .unwrap();
    assert_eq!(tokenizer.encode("aq", true).unwrap(), [1, 2, 0]);
    assert_eq!(tokenizer.decode(&[1, 3, 2], false).unwrap(), "aa");
}
