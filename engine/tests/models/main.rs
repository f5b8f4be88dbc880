//! Whole models on every back end, held against what `transformers` computes (`tests/fixtures/reference`),
//! and against real models where `FEWBIT_TEST_MODELS` names a folder of them.

mod answering;
mod choosy;
mod decoding;
mod devices;
mod files;
mod parity;
mod references;
mod variants;
