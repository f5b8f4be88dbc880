//! ggml's numbers for tensor types (`enum ggml_type`).

use crate::format::error::Fault;
use crate::tensor::{BlockFormat, DataType, ElementType};

/// The element type of a number.
///
/// # Errors
/// The fault tells numbers of formats that ggml has and we have not from numbers that ggml has not.
pub(super) fn element_type(number: u32) -> Result<ElementType, Fault> {
    let block = ElementType::Block;
    let plain = ElementType::Plain;
    Ok(match number {
        0 => plain(DataType::F32),
        1 => plain(DataType::F16),
        2 => block(BlockFormat::Q4_0),
        3 => block(BlockFormat::Q4_1),
        6 => block(BlockFormat::Q5_0),
        7 => block(BlockFormat::Q5_1),
        8 => block(BlockFormat::Q8_0),
        10 => block(BlockFormat::Q2K),
        11 => block(BlockFormat::Q3K),
        12 => block(BlockFormat::Q4K),
        13 => block(BlockFormat::Q5K),
        14 => block(BlockFormat::Q6K),
        24 => plain(DataType::I8),
        25 => plain(DataType::I16),
        26 => plain(DataType::I32),
        27 => plain(DataType::I64),
        28 => plain(DataType::F64),
        30 => plain(DataType::Bf16),
        _ => {
            return Err(match foreign_name(number) {
                Some(name) => Fault::UnsupportedTensorType { number, name },
                None => Fault::UnknownTensorType { number },
            });
        }
    })
}

/// The names of types that ggml has, or had, and the engine has not.
fn foreign_name(number: u32) -> Option<&'static str> {
    Some(match number {
        4 => "q4_2, removed from ggml",
        5 => "q4_3, removed from ggml",
        9 => "q8_1",
        15 => "q8_k",
        16 => "iq2_xxs",
        17 => "iq2_xs",
        18 => "iq3_xxs",
        19 => "iq1_s",
        20 => "iq4_nl",
        21 => "iq3_s",
        22 => "iq2_s",
        23 => "iq4_xs",
        29 => "iq1_m",
        31 => "q4_0_4_4, removed from ggml",
        32 => "q4_0_4_8, removed from ggml",
        33 => "q4_0_8_8, removed from ggml",
        34 => "tq1_0",
        35 => "tq2_0",
        36 => "iq4_nl_4_4, removed from ggml",
        37 => "iq4_nl_4_8, removed from ggml",
        38 => "iq4_nl_8_8, removed from ggml",
        39 => "mxfp4",
        _ => return None,
    })
}
