//! The same vocabulary as GGUF metadata and as `tokenizer.json` gives the same ids.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::reference::texts;
use super::{BYTE_LEVEL_BPE, WORD_PIECE, parse, read, unigram};
use crate::format::{MetaArray, MetaValue, Metadata};
use crate::input::tokenizer::Tokenizer;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// Metadata of the model `kind` with these tokens and types, and more keys.
fn gguf(kind: &str, tokens: Vec<(String, i32)>, more: Vec<(&str, MetaValue)>) -> Tokenizer {
    let (tokens, types) = tokens.into_iter().unzip();
    let mut metadata = Metadata::default();
    let pairs = [
        ("tokenizer.ggml.model", MetaValue::String(kind.into())),
        (
            "tokenizer.ggml.tokens",
            MetaValue::Array(MetaArray::String(tokens)),
        ),
        (
            "tokenizer.ggml.token_type",
            MetaValue::Array(MetaArray::I32(types)),
        ),
    ];
    for (key, value) in pairs.into_iter().chain(more) {
        metadata.insert(key.into(), value).unwrap();
    }
    Tokenizer::from_gguf(&metadata).unwrap()
}

/// The tokens of a `tokenizer.json` in the order of their ids.
fn tokens(json: &Value) -> Vec<String> {
    let mut entries: Vec<(&String, u64)> = json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| (token, id.as_u64().unwrap()))
        .collect();
    entries.sort_by_key(|(_, id)| *id);
    entries
        .into_iter()
        .map(|(token, _)| token.clone())
        .collect()
}

fn agree(a: &Tokenizer, b: &Tokenizer, add_special: bool) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&texts(), |text| {
            let ids = a.encode(&text, add_special).unwrap();
            prop_assert_eq!(&ids, &b.encode(&text, add_special).unwrap(), "{:?}", text);
            prop_assert_eq!(a.decode(&ids, true).unwrap(), b.decode(&ids, true).unwrap());
            Ok(())
        })
        .unwrap();
}

#[test]
fn byte_level_bpe() {
    let json = parse(BYTE_LEVEL_BPE);
    let merges = json["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| {
        format!(
            "{} {}",
            pair[0].as_str().unwrap(),
            pair[1].as_str().unwrap()
        )
    });
    let special: Vec<&str> = json["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["content"].as_str().unwrap())
        .collect();
    let tokens = tokens(&json).into_iter().map(|token| {
        let kind = if special.contains(&token.as_str()) {
            CONTROL
        } else {
            NORMAL
        };
        (token, kind)
    });
    let tokenizer = gguf(
        "gpt2",
        tokens.collect(),
        vec![
            ("tokenizer.ggml.pre", MetaValue::String("smollm".into())),
            (
                "tokenizer.ggml.merges",
                MetaValue::Array(MetaArray::String(merges.collect())),
            ),
            ("tokenizer.ggml.add_bos_token", MetaValue::Bool(false)),
        ],
    );
    agree(&tokenizer, &read(&json), true);
    let end = tokenizer.id("<|im_end|>").unwrap();
    assert!(tokenizer.ends_generation(end) && tokenizer.is_special(end));
}

#[test]
fn word_piece() {
    let json = parse(WORD_PIECE);
    // As llama.cpp's converter spells them: words begin with ▁, continuations do not.
    let tokens: Vec<(String, i32)> = tokens(&json)
        .into_iter()
        .map(|token| match token.strip_prefix("##") {
            _ if token.starts_with('[') && token.ends_with(']') && token.len() > 2 => {
                (token, CONTROL)
            }
            Some(rest) if !rest.is_empty() => (rest.to_owned(), NORMAL),
            _ => (format!("▁{token}"), NORMAL),
        })
        .collect();
    let id = |token: &str| {
        let id = json["model"]["vocab"][token].as_u64().unwrap();
        MetaValue::U32(id as u32)
    };
    let tokenizer = gguf(
        "bert",
        tokens,
        vec![
            ("tokenizer.ggml.unknown_token_id", id("[UNK]")),
            ("tokenizer.ggml.cls_token_id", id("[CLS]")),
            ("tokenizer.ggml.seperator_token_id", id("[SEP]")),
        ],
    );
    agree(&tokenizer, &read(&json), true);
}

