//! The types an element can have.

use std::fmt;

use super::BlockFormat;

/// A plain (not block-quantized) element type, little-endian in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// From −8 to 7, one a byte: its lower four bits.
    I4,
    /// From 0 to 15, one a byte: its lower four bits.
    U4,
}

impl DataType {
    pub const ALL: [DataType; 15] = [
        DataType::F64,
        DataType::F32,
        DataType::F16,
        DataType::Bf16,
        DataType::I64,
        DataType::I32,
        DataType::I16,
        DataType::I8,
        DataType::U64,
        DataType::U32,
        DataType::U16,
        DataType::U8,
        DataType::Bool,
        DataType::I4,
        DataType::U4,
    ];

    /// The type that [`DataType::name`] calls `name`.
    pub fn named(name: &str) -> Option<DataType> {
        DataType::ALL
            .into_iter()
            .find(|data_type| data_type.name() == name)
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            DataType::F64 | DataType::I64 | DataType::U64 => 8,
            DataType::F32 | DataType::I32 | DataType::U32 => 4,
            DataType::F16 | DataType::Bf16 | DataType::I16 | DataType::U16 => 2,
            DataType::I8 | DataType::U8 | DataType::I4 | DataType::U4 | DataType::Bool => 1,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(
            self,
            DataType::F64 | DataType::F32 | DataType::F16 | DataType::Bf16
        )
    }

    /// The name used in print, as safetensors and WebNN users know it.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::F64 => "f64",
            DataType::F32 => "f32",
            DataType::F16 => "f16",
            DataType::Bf16 => "bf16",
            DataType::I64 => "i64",
            DataType::I32 => "i32",
            DataType::I16 => "i16",
            DataType::I8 => "i8",
            DataType::U64 => "u64",
            DataType::U32 => "u32",
            DataType::U16 => "u16",
            DataType::U8 => "u8",
            DataType::I4 => "i4",
            DataType::U4 => "u4",
            DataType::Bool => "bool",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a stored tensor is made of: plain elements, or blocks of quantized ones along its last dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    Plain(DataType),
    Block(BlockFormat),
}

impl ElementType {
    pub const F32: ElementType = ElementType::Plain(DataType::F32);
    pub const I32: ElementType = ElementType::Plain(DataType::I32);

    /// Bytes of a tensor of `shape`; `None` if that overflows or a row is no whole number of blocks.
    pub fn byte_len(self, shape: &[usize]) -> Option<usize> {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        match self {
            ElementType::Plain(data_type) => elements.checked_mul(data_type.bytes()),
            ElementType::Block(format) => {
                let row = shape.last().copied().unwrap_or(1);
                if row % format.elements() != 0 {
                    return None;
                }
                (elements / format.elements()).checked_mul(format.bytes())
            }
        }
    }

    /// Bits a weight takes, scales and offsets counted.
    pub fn bits_per_weight(self) -> f64 {
        match self {
            ElementType::Plain(data_type) => 8.0 * data_type.bytes() as f64,
            ElementType::Block(format) => format.bits_per_weight(),
        }
    }

    pub fn plain(self) -> Option<DataType> {
        match self {
            ElementType::Plain(data_type) => Some(data_type),
            ElementType::Block(_) => None,
        }
    }

    pub fn block(self) -> Option<BlockFormat> {
        match self {
            ElementType::Plain(_) => None,
            ElementType::Block(format) => Some(format),
        }
    }
}

impl From<DataType> for ElementType {
    fn from(data_type: DataType) -> Self {
        ElementType::Plain(data_type)
    }
}

impl From<BlockFormat> for ElementType {
    fn from(format: BlockFormat) -> Self {
        ElementType::Block(format)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementType::Plain(data_type) => data_type.fmt(f),
            ElementType::Block(format) => format.fmt(f),
        }
    }
}
