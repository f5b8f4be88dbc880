//! Whether an output is the expected one.

use fewbit_engine::tensor::Tensor;

/// Numbers agree where `|got − expected| ≤ absolute + relative · |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerance {
    pub(super) relative: f64,
    pub(super) absolute: f64,
}

impl Default for Tolerance {
    /// Those of ONNX's own runner.
    fn default() -> Tolerance {
        Tolerance {
            relative: 1e-3,
            absolute: 1e-7,
        }
    }
}

impl Tolerance {
    /// Of a file of lines `rtol NUMBER` and `atol NUMBER`.
    pub(super) fn parse(text: &str) -> Result<Tolerance, String> {
        let mut tolerance = Tolerance::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let (name, number) = (words.next(), words.next());
            let number = number.and_then(|n| n.parse::<f64>().ok());
            match (name, number.filter(|n| *n >= 0.0)) {
                (Some("rtol"), Some(number)) => tolerance.relative = number,
                (Some("atol"), Some(number)) => tolerance.absolute = number,
                _ => return Err(format!("tolerance.txt: {line:?}")),
            }
        }
        Ok(tolerance)
    }

    /// Why `got` is not `expected`; types and shapes must be the same, integers too, and NaN is NaN.
    pub(super) fn difference(self, got: &Tensor, expected: &Tensor) -> Option<String> {
        if got.data_type() != expected.data_type() || got.shape() != expected.shape() {
            return Some(format!("{got:?} made, {expected:?} expected"));
        }
        if !got.data_type().is_float() {
            let width = got.data_type().bytes();
            let pairs = got
                .bytes()
                .chunks(width)
                .zip(expected.bytes().chunks(width));
            let at = pairs.enumerate().find(|(_, (a, b))| a != b)?.0;
            let (a, b) = (got.to_f64_vec()[at], expected.to_f64_vec()[at]);
            return Some(format!("element {at} is {a}, {b} expected"));
        }
        let (got, expected) = (got.to_f64_vec(), expected.to_f64_vec());
        let mut pairs = got.iter().zip(&expected).enumerate();
        let (at, (a, b)) = pairs.find(|(_, (a, b))| {
            let off = (**a - **b).abs();
            let within = off.is_finite() && off <= self.absolute + self.relative * b.abs();
            !within && a != b && !(a.is_nan() && b.is_nan())
        })?;
        Some(format!("element {at} is {a}, {b} expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_read_and_held() {
        let tolerance = Tolerance::parse("rtol 0.1\natol 0.5\n").unwrap();
        assert_eq!((tolerance.relative, tolerance.absolute), (0.1, 0.5));
        assert!(Tolerance::parse("rtol some").is_err());
        let of = |values: &[f32]| Tensor::from_f32(&[values.len()], values).unwrap();
        let differs = |a: &[f32], b: &[f32]| tolerance.difference(&of(a), &of(b));
        assert_eq!(differs(&[1.0, f32::NAN], &[1.5, f32::NAN]), None);
        assert_eq!(differs(&[f32::INFINITY], &[f32::INFINITY]), None);
        assert!(differs(&[f32::INFINITY], &[1.0]).is_some());
        assert!(differs(&[f32::NAN], &[1.0]).is_some());
        assert!(differs(&[1.0], &[1.0, 1.0]).is_some());
        assert!(differs(&[12.0], &[10.0]).unwrap().contains("12"));
    }

    #[test]
    fn integers_are_the_same_or_not() {
        let of = |value: i64| Tensor::from_i64(&[1], &[value]).unwrap();
        let tolerance = Tolerance::default();
        assert_eq!(tolerance.difference(&of(1000), &of(1000)), None);
        assert!(tolerance.difference(&of(1000), &of(1001)).is_some());
    }
}
