//! The operators of `com.microsoft`, ONNX Runtime's own ("Contrib Operators" in its documentation), one family a file.

mod activation;
mod attention;
mod block;
mod embedding;
mod grouped_query;
mod multi_head;
mod normalization;
mod product;
mod quantized;
mod rotary;

use super::one;
use crate::import::table::Entry;

pub(crate) const FAMILIES: &[&[Entry]] = &[
    activation::TABLE,
    block::TABLE,
    embedding::TABLE,
    grouped_query::TABLE,
    multi_head::TABLE,
    normalization::TABLE,
    product::TABLE,
    quantized::TABLE,
    rotary::TABLE,
];

/// Those that ONNX Runtime writes in the default domain too.
pub(crate) const IN_DEFAULT_DOMAIN: &[Entry] = normalization::IN_DEFAULT_DOMAIN;
