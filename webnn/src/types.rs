//! `MLOperandDataType` and `MLOperandDescriptor`.

use std::fmt;

use fewbit_engine::tensor;
use half::f16;

use crate::error::{Fault, refuse, rule};
use crate::value::Number;

/// The data types of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    Float32,
    Float16,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Int8,
    Uint8,
}

impl DataType {
    pub const ALL: [DataType; 8] = [
        DataType::Float32,
        DataType::Float16,
        DataType::Int32,
        DataType::Uint32,
        DataType::Int64,
        DataType::Uint64,
        DataType::Int8,
        DataType::Uint8,
    ];

    pub(crate) const FLOATS: &[DataType] = &[DataType::Float32, DataType::Float16];

    /// The enumeration's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::Float32 => "float32",
            DataType::Float16 => "float16",
            DataType::Int32 => "int32",
            DataType::Uint32 => "uint32",
            DataType::Int64 => "int64",
            DataType::Uint64 => "uint64",
            DataType::Int8 => "int8",
            DataType::Uint8 => "uint8",
        }
    }

    /// The type that [`DataType::name`] calls so.
    pub fn named(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The engine's type.
    pub const fn engine(self) -> tensor::DataType {
        match self {
            DataType::Float32 => tensor::DataType::F32,
            DataType::Float16 => tensor::DataType::F16,
            DataType::Int32 => tensor::DataType::I32,
            DataType::Uint32 => tensor::DataType::U32,
            DataType::Int64 => tensor::DataType::I64,
            DataType::Uint64 => tensor::DataType::U64,
            DataType::Int8 => tensor::DataType::I8,
            DataType::Uint8 => tensor::DataType::U8,
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        self.engine().bytes()
    }

    pub const fn is_float(self) -> bool {
        matches!(self, DataType::Float32 | DataType::Float16)
    }

    /// The least and the greatest of an integer type.
    pub(crate) const fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            DataType::Int32 => (i32::MIN as i128, i32::MAX as i128),
            DataType::Uint32 => (0, u32::MAX as i128),
            DataType::Int64 => (i64::MIN as i128, i64::MAX as i128),
            DataType::Uint64 => (0, u64::MAX as i128),
            DataType::Int8 => (i8::MIN as i128, i8::MAX as i128),
            DataType::Uint8 => (0, u8::MAX as i128),
            DataType::Float32 | DataType::Float16 => return None,
        })
    }

    /// The specification's "cast": the nearest number of the type, ties to even; integers into the range, NaN to 0.
    pub(crate) fn cast(self, number: Number) -> Number {
        match (self.range(), number) {
            (None, Number::Float(x)) => Number::Float(self.nearest(x)),
            (None, Number::Integer(x)) => Number::Float(self.nearest(x as f64)),
            (Some((least, most)), Number::Integer(x)) => Number::Integer(x.clamp(least, most)),
            // `as` takes NaN to 0 and saturates.
            (Some((least, most)), Number::Float(x)) => {
                Number::Integer((x.round_ties_even() as i128).clamp(least, most))
            }
        }
    }

    fn nearest(self, x: f64) -> f64 {
        match self {
            DataType::Float16 => f16::from_f64(x).to_f64(),
            _ => f64::from(x as f32),
        }
    }

    /// The bytes of a number that [`DataType::cast`] made.
    pub(crate) fn encode(self, number: Number) -> Vec<u8> {
        match (self, number) {
            (DataType::Float32, Number::Float(x)) => (x as f32).to_le_bytes().to_vec(),
            (DataType::Float16, Number::Float(x)) => f16::from_f64(x).to_le_bytes().to_vec(),
            (_, Number::Integer(x)) if !self.is_float() => x.to_le_bytes()[..self.bytes()].to_vec(),
            (_, other) => self.encode(self.cast(other)),
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An operand's type and shape. Sizes are at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub data_type: DataType,
    pub shape: Vec<usize>,
}

/// More dimensions than an operand has here; the specification leaves it to us. A kernel of the GPU indexes so many.
pub(crate) const MOST_RANK: usize = 8;

/// The largest valid dimension, which is the largest `long`.
pub(crate) const MOST_SIZE: usize = i32::MAX as usize;

/// A "valid tensor count" is at most that.
pub(crate) const MOST_TENSORS: usize = 8192;

impl Descriptor {
    pub fn new(data_type: DataType, shape: &[usize]) -> Descriptor {
        Descriptor {
            data_type,
            shape: shape.to_vec(),
        }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// How many elements there are. (Every operand was checked not to have too many.)
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// How many bytes the elements take.
    pub fn byte_length(&self) -> usize {
        self.elements().saturating_mul(self.data_type.bytes())
    }

    /// The specification's "check dimensions".
    pub(crate) fn check(&self) -> Result<(), Fault> {
        for &size in &self.shape {
            valid_dimension(size as u64)?;
        }
        rule(self.rank() <= MOST_RANK, || {
            format!("a rank of {} is more than {MOST_RANK}", self.rank())
        })?;
        let elements = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match elements {
            Some(elements) if elements <= MOST_SIZE => Ok(()),
            _ => refuse(format!(
                "the number of elements of {:?} is no valid dimension",
                self.shape
            )),
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.data_type, self.shape)
    }
}

/// The specification's "valid dimension": more than zero and in the range of `long`.
pub(crate) fn valid_dimension(size: u64) -> Result<usize, Fault> {
    match usize::try_from(size) {
        Ok(size) if (1..=MOST_SIZE).contains(&size) => Ok(size),
        _ => refuse(format!("{size} is no valid dimension")),
    }
}

/// The specification's "bidirectionally broadcast".
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(axis) => shape[axis],
        None => 1,
    };
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        shape.push(match (at(a, axis), at(b, axis)) {
            (a, b) if a == b || b == 1 => a,
            (1, b) => b,
            _ => return refuse(format!("{a:?} and {b:?} cannot be broadcast together")),
        });
    }
    Ok(shape)
}

