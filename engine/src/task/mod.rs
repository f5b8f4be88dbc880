//! What users ask of a model: generate, chat, score, embed, answer, or run its graph as it is; and what makes labels,
//! boxes and words of its numbers.

pub mod answer;
pub mod batch;
mod can;
pub mod chat;
pub mod checkpoint;
pub mod context_policy;
pub mod ctc;
pub mod decoder;
pub mod detect;
mod embed;
pub mod encoder;
pub mod feedforward;
pub mod forward;
pub mod generate;
pub mod handover;
mod instruct;
pub mod labels;
mod load;
mod model;
pub mod pooling;
mod prompt;
mod random;
pub mod sampling;
pub mod score;
pub mod source;
pub mod stop;
pub mod text_stream;
pub mod transcribe;

pub use can::Task;
pub use embed::Embedding;
pub use instruct::{Instructed, Instruction};
pub use load::ModelFacts;
pub use model::{LoadError, Model, TaskError};
pub use prompt::Prompt;
