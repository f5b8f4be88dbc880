//! The discrete Fourier transform of real frames, for the sizes that speech models use (400, 512, 1024).
//!
//! Written here since a general library (`rustfft`) weighs more in wasm than all the rest of the preprocessing,
//! and small ones take powers of two only. Stockham's form: no bit reversal, any factors. Double precision,
//! since a quiet band next to a loud one is what a logarithm then shows.

use std::f64::consts::TAU;

/// The largest factor of a size.
const LARGEST_FACTOR: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Complex {
    re: f64,
    im: f64,
}

const ZERO: Complex = Complex { re: 0.0, im: 0.0 };

impl Complex {
    /// exp(-2πi · `step` / `of`).
    fn unit(step: usize, of: usize) -> Complex {
        let angle = -TAU * (step % of) as f64 / of as f64;
        Complex {
            re: angle.cos(),
            im: angle.sin(),
        }
    }

    fn plus(self, other: Complex) -> Complex {
        Complex {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    fn minus(self, other: Complex) -> Complex {
        Complex {
            re: self.re - other.re,
            im: self.im - other.im,
        }
    }

    fn times(self, other: Complex) -> Complex {
        Complex {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

/// The power of each frequency of a real frame of a fixed even size.
#[derive(Debug, Clone)]
pub(super) struct PowerSpectrum {
    size: usize,
    /// Factors of half the size.
    factors: Vec<usize>,
    /// exp(-2πi t / n) for n = half the size.
    turns: Vec<Complex>,
    /// exp(-2πi k / size), which join the two halves.
    joins: Vec<Complex>,
    values: Vec<Complex>,
    spare: Vec<Complex>,
}

impl PowerSpectrum {
    /// For frames of `size`, which must be even and have no prime factor above 7; otherwise nothing.
    pub(super) fn new(size: usize) -> Option<PowerSpectrum> {
        let half = size / 2;
        if !size.is_multiple_of(2) || half == 0 {
            return None;
        }
        Some(PowerSpectrum {
            size,
            factors: factors(half)?,
            turns: (0..half).map(|t| Complex::unit(t, half)).collect(),
            joins: (0..half).map(|k| Complex::unit(k, size)).collect(),
            values: vec![ZERO; half],
            spare: vec![ZERO; half],
        })
    }

    /// How many frequencies there are: `size / 2 + 1`.
    pub(super) fn bins(&self) -> usize {
        self.size / 2 + 1
    }

    /// Writes |X_k|² for k in `0..bins` of the `frame` of `size` values.
    pub(super) fn run(&mut self, frame: &[f64], power: &mut [f64]) {
        // A real frame of 2n values is a complex one of n.
        for (value, pair) in self.values.iter_mut().zip(frame.chunks_exact(2)) {
            *value = Complex {
                re: pair[0],
                im: pair[1],
            };
        }
        self.transform();
        let half = self.values.len();
        for (k, power) in power.iter_mut().enumerate().take(half + 1) {
            let a = self.values[k % half];
            let b = self.values[(half - k) % half];
            let even = Complex {
                re: (a.re + b.re) / 2.0,
                im: (a.im - b.im) / 2.0,
            };
            let odd = Complex {
                re: (a.im + b.im) / 2.0,
                im: (b.re - a.re) / 2.0,
            };
            let value = if k == half {
                even.minus(odd)
            } else {
                even.plus(odd.times(self.joins[k]))
            };
            *power = value.re * value.re + value.im * value.im;
        }
    }

    /// Transforms `values` in place. After the stages of lengths l, `values[j * (n / l) + k]` is frequency j of
    /// the sub-sequence k, k + n/l, …
    fn transform(&mut self) {
        let n = self.values.len();
        let mut done = 1;
        for &factor in &self.factors {
            let next = done * factor;
            let rest = n / next;
            for j in 0..done {
                let from = &self.values[j * rest * factor..][..rest * factor];
                for k in 0..rest {
                    let mut terms = [ZERO; LARGEST_FACTOR];
                    for (q, term) in terms[..factor].iter_mut().enumerate() {
                        let turn = self.turns[j * q * rest];
                        *term = from[k + rest * q].times(turn);
                    }
                    let terms = &terms[..factor];
                    for r in 0..factor {
                        let sum = match (factor, r) {
                            (2, 0) => terms[0].plus(terms[1]),
                            (2, _) => terms[0].minus(terms[1]),
                            _ => terms.iter().enumerate().fold(ZERO, |sum, (q, &term)| {
                                let turn = self.turns[(q * r % factor) * (n / factor)];
                                sum.plus(term.times(turn))
                            }),
                        };
                        self.spare[(j + done * r) * rest + k] = sum;
                    }
                }
            }
            std::mem::swap(&mut self.values, &mut self.spare);
            done = next;
        }
    }
}

/// The prime factors of `n`, if none is above [`LARGEST_FACTOR`].
fn factors(mut n: usize) -> Option<Vec<usize>> {
    let mut factors = Vec::new();
    for factor in [2, 3, 5, LARGEST_FACTOR] {
        while n.is_multiple_of(factor) {
            factors.push(factor);
            n /= factor;
        }
    }
    (n == 1).then_some(factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn slow(frame: &[f64]) -> Vec<f64> {
        let n = frame.len();
        (0..=n / 2)
            .map(|k| {
                let sum = frame.iter().enumerate().fold(ZERO, |sum, (t, &x)| {
                    let turn = Complex::unit(k * t, n);
                    sum.plus(Complex {
                        re: x * turn.re,
                        im: x * turn.im,
                    })
                });
                sum.re * sum.re + sum.im * sum.im
            })
            .collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        for size in [2, 4, 6, 10, 14, 30, 48, 120, 210, 400, 512, 1024] {
            let frame: Vec<f64> = (0..size)
                .map(|t| (t as f64 * 0.37).sin() + ((t * t) as f64 * 0.011).cos())
                .collect();
            let mut spectrum = PowerSpectrum::new(size).expect("small factors");
            let mut power = vec![0.0; spectrum.bins()];
            // Twice, as it keeps its memory.
            for _ in 0..2 {
                spectrum.run(&frame, &mut power);
                for (k, (got, want)) in power.iter().zip(slow(&frame)).enumerate() {
                    let error = (got - want).abs();
                    assert!(
                        error <= 1e-9 * (1.0 + want),
                        "size {size}, bin {k}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 1, 3, 22, 26, 399, 4094] {
            assert!(PowerSpectrum::new(size).is_none(), "{size}");
        }
    }
}
