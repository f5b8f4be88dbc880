//! Normalizations over the last dimension: root mean square, layer, softmax.

use crate::threads::{Parallel, Shared, split};

use super::Kernels;
use super::math::exp;
use super::simd::{Simd, per_isa};

/// Fewer elements than this are not worth a second thread.
const SPLIT_FROM: usize = 1 << 14;

impl Kernels {
    /// `out = x / √(mean(x²) + epsilon) · scale` for each row of `scale.len()` elements.
    pub fn rms_norm(
        self,
        parallel: &dyn Parallel,
        x: &[f32],
        scale: &[f32],
        epsilon: f32,
        out: &mut [f32],
    ) {
        // The ISA is available; `rows` hands out whole rows of both.
        rows(parallel, x, scale.len(), out, &|x, out| unsafe {
            rms(self.isa, x, scale, epsilon, out);
        });
    }

    /// `out = (x − mean) / √(variance + epsilon) · scale + bias` for each row of `row` elements;
    /// `scale` and `bias` may be left out.
    #[allow(clippy::too_many_arguments)]
    pub fn layer_norm(
        self,
        parallel: &dyn Parallel,
        x: &[f32],
        row: usize,
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
        epsilon: f32,
        out: &mut [f32],
    ) {
        assert!(scale.is_none_or(|s| s.len() == row) && bias.is_none_or(|b| b.len() == row));
        rows(parallel, x, row, out, &|x, out| unsafe {
            layer(self.isa, x, scale, bias, epsilon, out);
        });
    }

    /// Softmax of each row of `row` elements.
    pub fn softmax(self, parallel: &dyn Parallel, x: &[f32], row: usize, out: &mut [f32]) {
        rows(parallel, x, row, out, &|x, out| unsafe {
            out.copy_from_slice(x);
            softmax_in_place(self.isa, out);
        });
    }
}

fn rows(
    parallel: &dyn Parallel,
    x: &[f32],
    row: usize,
    out: &mut [f32],
    each: &(dyn Fn(&[f32], &mut [f32]) + Sync),
) {
    assert_eq!(x.len(), out.len());
    if x.is_empty() {
        return;
    }
    assert_eq!(x.len() % row, 0, "{} elements in rows of {row}", x.len());
    let shared = Shared::new(out);
    let work = |range: std::ops::Range<usize>| {
        for i in range {
            // Each row belongs to one task.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.at(i * row), row) };
            each(&x[i * row..][..row], out);
        }
    };
    if x.len() < SPLIT_FROM {
        work(0..x.len() / row);
    } else {
        split(parallel, x.len() / row, &work);
    }
}

/// Calls `vector` for each whole vector's offset and `rest` for each offset after the last one.
macro_rules! lanes {
    ($s:ident, $len:expr, |$at:ident| $vector:expr, $rest:expr) => {{
        let whole = $len / $s::LANES * $s::LANES;
        let mut $at = 0;
        while $at < whole {
            $vector;
            $at += $s::LANES;
        }
        while $at < $len {
            $rest;
            $at += 1;
        }
    }};
}

per_isa! { unsafe fn rms(x: &[f32], scale: &[f32], epsilon: f32, out: &mut [f32]) = rms_on }

#[inline(always)]
unsafe fn rms_on<S: Simd>(x: &[f32], scale: &[f32], epsilon: f32, out: &mut [f32]) {
    let (n, x, scale, out) = (x.len(), x.as_ptr(), scale.as_ptr(), out.as_mut_ptr());
    unsafe {
        let mut sums = S::splat(0.0);
        let mut rest = 0.0;
        lanes!(
            S,
            n,
            |i| {
                let x = S::load(x.add(i));
                sums = S::mul_add(x, x, sums);
            },
            rest += *x.add(i) * *x.add(i)
        );
        let factor = 1.0 / ((S::sum(sums) + rest) / n as f32 + epsilon).sqrt();
        lanes!(
            S,
            n,
            |i| {
                let y = S::mul(S::load(x.add(i)), S::splat(factor));
                S::store(out.add(i), S::mul(y, S::load(scale.add(i))));
            },
            *out.add(i) = *x.add(i) * factor * *scale.add(i)
        );
    }
}

