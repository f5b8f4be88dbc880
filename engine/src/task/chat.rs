//! A conversation in OpenAI's shape.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    /// What newer clients call `system`; templates see `system`.
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The name that chat templates know.
    pub fn template_name(self) -> &'static str {
        match self {
            Self::System | Self::Developer => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message, `{"role": "user", "content": "…"}`. Content is a text or a list of text parts, which are
/// joined; `null` (an assistant that only calls tools) is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    #[serde(default, deserialize_with = "content")]
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
        }
    }
}

/// Why a list of messages could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("messages: {0}")]
pub struct MessagesError(String);

/// Reads a JSON list of messages.
///
/// # Errors
/// Not a list of messages, an unknown role, or a content part that is not text.
pub fn messages_from_json(json: &str) -> Result<Vec<Message>, MessagesError> {
    serde_json::from_str(json).map_err(|error| MessagesError(error.to_string()))
}

fn content<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "content is neither a text nor a list of parts")]
    enum Content {
        Text(String),
        Parts(Vec<Part>),
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "type")]
        kind: String,
        text: Option<String>,
    }
    let parts = match Option::<Content>::deserialize(deserializer)? {
        None => return Ok(String::new()),
        Some(Content::Text(text)) => return Ok(text),
        Some(Content::Parts(parts)) => parts,
    };
    parts
        .into_iter()
        .map(|part| match (part.kind.as_str(), part.text) {
            ("text", Some(text)) => Ok(text),
            (kind, _) => Err(serde::de::Error::custom(format!(
                "a content part of type {kind:?}: only text parts can be read"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_a_text_or_parts_or_nothing() {
        let json = r#"[{"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
            {"role":"assistant","content":null}, {"role":"assistant"}]"#;
        let messages = messages_from_json(json).unwrap();
        let contents: Vec<_> = messages.iter().map(|m| m.content.as_str()).collect();
        assert_eq!(contents, ["Be brief.", "ab", "", ""]);
        let again = serde_json::to_string(&messages).unwrap();
        assert_eq!(messages_from_json(&again).unwrap(), messages);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (json, says) in [
            (r#"[{"role":"wizard","content":"x"}]"#, "wizard"),
            (
                r#"[{"role":"user","content":[{"type":"image_url"}]}]"#,
                "image_url",
            ),
            (r#"[{"role":"user","content":7}]"#, "neither a text nor"),
            (r#"{"role":"user"}"#, "sequence"),
        ] {
            let error = messages_from_json(json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
