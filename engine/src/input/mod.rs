//! What stands before a model: tokenizers and chat templates, pictures and sound.

pub mod audio;
pub mod chat_template;
mod fields;
pub mod image;
pub mod preprocessor;
pub mod tokenizer;

pub use fields::ConfigError;