per_isa! {
    unsafe fn layer(x: &[f32], scale: Option<&[f32]>, bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) = layer_on
}

#[inline(always)]
unsafe fn layer_on<S: Simd>(
    x: &[f32],
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    let (n, x, out) = (x.len(), x.as_ptr(), out.as_mut_ptr());
    unsafe {
        let (mut sums, mut rest) = (S::splat(0.0), 0.0);
        lanes!(
            S,
            n,
            |i| sums = S::add(sums, S::load(x.add(i))),
            rest += *x.add(i)
        );
        let mean = (S::sum(sums) + rest) / n as f32;
        let (mut sums, mut rest) = (S::splat(0.0), 0.0);
        lanes!(
            S,
            n,
            |i| {
                let x = S::sub(S::load(x.add(i)), S::splat(mean));
                sums = S::mul_add(x, x, sums);
            },
            rest += (*x.add(i) - mean) * (*x.add(i) - mean)
        );
        let factor = 1.0 / ((S::sum(sums) + rest) / n as f32 + epsilon).sqrt();
        lanes!(
            S,
            n,
            |i| {
                let y = S::sub(S::load(x.add(i)), S::splat(mean));
                S::store(out.add(i), S::mul(y, S::splat(factor)));
            },
            *out.add(i) = (*x.add(i) - mean) * factor
        );
        if let Some(scale) = scale {
            let scale = scale.as_ptr();
            lanes!(
                S,
                n,
                |i| S::store(
                    out.add(i),
                    S::mul(S::load(out.add(i)), S::load(scale.add(i)))
                ),
                *out.add(i) *= *scale.add(i)
            );
        }
        if let Some(bias) = bias {
            let bias = bias.as_ptr();
            lanes!(
                S,
                n,
                |i| S::store(
                    out.add(i),
                    S::add(S::load(out.add(i)), S::load(bias.add(i)))
                ),
                *out.add(i) += *bias.add(i)
            );
        }
    }
}

per_isa! { pub(crate) unsafe fn softmax_in_place(x: &mut [f32]) = softmax_on }

/// Softmax of one row. A row of −∞ alone gives NaN, as the formula has it.
#[inline(always)]
pub(crate) unsafe fn softmax_on<S: Simd>(x: &mut [f32]) {
    let (n, x) = (x.len(), x.as_mut_ptr());
    unsafe {
        let (mut largest, mut rest) = (S::splat(f32::NEG_INFINITY), f32::NEG_INFINITY);
        lanes!(
            S,
            n,
            |i| largest = S::max(S::load(x.add(i)), largest),
            rest = rest.max(*x.add(i))
        );
        let largest = rest.max(S::largest(largest));
        let mut sums = S::splat(0.0);
        let whole = n / S::LANES * S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            let y = exp::<S>(S::sub(S::load(x.add(i)), S::splat(largest)));
            sums = S::add(sums, y);
            S::store(x.add(i), y);
        }
        if whole < n {
            // The last few elements, filled up with −∞ whose exponential is 0.
            let mut last = [f32::NEG_INFINITY; 16];
            std::ptr::copy_nonoverlapping(x.add(whole), last.as_mut_ptr(), n - whole);
            let y = exp::<S>(S::sub(S::load(last.as_ptr()), S::splat(largest)));
            sums = S::add(sums, y);
            S::store(last.as_mut_ptr(), y);
            std::ptr::copy_nonoverlapping(last.as_ptr(), x.add(whole), n - whole);
        }
        let factor = 1.0 / S::sum(sums);
        lanes!(
            S,
            n,
            |i| S::store(x.add(i), S::mul(S::load(x.add(i)), S::splat(factor))),
            *x.add(i) *= factor
        );
    }
}
