//! The operators, one family a file, each with its part of the table.

mod activation;
mod attention;
mod constant;
mod conversion;
mod convolution;
mod elementwise;
mod indexing;
mod loss;
pub(crate) mod microsoft;
mod normalization;
mod pooling;
mod product;
mod quantization;
mod reduction;
mod resize;
mod shape;
mod window;

use super::context::{Made, Value};
use super::error::Refusal;
use super::table::Entry;

pub(crate) const FAMILIES: &[&[Entry]] = &[
    activation::TABLE,
    attention::TABLE,
    constant::TABLE,
    conversion::TABLE,
    convolution::TABLE,
    elementwise::TABLE,
    indexing::TABLE,
    loss::TABLE,
    normalization::TABLE,
    pooling::TABLE,
    product::TABLE,
    quantization::TABLE,
    reduction::TABLE,
    resize::TABLE,
    shape::TABLE,
];

/// The outputs of an operator that has one.
fn one(made: Made) -> Result<Vec<Value>, Refusal> {
    Ok(vec![made?])
}
