//! Element-wise arithmetic over pairs of words, which broadcasts as that over elements: the words are the last
//! dimension.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, Bitwise, Compare, Extension, Logical, Unary};
use fewbit_engine::tensor::DataType;

use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond};
use crate::value::Number;

const HIGH_BIT: i128 = 1 << 31;

impl Emit {
    pub(super) fn word(&mut self, word: u32) -> Made {
        self.constant(DataType::U32, &[], &word.to_le_bytes())
    }

    fn long(&mut self, value: u64) -> Made {
        self.constant(DataType::U32, &[2], &value.to_le_bytes())
    }

    /// The lower and the higher words.
    pub(super) fn words(&mut self, x: ValueId) -> Result<[ValueId; 2], Fault> {
        let shape = self.shape(x);
        let last = shape.len() - 1;
        let mut words = [x; 2];
        for (at, word) in words.iter_mut().enumerate() {
            let part = self.part(x, last, at, 1)?;
            *word = self.reshape(part, &shape[..last])?;
        }
        Ok(words)
    }

    /// Pairs of lower and higher words of one shape.
    pub(super) fn pair(&mut self, [low, high]: [ValueId; 2]) -> Made {
        let mut shape = self.shape(low);
        let last = shape.len();
        shape.push(1);
        let low = self.reshape(low, &shape)?;
        let high = self.reshape(high, &shape)?;
        self.concat(&[low, high], last)
    }

    /// 1 where a condition holds, else 0, as words.
    fn bit(&mut self, condition: ValueId) -> Made {
        self.cast(condition, DataType::U32)
    }

    pub(super) fn long_add(&mut self, a: ValueId, b: ValueId) -> Made {
        let ([a, a_high], [b, b_high]) = (self.words(a)?, self.words(b)?);
        let low = self.add(a, b)?;
        let carry = self.compare(Compare::Lesser, low, a)?;
        let carry = self.bit(carry)?;
        let high = self.add(a_high, b_high)?;
        let high = self.add(high, carry)?;
        self.pair([low, high])
    }

    pub(super) fn long_sub(&mut self, a: ValueId, b: ValueId) -> Made {
        let ([a, a_high], [b, b_high]) = (self.words(a)?, self.words(b)?);
        let low = self.sub(a, b)?;
        let borrow = self.compare(Compare::Lesser, a, b)?;
        let borrow = self.bit(borrow)?;
        let high = self.sub(a_high, b_high)?;
        let high = self.sub(high, borrow)?;
        self.pair([low, high])
    }

    /// The lower and the higher 16 bits of words.
    pub(super) fn halves(&mut self, x: ValueId) -> Result<[ValueId; 2], Fault> {
        let mask = self.word(0xffff)?;
        let and = Op::Extension(Extension::Bitwise(Bitwise::And));
        let low = self.op(and, &[x, mask])?;
        let base = self.word(1 << 16)?;
        let high = self.binary(Binary::Div, x, base)?;
        Ok([low, high])
    }

    /// The product of the lower words by their halves, and of each lower word with the other's higher one.
    pub(super) fn long_mul(&mut self, a: ValueId, b: ValueId) -> Made {
        let ([a, a_high], [b, b_high]) = (self.words(a)?, self.words(b)?);
        let low = self.mul(a, b)?;
        let ([a0, a1], [b0, b1]) = (self.halves(a)?, self.halves(b)?);
        let lowest = self.mul(a0, b0)?;
        let (left, right) = (self.mul(a0, b1)?, self.mul(a1, b0)?);
        let highest = self.mul(a1, b1)?;
        let [_, lowest] = self.halves(lowest)?;
        let ([left, left_high], [right, right_high]) = (self.halves(left)?, self.halves(right)?);
        let middle = self.add(lowest, left)?;
        let middle = self.add(middle, right)?;
        let [_, carry] = self.halves(middle)?;
        let mut high = self.add(highest, carry)?;
        high = self.add(high, left_high)?;
        high = self.add(high, right_high)?;
        for (low, other) in [(a, b_high), (b, a_high)] {
            let part = self.mul(low, other)?;
            high = self.add(high, part)?;
        }
        self.pair([low, high])
    }

    /// Words in the order of signed ones.
    fn biased(&mut self, high: ValueId, signed: bool) -> Made {
        match signed {
            true => {
                let bias = self.number_like(high, Number::Integer(HIGH_BIT))?;
                self.add(high, bias)
            }
            false => Ok(high),
        }
    }

    pub(super) fn long_less(&mut self, a: ValueId, b: ValueId, signed: bool) -> Made {
        let ([a, a_high], [b, b_high]) = (self.words(a)?, self.words(b)?);
        let (a_high, b_high) = (self.biased(a_high, signed)?, self.biased(b_high, signed)?);
        let above = self.compare(Compare::Lesser, a_high, b_high)?;
        let same = self.compare(Compare::Equal, a_high, b_high)?;
        let below = self.compare(Compare::Lesser, a, b)?;
        let below = self.logical(Logical::And, same, below)?;
        self.logical(Logical::Or, above, below)
    }

    fn long_equal(&mut self, a: ValueId, b: ValueId) -> Made {
        let ([a, a_high], [b, b_high]) = (self.words(a)?, self.words(b)?);
        let low = self.compare(Compare::Equal, a, b)?;
        let high = self.compare(Compare::Equal, a_high, b_high)?;
        self.logical(Logical::And, low, high)
    }

