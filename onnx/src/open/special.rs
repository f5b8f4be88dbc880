//! Which tokens begin and end what a decoder says, where no config tells: by the names that tokenizers have for them.

use fewbit_engine::source::SourceError;
use fewbit_engine::task::checkpoint::ModelFiles;
use serde_json::Value;

/// How the end of a text is called.
const ENDS: [&str; 5] = ["</s>", "<|endoftext|>", "<eos>", "<|end_of_text|>", "[EOS]"];

/// What `tokenizer.json` names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    /// What ends a text.
    pub(super) end: Option<u32>,
    /// What an encoder-decoder's decoder goes on from. T5 and Marian, which have no token for the beginning of a text, take
    /// the padding; BART, which has one, takes the end.
    pub(super) start: Option<u32>,
}

impl SpecialTokens {
    pub(super) async fn read(files: &ModelFiles) -> Result<SpecialTokens, SourceError> {
        let json = files.read("tokenizer.json").await?;
        Ok(json.map_or_else(SpecialTokens::default, |json| SpecialTokens::of(&json)))
    }

    /// Nothing of a file that is no tokenizer: whoever reads texts with it says what is wrong.
    fn of(json: &[u8]) -> SpecialTokens {
        let json: Value = serde_json::from_slice(json).unwrap_or_default();
        let added = json.get("added_tokens").and_then(Value::as_array);
        let id_of = |name: &str| {
            let is_it = |token: &&Value| token.get("content").and_then(Value::as_str) == Some(name);
            let id = added?.iter().find(is_it)?.get("id")?.as_u64()?;
            u32::try_from(id).ok()
        };
        let end = ENDS.into_iter().find_map(id_of);
        let start = match id_of("<s>") {
            Some(_) => end,
            None => id_of("<pad>"),
        };
        SpecialTokens { end, start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[(&str, u32)]) -> SpecialTokens {
        let tokens = names.iter();
        let tokens = tokens.map(|(name, id)| serde_json::json!({ "content": name, "id": id }));
        let tokens: Vec<Value> = tokens.collect();
        SpecialTokens::of(
            serde_json::json!({ "added_tokens": tokens })
                .to_string()
                .as_bytes(),
        )
    }

    #[test]
    fn tokens_are_known_by_their_names() {
        let t5 = of(&[("<pad>", 0), ("</s>", 1), ("<unk>", 2)]);
        assert_eq!((t5.start, t5.end), (Some(0), Some(1)));
        let bart = of(&[("<s>", 0), ("<pad>", 1), ("</s>", 2)]);
        assert_eq!((bart.start, bart.end), (Some(2), Some(2)));
        let gpt2 = of(&[("<|endoftext|>", 50256)]);
        assert_eq!((gpt2.start, gpt2.end), (None, Some(50256)));
        assert_eq!(of(&[("[CLS]", 101)]), SpecialTokens::default());
        for bytes in [&b"["[..], b"{}", br#"{"added_tokens": 3}"#] {
            assert_eq!(SpecialTokens::of(bytes), SpecialTokens::default());
        }
    }
}
