//! Elementary functions on vectors.

// Coefficients stand as they were published.
#![allow(clippy::excessive_precision)]

use super::simd::Simd;

/// eˣ to about one unit in the last place over the whole range; NaN stays NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, eʳ by a polynomial (Cephes' `expf`), and 2ⁿ in two factors so
/// that subnormal and infinite results come out right.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let given = x;
        let x = S::min(S::splat(89.0), S::max(S::splat(-104.0), x));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let whole = S::to_f32(n);
        // ln 2 in two parts, the first of few enough bits that its product with n is exact.
        let r = S::mul_add(whole, S::splat(-0.693_359_375), x);
        let r = S::mul_add(whole, S::splat(2.121_944_40e-4), r);
        let mut p = S::splat(1.987_569_15e-4);
        for c in [
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ] {
            p = S::mul_add(p, r, S::splat(c));
        }
        let p = S::add(S::mul_add(S::mul(p, r), r, r), S::splat(1.0));
        let half = S::half(n);
        let rest = S::sub_i(n, half);
        let y = S::mul(S::mul(p, power_of_two::<S>(half)), power_of_two::<S>(rest));
        S::nan_of(given, y)
    }
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
unsafe fn power_of_two<S: Simd>(n: S::I) -> S::F {
    unsafe { S::from_bits(S::shift_left::<23>(S::add_i(n, S::splat_i32(127)))) }
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// The error function, by the rational approximation on [−4, 4] that Eigen and XLA use for f32.
#[inline(always)]
pub(crate) unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let x = S::min(S::splat(4.0), S::max(S::splat(-4.0), x));
        let x2 = S::mul(x, x);
        let mut p = S::splat(-2.726_142_258_013_06e-10);
        for c in [
            2.770_681_424_959_02e-8,
            -2.101_024_020_825_08e-6,
            -5.692_506_394_623_46e-5,
            -7.349_906_303_268_55e-4,
            -2.954_599_804_589_85e-3,
            -1.609_603_332_624_15e-2,
        ] {
            p = S::mul_add(p, x2, S::splat(c));
        }
        let mut q = S::splat(-1.456_607_184_649_96e-5);
        for c in [
            -2.133_740_555_052_78e-4,
            -1.682_826_976_977_98e-3,
            -7.373_329_167_204_68e-3,
            -1.426_473_903_480_59e-2,
        ] {
            q = S::mul_add(q, x2, S::splat(c));
        }
        S::div(S::mul(x, p), q)
    }
}