/// By score, as GGUF has it, and by merges, as `transformers` converts the same vocabulary.
#[test]
fn sentence_piece_bpe() {
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let first = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let letters = "▁abcdefghijklmnopqrstuvwxyz".chars().map(String::from);
    let merged = [
        "▁t", "he", "▁the", "in", "an", "▁a", "er", "in▁", "the", "▁in",
    ]
    .map(str::to_owned);
    let merges = [
        ("▁", "t"),
        ("h", "e"),
        ("▁t", "he"),
        ("i", "n"),
        ("a", "n"),
        ("▁", "a"),
        ("e", "r"),
        ("in", "▁"),
        ("t", "he"),
        ("▁", "in"),
    ];
    let tokens: Vec<String> = first
        .into_iter()
        .chain(bytes)
        .chain(letters)
        .chain(merged)
        .collect();
    let merged_from = tokens.len() - merges.len();
    let scores = (0..tokens.len()).map(|id| -(id.saturating_sub(merged_from) as f32));
    let kind = |id: usize| match id {
        0 => 2,
        1 | 2 => CONTROL,
        3..259 => 6,
        _ => NORMAL,
    };
    let typed = tokens
        .iter()
        .cloned()
        .enumerate()
        .map(|(id, token)| (token, kind(id)));
    let tokenizer = gguf(
        "llama",
        typed.collect(),
        vec![
            (
                "tokenizer.ggml.scores",
                MetaValue::Array(MetaArray::F32(scores.collect())),
            ),
            ("tokenizer.ggml.unknown_token_id", MetaValue::U32(0)),
            ("tokenizer.ggml.bos_token_id", MetaValue::U32(1)),
            ("tokenizer.ggml.eos_token_id", MetaValue::U32(2)),
        ],
    );
    let added = |id: u32, content: &str| json!({"id": id, "content": content, "special": true, "normalized": false});
    let vocab: serde_json::Map<String, Value> = tokens
        .iter()
        .cloned()
        .zip(0..)
        .map(|(token, id): (String, u32)| (token, json!(id)))
        .collect();
    let json = read(&json!({
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": merges.map(|(a, b)| json!([a, b]))},
    }));
    agree(&tokenizer, &json, true);
}

#[test]
fn unigram_with_its_spaces() {
    let mut json = unigram();
    json["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": " "},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]});
    json["pre_tokenizer"] = Value::Null;
    json["decoder"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"});
    let vocab = json["model"]["vocab"].as_array().unwrap();
    let tokens = vocab.iter().enumerate().map(|(id, entry)| {
        let kind = if id < 3 { CONTROL } else { NORMAL };
        (entry[0].as_str().unwrap().to_owned(), kind)
    });
    let scores = vocab.iter().map(|entry| entry[1].as_f64().unwrap() as f32);
    let tokenizer = gguf(
        "t5",
        tokens.collect(),
        vec![
            (
                "tokenizer.ggml.scores",
                MetaValue::Array(MetaArray::F32(scores.collect())),
            ),
            ("tokenizer.ggml.unknown_token_id", MetaValue::U32(2)),
            ("tokenizer.ggml.eos_token_id", MetaValue::U32(1)),
        ],
    );
    let json = read(&json);
    for text in [
        "the robots",
        "a  the\nrobot in é日本",
        "",
        "<pad>the</s>a xyz",
    ] {
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids.last(), Some(&1));
        assert_eq!(ids, json.encode(text, true).unwrap(), "{text:?}");
    }
    let ids = tokenizer.encode("the robots", false).unwrap();
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "the robots");
}

/// A character map with one entry, ﬁ → fi, built by hand as darts-clone lays it out.
#[test]
fn a_character_map_replaces_the_longest_sequences() {
    use crate::input::tokenizer::character_map::CharacterMap;
    // The root's children stand at offset 256, each further node's at its own multiple of 256.
    let mut units = vec![0u32; 256 * 5];
    let offset = |at: usize, to: usize| ((at ^ to) as u32) << 10;
    units[0] = offset(0, 256);
    let mut node = 256;
    for (step, &byte) in "ﬁ".as_bytes().iter().enumerate() {
        let at = node ^ byte as usize;
        let children = 256 * (step + 2);
        let leaf = u32::from(step == 2) << 8;
        units[at] = offset(at, children) | leaf | u32::from(byte);
        node = children;
    }
    units[node] = 1 << 31 | 1;
    let mut bytes = ((units.len() * 4) as u32).to_le_bytes().to_vec();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(b"\0fi\0");
    let map = CharacterMap::from_bytes("test", &bytes).unwrap();
    assert_eq!(map.apply("ﬁﬁ of ﬂ"), "fifi of ﬂ");
    // Cut anywhere, it is refused or does nothing worse than replace wrongly.
    for length in 0..bytes.len() {
        if let Ok(map) = CharacterMap::from_bytes("test", &bytes[..length]) {
            map.apply("ﬁx\u{0}é");
        }
    }
}
