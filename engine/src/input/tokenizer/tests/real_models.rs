//! The ids that the real models' own tokenizers give. The models are not carried: `FEWBIT_TEST_MODELS`
//! names a folder with `smollm2-135m-instruct/*.gguf` and `all-minilm-l6-v2/tokenizer.json`.

use std::path::PathBuf;

use serde_json::Value;

use super::parse;
use crate::format::{Parsed, gguf};
use crate::input::chat_template::{ChatOptions, ChatTemplate};
use crate::input::tokenizer::Tokenizer;
use crate::task::chat::messages_from_json;

const REAL_IDS: &str = include_str!("../../../../tests/fixtures/tokenizers/real_ids.json");

fn folder(model: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEWBIT_TEST_MODELS").map(|root| PathBuf::from(root).join(model));
    match folder {
        Some(folder) if folder.is_dir() => Some(folder),
        _ => {
            eprintln!("skipped: FEWBIT_TEST_MODELS names no folder with {model}");
            None
        }
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn read_gguf(path: &std::path::Path) -> Tokenizer {
    let bytes = std::fs::read(path).unwrap();
    let Parsed::Done(header) = gguf::parse(&bytes, bytes.len() as u64, "test").unwrap() else {
        panic!("the whole file holds the whole header");
    };
    Tokenizer::from_gguf(header.metadata()).unwrap()
}

#[test]
fn smollm2_from_its_gguf() {
    let Some(folder) = folder("smollm2-135m-instruct") else {
        return;
    };
    let mut entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = entries
        .find(|path| path.extension().is_some_and(|e| e == "gguf"))
        .unwrap();
    let tokenizer = read_gguf(&path);
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!(tokenizer.special().bos, Some(1));
    assert_eq!(tokenizer.special().eos, Some(2));
    assert_eq!(tokenizer.special().end_of_generation, [0, 2]);

    let template = ChatTemplate::new(tokenizer.chat_template().unwrap()).unwrap();
    for entry in parse(REAL_IDS)["smollm2-135m-instruct"].as_array().unwrap() {
        let prompt = match entry["prompt"].as_str() {
            Some(text) => text.to_owned(),
            None => {
                let messages = messages_from_json(&entry["prompt"].to_string()).unwrap();
                let options = ChatOptions {
                    add_generation_prompt: true,
                    ..ChatOptions::default()
                };
                template.render(&messages, &options).unwrap()
            }
        };
        let encoded = tokenizer.encode(&prompt, true).unwrap();
        assert_eq!(encoded, ids(&entry["ids"]), "{prompt:?}");
        assert_eq!(tokenizer.decode(&encoded, false).unwrap(), prompt);
        if let Some(text) = entry["text"].as_str() {
            let generated = ids(&entry["generated_ids"]);
            assert_eq!(tokenizer.decode(&generated, false).unwrap(), text);
        }
    }
}

#[test]
fn minilm_from_its_tokenizer_json() {
    let Some(folder) = folder("all-minilm-l6-v2") else {
        return;
    };
    let bytes = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_tokenizer_json(&bytes).unwrap();
    for entry in parse(REAL_IDS)["all-minilm-l6-v2"].as_array().unwrap() {
        let text = entry["prompt"].as_str().unwrap();
        assert_eq!(
            tokenizer.encode(text, true).unwrap(),
            ids(&entry["ids"]),
            "{text:?}"
        );
    }
}