/// The specification's "unidirectionally broadcast": whether `from` can be read as `to`.
pub(crate) fn broadcasts_to(from: &[usize], to: &[usize]) -> Result<(), Fault> {
    let fits = from.len() <= to.len()
        && (from.iter().rev().zip(to.iter().rev())).all(|(&from, &to)| from == to || from == 1);
    rule(fits, || format!("{from:?} cannot be broadcast to {to:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cast_as_the_specification_has_it() {
        let int = |t: DataType, x: f64| t.cast(Number::Float(x));
        assert_eq!(int(DataType::Int8, 2.5), Number::Integer(2));
        assert_eq!(int(DataType::Int8, 3.5), Number::Integer(4));
        assert_eq!(int(DataType::Uint8, -1.0), Number::Integer(0));
        assert_eq!(int(DataType::Uint8, f64::INFINITY), Number::Integer(255));
        assert_eq!(int(DataType::Int32, f64::NAN), Number::Integer(0));
        assert_eq!(
            DataType::Uint64.cast(Number::Integer(i128::MAX)),
            Number::Integer(u64::MAX.into())
        );
        assert_eq!(int(DataType::Float16, 65519.9), Number::Float(65504.0));
        assert_eq!(
            int(DataType::Float16, 65520.0),
            Number::Float(f64::INFINITY)
        );
        assert_eq!(DataType::Int8.encode(Number::Integer(-2)), [254]);
        assert_eq!(DataType::Float16.encode(Number::Integer(1)), [0, 0x3c]);
    }

    #[test]
    fn dimensions_are_checked() {
        let of = |shape: &[usize]| Descriptor::new(DataType::Float32, shape).check();
        assert!(of(&[]).is_ok());
        assert!(of(&[2, 0]).is_err());
        assert!(of(&[MOST_SIZE]).is_ok());
        assert!(of(&[MOST_SIZE + 1]).is_err());
        assert!(of(&[1 << 16, 1 << 16]).is_err());
        assert!(of(&[1; 9]).is_err());
    }

    #[test]
    fn shapes_broadcast_both_ways_or_one() {
        assert_eq!(broadcast(&[2, 1], &[3]).unwrap(), [2, 3]);
        assert_eq!(broadcast(&[], &[3]).unwrap(), [3]);
        assert!(broadcast(&[2], &[3]).is_err());
        assert!(broadcasts_to(&[1, 3], &[2, 3]).is_ok());
        assert!(broadcasts_to(&[2, 3], &[1, 3]).is_err());
        assert!(broadcasts_to(&[1, 1], &[1]).is_err());
    }
}
