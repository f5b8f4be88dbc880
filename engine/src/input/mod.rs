//! What stands before a model: tokenizers and chat templates.

pub mod chat_template;
pub mod tokenizer;
