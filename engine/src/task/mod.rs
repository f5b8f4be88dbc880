//! What users ask of a model: generate, chat, score, embed, or run its graph as it is.

pub mod chat;
pub mod checkpoint;
pub mod decoder;
mod random;
pub mod sampling;
pub mod stop;
pub mod text_stream;