    pub(super) fn long_compare(
        &mut self,
        op: Compare,
        a: ValueId,
        b: ValueId,
        signed: bool,
    ) -> Made {
        let (holds, turned) = match op {
            Compare::Equal => (self.long_equal(a, b)?, false),
            Compare::NotEqual => (self.long_equal(a, b)?, true),
            Compare::Lesser => (self.long_less(a, b, signed)?, false),
            Compare::Greater => (self.long_less(b, a, signed)?, false),
            Compare::GreaterOrEqual => (self.long_less(a, b, signed)?, true),
            Compare::LesserOrEqual => (self.long_less(b, a, signed)?, true),
        };
        match turned {
            true => self.compare_with(Compare::Equal, holds, 0.0),
            false => Ok(holds),
        }
    }

    pub(super) fn long_select(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Made {
        let mut shape = self.shape(condition);
        shape.push(1);
        let condition = self.reshape(condition, &shape)?;
        self.select(condition, a, b)
    }

    pub(super) fn long_neg(&mut self, x: ValueId) -> Made {
        let zero = self.long(0)?;
        self.long_sub(zero, x)
    }

    fn long_negative(&mut self, x: ValueId) -> Made {
        let [_, high] = self.words(x)?;
        let bit = self.number_like(high, Number::Integer(HIGH_BIT))?;
        self.compare(Compare::GreaterOrEqual, high, bit)
    }

    pub(super) fn long_abs(&mut self, x: ValueId) -> Made {
        let (negative, turned) = (self.long_negative(x)?, self.long_neg(x)?);
        self.long_select(negative, turned, x)
    }

    pub(super) fn long_relu(&mut self, x: ValueId) -> Made {
        let (negative, zero) = (self.long_negative(x)?, self.long(0)?);
        self.long_select(negative, zero, x)
    }

    /// Any type from or to a 64-bit one.
    pub(super) fn long_cast(&mut self, x: ValueId, from: DataType, to: DataType) -> Made {
        let long = |t| matches!(t, DataType::I64 | DataType::U64);
        match (long(from), long(to)) {
            (true, true) => Ok(x),
            (true, false) if to.is_float() => self.long_to_float(x, from == DataType::I64, to),
            (true, false) => {
                let [low, _] = self.words(x)?;
                self.cast(low, to)
            }
            _ if from.is_float() => self.float_to_long(x, to == DataType::I64),
            _ if matches!(from, DataType::I32 | DataType::I8) => {
                let low = self.cast(x, DataType::I32)?;
                let negative = self.compare_with(Compare::Lesser, low, 0.0)?;
                let (ones, zero) = (self.word(u32::MAX)?, self.word(0)?);
                let high = self.select(negative, ones, zero)?;
                let low = self.cast(low, DataType::U32)?;
                self.pair([low, high])
            }
            _ if matches!(from, DataType::U32 | DataType::U8) => {
                let low = self.cast(x, DataType::U32)?;
                let zero = self.word(0)?;
                let shape = self.shape(low);
                let high = self.expand(zero, &shape)?;
                self.pair([low, high])
            }
            _ => beyond(format!("a cast from {from}")),
        }
    }

    /// The nearest float, or in a tie of what f32 has lost before the one beside it.
    fn long_to_float(&mut self, x: ValueId, signed: bool, to: DataType) -> Made {
        let size = if signed { self.long_abs(x)? } else { x };
        let [low, high] = self.words(size)?;
        let (low, high) = (
            self.cast(low, DataType::F32)?,
            self.cast(high, DataType::F32)?,
        );
        let high = self.with(Binary::Mul, high, 2f64.powi(32))?;
        let mut sum = self.add(high, low)?;
        if signed {
            let negative = self.long_negative(x)?;
            let turned = self.unary(Unary::Neg, sum)?;
            sum = self.select(negative, turned, sum)?;
        }
        self.cast(sum, to)
    }

    /// Towards zero and into the range; NaN to 0.
    fn float_to_long(&mut self, x: ValueId, signed: bool) -> Made {
        let x = self.cast(x, DataType::F32)?;
        let number = self.compare(Compare::Equal, x, x)?;
        let zero = self.float_like(x, 0.0)?;
        let x = self.select(number, x, zero)?;
        let negative = self.compare(Compare::Lesser, x, zero)?;
        let size = self.unary(Unary::Abs, x)?;
        let size = self.unary(Unary::Floor, size)?;
        let bits = if signed { 63 } else { 64 };
        let beyond = self.compare_with(Compare::GreaterOrEqual, size, 2f64.powi(bits))?;
        let size = self.select(beyond, zero, size)?;
        // Powers of two take no digits away.
        let high = self.with(Binary::Mul, size, 2f64.powi(-32))?;
        let high = self.unary(Unary::Floor, high)?;
        let less = self.with(Binary::Mul, high, 2f64.powi(32))?;
        let low = self.sub(size, less)?;
        let words = [
            self.cast(low, DataType::U32)?,
            self.cast(high, DataType::U32)?,
        ];
        let y = self.pair(words)?;
        let (least, most) = match signed {
            true => (i64::MIN as u64, i64::MAX as u64),
            false => (0, u64::MAX),
        };
        let (least, most) = (self.long(least)?, self.long(most)?);
        let y = self.long_select(beyond, most, y)?;
        let below = match signed {
            true => {
                let turned = self.long_neg(y)?;
                self.long_select(beyond, least, turned)?
            }
            false => least,
        };
        self.long_select(negative, below, y)
    }
}
