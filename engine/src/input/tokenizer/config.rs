//! What `tokenizer_config.json`, `special_tokens_map.json` and `generation_config.json` add to a
//! `tokenizer.json`: special tokens, the chat template, which ids end a generation, the longest text.

use serde::Deserialize;
use serde_json::Value;

use super::Tokenizer;
use super::error::TokenizerError;

/// The files beside a `tokenizer.json`, as bytes; each may be absent.
#[derive(Debug, Default, Clone, Copy)]
pub struct TokenizerConfig<'a> {
    pub tokenizer_config: Option<&'a [u8]>,
    pub special_tokens_map: Option<&'a [u8]>,
    pub generation_config: Option<&'a [u8]>,
    /// `chat_template.jinja`, which goes before the template in `tokenizer_config.json`.
    pub chat_template: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct TokensJson {
    bos_token: Option<Value>,
    eos_token: Option<Value>,
    unk_token: Option<Value>,
    pad_token: Option<Value>,
    mask_token: Option<Value>,
    chat_template: Option<ChatTemplateJson>,
}

/// A token's text, which stands alone or with the token's properties.
fn token_text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One template, or several with names, of which `default` is for chats.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChatTemplateJson {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Default, Deserialize)]
struct GenerationJson {
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMore>,
    pad_token_id: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

impl Tokenizer {
    /// Adds what the files beside the `tokenizer.json` say. Tokens that they name and the vocabulary does
    /// not have are passed over: such files often name more than there is.
    ///
    /// # Errors
    /// A file that is not the JSON it should be.
    pub fn with_config(mut self, files: &TokenizerConfig<'_>) -> Result<Self, TokenizerError> {
        let map: TokensJson = parse("special_tokens_map.json", files.special_tokens_map)?;
        let config: TokensJson = parse("tokenizer_config.json", files.tokenizer_config)?;
        let generation: GenerationJson = parse("generation_config.json", files.generation_config)?;
        let find = |pick: fn(&TokensJson) -> &Option<Value>| {
            let named = [&config, &map]
                .into_iter()
                .find_map(|json| token_text(pick(json).as_ref()?));
            named.and_then(|token| self.vocabulary.id(token))
        };
        let known = |id: &u32| self.vocabulary.token(*id).is_some();
        let bos = find(|json| &json.bos_token).or(generation.bos_token_id.filter(known));
        let eos = find(|json| &json.eos_token);
        let unk = find(|json| &json.unk_token);
        let pad = find(|json| &json.pad_token).or(generation.pad_token_id.filter(known));
        let mask = find(|json| &json.mask_token);
        let ends: Vec<u32> = match generation.eos_token_id {
            Some(OneOrMore::One(id)) => vec![id],
            Some(OneOrMore::More(ids)) => ids,
            None => Vec::new(),
        };
        let ends: Vec<u32> = ends.into_iter().filter(known).collect();

        let special = &mut self.special;
        special.bos = bos.or(special.bos);
        special.eos = eos.or(ends.first().copied()).or(special.eos);
        special.unk = unk.or(special.unk);
        special.pad = pad.or(special.pad);
        special.mask = mask.or(special.mask);
        for id in special.eos.into_iter().chain(ends) {
            special.add_end_of_generation(id);
        }
        let template = match config.chat_template {
            Some(ChatTemplateJson::One(template)) => Some(template),
            Some(ChatTemplateJson::Named(named)) => named
                .into_iter()
                .find(|entry| entry.name == "default")
                .map(|entry| entry.template),
            None => None,
        };
        self.chat_template = files
            .chat_template
            .map(str::to_owned)
            .or(template)
            .or(self.chat_template);
        Ok(self)
    }
}

fn parse<T: Default + serde::de::DeserializeOwned>(
    file: &'static str,
    bytes: Option<&[u8]>,
) -> Result<T, TokenizerError> {
    let Some(bytes) = bytes else {
        return Ok(T::default());
    };
    serde_json::from_slice(bytes).map_err(|error| TokenizerError::Json {
        file,
        reason: error.to_string(),
    })
}
