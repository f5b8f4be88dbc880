//! Numbers against numbers.

/// An element holds when `|got - expected| <= atol + rtol * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

/// The outcome over one tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    pub compared: u64,
    /// Largest `|got - expected|`; NaN if one side alone is not a number.
    pub max_abs: f64,
    /// Largest `|got - expected| / |expected|` over elements that are not 0.
    pub max_rel: f64,
    /// Elements out of tolerance.
    pub failed: u64,
    /// Index of the first one.
    pub first: Option<usize>,
}

impl Tolerance {
    /// Compares elements for which `takes(index)`; both have the same length.
    pub fn compare(
        self,
        got: &[f64],
        expected: &[f64],
        takes: impl Fn(usize) -> bool,
    ) -> Difference {
        let mut difference = Difference::default();
        for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            if !takes(i) {
                continue;
            }
            difference.compared += 1;
            // Equal infinities and two NaNs agree.
            if got == expected || (got.is_nan() && expected.is_nan()) {
                continue;
            }
            let abs = (got - expected).abs();
            raise(&mut difference.max_abs, abs);
            if expected != 0.0 {
                raise(&mut difference.max_rel, abs / expected.abs());
            }
            // Written so that a NaN fails.
            let holds = abs <= self.atol + self.rtol * expected.abs();
            if !holds {
                difference.failed += 1;
                difference.first.get_or_insert(i);
            }
        }
        difference
    }
}

fn raise(most: &mut f64, x: f64) {
    if x > *most || x.is_nan() {
        *most = x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        atol: 0.01,
        rtol: 0.1,
    };

    #[test]
    fn absolute_and_relative() {
        let all = |_: usize| true;
        let expected = [0.0, 1.0, -10.0];
        let near = TOLERANCE.compare(&[0.009, 1.1, -11.0], &expected, all);
        assert_eq!((near.failed, near.compared), (0, 3));
        assert!((near.max_abs - 1.0).abs() < 1e-12 && (near.max_rel - 0.1).abs() < 1e-12);
        let far = TOLERANCE.compare(&[0.009, 1.12, -11.1], &expected, all);
        assert_eq!((far.failed, far.first), (2, Some(1)));
        let masked = TOLERANCE.compare(&[9.0, 1.0, -10.0], &expected, |i| i > 0);
        assert_eq!(
            (masked.failed, masked.compared, masked.max_abs),
            (0, 2, 0.0)
        );
    }

    #[test]
    fn what_is_not_a_number_fails() {
        let all = |_: usize| true;
        let nan = f64::NAN;
        let one = TOLERANCE.compare(&[nan, 1.0], &[1.0, 1.0], all);
        assert!(one.failed == 1 && one.max_abs.is_nan());
        assert_eq!(TOLERANCE.compare(&[1.0], &[nan], all).failed, 1);
        assert_eq!(TOLERANCE.compare(&[f64::INFINITY], &[1.0], all).failed, 1);
        assert_eq!(TOLERANCE.compare(&[nan], &[nan], all).failed, 0);
        let infinite = f64::NEG_INFINITY;
        assert_eq!(TOLERANCE.compare(&[infinite], &[infinite], all).failed, 0);
    }
}
