//! Whole models exported with their symbols, held against what `transformers` computes with the same checkpoints: ONNX's own
//! checker passes each file, ONNX Runtime computes the reference's outputs, and the importer makes a graph of the file that
//! gives them too. Each says why where its library is not here; `cargo xtask setup` puts both in place.

mod checker;
mod files;
mod models;
mod quantized;
mod reference;
mod reimport;
mod run;
