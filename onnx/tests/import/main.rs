//! Files made by hand, imported and computed by the engine's scalar reference; files that are wrong; files that the
//! exporter writes.

mod cases;
mod control;
mod decoders;
mod encoder_decoders;
mod files;
mod growing;
mod hostile;
mod microsoft;
mod operators;
mod refusals;
mod sessions;
mod symbols;
mod weights;
