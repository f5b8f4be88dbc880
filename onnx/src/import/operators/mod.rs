//! The operators, one family a file, each with its part of the table.

mod activation;
mod attention;
mod constant;
mod conversion;
mod convolution;
mod elementwise;
mod indexing;
mod linear_attention;
mod loss;
pub(crate) mod microsoft;
mod normalization;
mod optional;
mod padding;
mod pooling;
mod product;
mod quantization;
mod recurrent;
mod reduction;
mod regions;
mod resize;
mod sampling;
mod scatter;
mod selection;
mod shape;
mod signal;
mod slicing;
mod text;
mod window;

use super::context::{Made, Value};
use super::error::Refusal;
use super::table::Entry;

pub(crate) const FAMILIES: &[&[Entry]] = &[
    activation::TABLE,
    attention::TABLE,
    constant::TABLE,
    conversion::TABLE,
    super::control::TABLE,
    convolution::TABLE,
    elementwise::TABLE,
    indexing::TABLE,
    linear_attention::TABLE,
    loss::TABLE,
    normalization::TABLE,
    optional::TABLE,
    padding::TABLE,
    pooling::TABLE,
    product::TABLE,
    quantization::TABLE,
    recurrent::TABLE,
    reduction::TABLE,
    regions::TABLE,
    resize::TABLE,
    sampling::TABLE,
    scatter::TABLE,
    selection::TABLE,
    shape::TABLE,
    signal::TABLE,
    slicing::TABLE,
    text::TABLE,
];

/// The outputs of an operator that has one.
fn one(made: Made) -> Result<Vec<Value>, Refusal> {
    Ok(vec![made?])
}
