//! What users ask of a model: generate, chat, score, embed, or run its graph as it is.

pub mod checkpoint;
pub mod decoder;
