//! What users ask of a model: generate, chat, score, embed, or run its graph as it is; and what makes labels, boxes and
//! words of its numbers.

pub mod batch;
pub mod chat;
pub mod checkpoint;
pub mod context_policy;
pub mod ctc;
pub mod decoder;
pub mod detect;
pub mod encoder;
pub mod feedforward;
pub mod forward;
pub mod generate;
pub mod labels;
mod model;
pub mod pooling;
mod prompt;
mod random;
pub mod sampling;
pub mod score;
pub mod source;
pub mod stop;
pub mod text_stream;

pub use model::{Embedding, LoadError, Model, ModelFacts, TaskError};
pub use prompt::Prompt;
