use super::*;
use proptest::prelude::*;

const BYTE_LEVEL_BPE: &str = include_str!("../../../tests/fixtures/tokenizers/byte_level_bpe.json");
const WORD_PIECE: &str = include_str!("../../../tests/fixtures/tokenizers/word_piece.json");

fn tokenizer(json: &str) -> Tokenizer {
    Tokenizer::from_tokenizer_json(json.as_bytes()).unwrap()
}

fn stream(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Vec<String> {
    let mut stream = TextStream::new(skip_special);
    let mut out: Vec<String> = ids
        .iter()
        .map(|&id| stream.push(tokenizer, id).unwrap())
        .collect();
    out.push(stream.finish());
    out
}

#[test]
fn a_character_over_several_tokens_comes_whole() {
    let tokenizer = tokenizer(BYTE_LEVEL_BPE);
    let text = "日本 👩‍💻!";
    let ids = tokenizer.encode(text, false).unwrap();
    assert!(
        ids.len() > text.chars().count(),
        "the fixture has no such tokens"
    );
    let parts = stream(&tokenizer, &ids, true);
    assert!(parts.iter().all(|part| !part.contains('\u{fffd}')));
    assert!(parts.iter().filter(|part| part.is_empty()).count() > 3);
    assert_eq!(parts.concat(), text);
}

#[test]
fn an_unfinished_character_is_marked_at_the_end() {
    let tokenizer = tokenizer(BYTE_LEVEL_BPE);
    let ids = tokenizer.encode("é", false).unwrap();
    let parts = stream(&tokenizer, &ids[..1], true);
    assert_eq!(parts, ["", "\u{fffd}"]);
}

#[test]
fn control_tokens_are_shown_on_request() {
    let tokenizer = tokenizer(BYTE_LEVEL_BPE);
    let ids = tokenizer.encode("a<|im_end|>b", false).unwrap();
    assert_eq!(stream(&tokenizer, &ids, true).concat(), "ab");
    assert_eq!(stream(&tokenizer, &ids, false).concat(), "a<|im_end|>b");
    assert!(TextStream::new(true).push(&tokenizer, u32::MAX).is_err());
}

proptest! {
    #[test]
    fn any_ids_stream_to_what_they_decode_to(ids in prop::collection::vec(0u32..1_400, 0..40)) {
        for json in [BYTE_LEVEL_BPE, WORD_PIECE] {
            let tokenizer = tokenizer(json);
            let ids: Vec<u32> = ids
                .iter()
                .copied()
                .filter(|&id| (id as usize) < tokenizer.vocab_size())
                .collect();
            for skip in [true, false] {
                let parts = stream(&tokenizer, &ids, skip);
                prop_assert_eq!(parts.concat(), tokenizer.decode(&ids, skip).unwrap());
            }
        }
    }
}
