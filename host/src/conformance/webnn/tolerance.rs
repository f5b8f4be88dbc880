//! Whether an output is the expected one, by the Web Platform Tests' rule: within so many units in the last place of
//! its type or, where that is given, within an absolute difference.

use fewbit_engine::tensor::{DataType, Tensor};
use half::f16;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Tolerance {
    #[serde(default)]
    pub(super) ulp: u64,
    pub(super) atol: Option<f64>,
}

impl Tolerance {
    /// Why `got` is not `expected`. Types and shapes must be the same, and NaN is NaN.
    pub(super) fn difference(self, got: &Tensor, expected: &Tensor) -> Option<String> {
        if got.data_type() != expected.data_type() || got.shape() != expected.shape() {
            return Some(format!("{got:?} made, {expected:?} expected"));
        }
        let (a, b) = (places(got), places(expected));
        let (x, y) = (got.to_f64_vec(), expected.to_f64_vec());
        for at in 0..a.len() {
            let near = match (a[at], b[at]) {
                (None, None) => true,
                (Some(a), Some(b)) => a.abs_diff(b) <= u128::from(self.ulp),
                _ => false,
            };
            let close = self.atol.is_some_and(|most| (x[at] - y[at]).abs() <= most);
            if !near && !close {
                let (got, expected) = (x[at], y[at]);
                let apart = match (a[at], b[at]) {
                    (Some(a), Some(b)) => format!(", {} apart", a.abs_diff(b)),
                    _ => String::new(),
                };
                return Some(format!(
                    "element {at} is {got}, {expected} expected{apart}; {self:?} allowed"
                ));
            }
        }
        None
    }
}

/// Where each element stands in the order of all of its type, both zeros at 0; `None` for NaN.
fn places(tensor: &Tensor) -> Vec<Option<i128>> {
    let bytes = tensor.bytes().chunks_exact(tensor.data_type().bytes());
    let place: fn(&[u8]) -> Option<i128> = match tensor.data_type() {
        DataType::F32 => |b| {
            let bits = b.try_into().map(u32::from_le_bytes).unwrap_or_default();
            let size = i128::from(bits & 0x7fff_ffff);
            let nan = f32::from_bits(bits).is_nan();
            (!nan).then_some(if bits >> 31 == 1 { -size } else { size })
        },
        DataType::F16 => |b| {
            let bits = b.try_into().map(u16::from_le_bytes).unwrap_or_default();
            let size = i128::from(bits & 0x7fff);
            let nan = f16::from_bits(bits).is_nan();
            (!nan).then_some(if bits >> 15 == 1 { -size } else { size })
        },
        DataType::U64 | DataType::U32 | DataType::U16 | DataType::U8 => {
            |b| Some(b.iter().rev().fold(0, |n, &byte| n << 8 | i128::from(byte)))
        }
        _ => |b| {
            let (last, rest) = b.split_last()?;
            let high = i128::from(*last as i8);
            Some(
                rest.iter()
                    .rev()
                    .fold(high, |n, &byte| n << 8 | i128::from(byte)),
            )
        },
    };
    bytes.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_f32(&[values.len()], values).unwrap()
    }

    #[test]
    fn units_in_the_last_place_are_counted() {
        let next = |x: f32, by: i32| f32::from_bits((x.to_bits() as i32 + by) as u32);
        let within = |ulp, a: f32, b: f32| {
            let tolerance = Tolerance { ulp, atol: None };
            tolerance.difference(&floats(&[a]), &floats(&[b])).is_none()
        };
        assert!(within(0, 1.5, 1.5) && !within(0, 1.5, next(1.5, 1)));
        assert!(within(3, next(-2.0, 3), -2.0) && !within(3, next(-2.0, 4), -2.0));
        // Across 0, whose two signs are one place.
        assert!(within(0, 0.0, -0.0));
        assert!(within(2, f32::from_bits(1), -f32::from_bits(1)));
        assert!(!within(1, f32::from_bits(1), -f32::from_bits(1)));
        assert!(within(0, f32::NAN, f32::NAN) && !within(1 << 40, f32::NAN, 1.0));
        assert!(within(0, f32::INFINITY, f32::INFINITY) && !within(9, f32::INFINITY, 1.0));
    }

    #[test]
    fn an_absolute_difference_goes_too_where_it_is_given() {
        let tolerance = Tolerance {
            ulp: 0,
            atol: Some(0.5),
        };
        assert_eq!(tolerance.difference(&floats(&[1.5]), &floats(&[1.0])), None);
        assert!(
            tolerance
                .difference(&floats(&[1.6]), &floats(&[1.0]))
                .is_some()
        );
        assert!(
            tolerance
                .difference(&floats(&[1.0]), &floats(&[1.0; 2]))
                .is_some()
        );
    }

    #[test]
    fn integers_are_exact_in_all_their_bits() {
        let of = |value: i64| Tensor::from_i64(&[1], &[value]).unwrap();
        let exact = Tolerance::default();
        assert_eq!(exact.difference(&of(i64::MIN), &of(i64::MIN)), None);
        assert!(exact.difference(&of(i64::MAX), &of(i64::MAX - 1)).is_some());
        let bytes = |t, byte: u8| Tensor::from_bytes(t, &[1], &[byte]).unwrap();
        let off = Tolerance { ulp: 2, atol: None };
        let (a, b) = (bytes(DataType::I8, 255), bytes(DataType::I8, 1));
        assert_eq!(off.difference(&a, &b), None);
        let (a, b) = (bytes(DataType::U8, 255), bytes(DataType::U8, 1));
        assert!(off.difference(&a, &b).is_some());
    }
}
