//! Arguments as a page gives them, and Web IDL's conversions of them.

use std::collections::BTreeMap;

use crate::builder::Operand;
use crate::error::{Fault, refuse, rule};

/// A JavaScript value among the arguments of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    /// A `BigInt`; what is beyond 128 bits is given as the nearest that is not.
    BigInt(i128),
    Text(String),
    List(Vec<Value>),
    Operand(Operand),
    /// A dictionary.
    Object(BTreeMap<String, Value>),
}

/// An `MLNumber`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Float(f64),
    Integer(i128),
}

impl Number {
    pub(crate) fn is_greater(self, other: Number) -> bool {
        match (self, other) {
            (Number::Float(a), Number::Float(b)) => a > b,
            (Number::Integer(a), Number::Integer(b)) => a > b,
            (Number::Float(a), Number::Integer(b)) => a > b as f64,
            (Number::Integer(a), Number::Float(b)) => a as f64 > b,
        }
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::Undefined => "undefined",
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::BigInt(_) => "a BigInt",
            Value::Text(_) => "a string",
            Value::List(_) => "a sequence",
            Value::Operand(_) => "an MLOperand",
            Value::Object(_) => "an object",
        }
    }

    /// `ToNumber`, which throws for a `BigInt`.
    fn to_number(&self, name: &str) -> Result<f64, Fault> {
        match self {
            Value::Number(x) => Ok(*x),
            Value::Bool(x) => Ok(f64::from(u8::from(*x))),
            Value::Null => Ok(0.0),
            Value::Text(text) => Ok(text.trim().parse().unwrap_or(f64::NAN)),
            other => refuse(format!("{name}: {} is no number", other.kind())),
        }
    }

    /// `[EnforceRange] unsigned long`.
    pub(crate) fn unsigned_long(&self, name: &str) -> Result<usize, Fault> {
        let whole = self.enforced(name, 0.0, f64::from(u32::MAX))?;
        Ok(whole as u32 as usize)
    }

    /// `[EnforceRange] long`.
    pub(crate) fn long(&self, name: &str) -> Result<i64, Fault> {
        let whole = self.enforced(name, f64::from(i32::MIN), f64::from(i32::MAX))?;
        Ok(whole as i64)
    }

    fn enforced(&self, name: &str, least: f64, most: f64) -> Result<f64, Fault> {
        let whole = self.to_number(name)?.trunc();
        rule((least..=most).contains(&whole), || {
            format!("{name}: {whole} is not from {least} to {most}")
        })?;
        Ok(whole)
    }

    /// `double`.
    pub(crate) fn double(&self, name: &str) -> Result<f64, Fault> {
        let x = self.to_number(name)?;
        rule(x.is_finite(), || format!("{name}: {x} is not finite"))?;
        Ok(x)
    }

    /// `float`.
    pub(crate) fn float(&self, name: &str) -> Result<f32, Fault> {
        let x = self.double(name)? as f32;
        rule(x.is_finite(), || format!("{name}: {x} is not finite"))?;
        Ok(x)
    }

    /// `MLNumber`, a `BigInt` or an unrestricted `double`.
    pub(crate) fn ml_number(&self, name: &str) -> Result<Number, Fault> {
        match self {
            Value::BigInt(x) => Ok(Number::Integer(*x)),
            other => other.to_number(name).map(Number::Float),
        }
    }

    /// `boolean`.
    pub(crate) fn boolean(&self) -> bool {
        match self {
            Value::Undefined | Value::Null => false,
            Value::Bool(x) => *x,
            Value::Number(x) => *x != 0.0 && !x.is_nan(),
            Value::BigInt(x) => *x != 0,
            Value::Text(text) => !text.is_empty(),
            Value::List(_) | Value::Operand(_) | Value::Object(_) => true,
        }
    }

    /// An enumeration's value.
    pub(crate) fn one_of<T: Copy>(&self, name: &str, values: &[(&str, T)]) -> Result<T, Fault> {
        let found = match self {
            Value::Text(text) => values.iter().find(|(known, _)| known == text),
            _ => None,
        };
        match found {
            Some(&(_, value)) => Ok(value),
            None => refuse(format!("{name}: {self:?} is no value of the enumeration")),
        }
    }

    pub(crate) fn operand(&self, name: &str) -> Result<Operand, Fault> {
        match self {
            Value::Operand(operand) => Ok(*operand),
            other => refuse(format!("{name}: {} is no MLOperand", other.kind())),
        }
    }

    /// A sequence.
    pub(crate) fn list(&self, name: &str) -> Result<&[Value], Fault> {
        match self {
            Value::List(values) => Ok(values),
            other => refuse(format!("{name}: {} is no sequence", other.kind())),
        }
    }

    /// `sequence<[EnforceRange] unsigned long>`.
    pub(crate) fn unsigned_longs(&self, name: &str) -> Result<Vec<usize>, Fault> {
        let values = self.list(name)?.iter();
        values.map(|value| value.unsigned_long(name)).collect()
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Value {
        Value::Number(x)
    }
}

impl From<usize> for Value {
    fn from(x: usize) -> Value {
        Value::Number(x as f64)
    }
}

impl From<bool> for Value {
    fn from(x: bool) -> Value {
        Value::Bool(x)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<Operand> for Value {
    fn from(operand: Operand) -> Value {
        Value::Operand(operand)
    }
}

impl From<&[usize]> for Value {
    fn from(values: &[usize]) -> Value {
        Value::List(values.iter().map(|&x| x.into()).collect())
    }
}

impl<const N: usize> From<[usize; N]> for Value {
    fn from(values: [usize; N]) -> Value {
        values.as_slice().into()
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Value {
    fn from(members: [(&str, Value); N]) -> Value {
        let members = members.into_iter();
        Value::Object(
            members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_enforced_into_their_range() {
        let of = |x: f64| Value::Number(x).unsigned_long("x").ok();
        assert_eq!(of(3.9), Some(3));
        assert_eq!(of(-0.5), Some(0));
        assert_eq!(of(4_294_967_295.0), Some(u32::MAX as usize));
        for x in [-1.0, 4_294_967_296.0, f64::NAN, f64::INFINITY] {
            assert_eq!(of(x), None);
        }
        assert_eq!(Value::from("7").unsigned_long("x").ok(), Some(7));
        assert!(Value::BigInt(7).unsigned_long("x").is_err());
        assert!(Value::Number(2_147_483_648.0).long("x").is_err());
    }

    #[test]
    fn doubles_are_finite_and_ml_numbers_need_not_be() {
        assert!(Value::Number(f64::INFINITY).double("x").is_err());
        assert!(Value::Number(1e300).float("x").is_err());
        let infinite = Value::Number(f64::INFINITY).ml_number("x");
        assert_eq!(infinite.unwrap(), Number::Float(f64::INFINITY));
        assert_eq!(Value::BigInt(5).ml_number("x").unwrap(), Number::Integer(5));
    }
}
