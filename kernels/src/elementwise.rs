//! Elementwise functions: activations of the feed-forward layers and plain arithmetic.

use crate::threads::{Parallel, Shared, split};

use super::Kernels;
use super::math::{erf, sigmoid};
use super::simd::{Simd, per_isa};

/// Elements a task takes at a time; fewer than this are not worth a second thread.
const PIECE: usize = 1 << 13;

/// `f(inputs, out)` on slices of one length.
type Piece<'a> = dyn Fn([&[f32]; 2], &mut [f32]) + Sync + 'a;

/// Cuts the slices into pieces of equal length and calls `each` on them.
fn pieces(parallel: &dyn Parallel, inputs: [&[f32]; 2], out: &mut [f32], each: &Piece<'_>) {
    let n = out.len();
    assert!(inputs.iter().all(|x| x.len() == n), "slices of one length");
    if n <= PIECE {
        return each(inputs, out);
    }
    let shared = Shared::new(out);
    split(parallel, n.div_ceil(PIECE), &|range| {
        let (start, end) = (range.start * PIECE, (range.end * PIECE).min(n));
        // Ranges of different tasks do not overlap.
        let out = unsafe { std::slice::from_raw_parts_mut(shared.at(start), end - start) };
        each(inputs.map(|x| &x[start..end]), out);
    });
}

/// `out[i] = f(a[i], b[i])`; the elements after the last whole vector go through a filled-up one.
macro_rules! each_lane {
    ($(#[$meta:meta])* $name:ident / $generic:ident = |$s:ident, $a:ident, $b:ident| $value:expr) => {
        per_isa! { unsafe fn $generic(a: &[f32], b: &[f32], out: &mut [f32]) = $name }

        $(#[$meta])*
        #[inline(always)]
        unsafe fn $name<$s: Simd>(a: &[f32], b: &[f32], out: &mut [f32]) {
            let n = out.len();
            let (a, b, out) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
            let whole = n / $s::LANES * $s::LANES;
            unsafe {
                let mut i = 0;
                while i < whole {
                    let ($a, $b) = ($s::load(a.add(i)), $s::load(b.add(i)));
                    $s::store(out.add(i), $value);
                    i += $s::LANES;
                }
                if whole < n {
                    let (mut last_a, mut last_b) = ([0f32; 16], [0f32; 16]);
                    std::ptr::copy_nonoverlapping(a.add(whole), last_a.as_mut_ptr(), n - whole);
                    std::ptr::copy_nonoverlapping(b.add(whole), last_b.as_mut_ptr(), n - whole);
                    let ($a, $b) = ($s::load(last_a.as_ptr()), $s::load(last_b.as_ptr()));
                    $s::store(last_a.as_mut_ptr(), $value);
                    std::ptr::copy_nonoverlapping(last_a.as_ptr(), out.add(whole), n - whole);
                }
            }
        }
    };
}

each_lane!(add_on / add = |S, a, b| S::add(a, b));
each_lane!(sub_on / sub = |S, a, b| S::sub(a, b));
each_lane!(mul_on / mul = |S, a, b| S::mul(a, b));
each_lane!(div_on / div = |S, a, b| S::div(a, b));
each_lane!(silu_on / silu = |S, a, _b| S::mul(a, sigmoid::<S>(a)));
each_lane!(silu_mul_on / silu_mul = |S, a, b| S::mul(S::mul(a, sigmoid::<S>(a)), b));
each_lane!(
    gelu_on / gelu = |S, a, _b| {
        let half = S::mul(a, S::splat(0.5));
        let scaled = S::mul(a, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        S::mul_add(half, erf::<S>(scaled), half)
    }
);
each_lane!(
    // ½·(1 + tanh u) is the logistic function of 2u.
    gelu_tanh_on / gelu_tanh = |S, a, _b| {
        let cube = S::mul(S::mul(a, a), a);
        let u = S::mul_add(cube, S::splat(0.044_715), a);
        S::mul(a, sigmoid::<S>(S::mul(u, S::splat(1.595_769))))
    }
);

macro_rules! unary {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        impl Kernels {
            $(
                $(#[$meta])*
                pub fn $name(self, parallel: &dyn Parallel, x: &[f32], out: &mut [f32]) {
                    // The ISA is available and the slices have one length.
                    pieces(parallel, [x, x], out, &|[x, _], out| unsafe {
                        $name(self.isa, x, x, out);
                    });
                }
            )*
        }
    };
}

unary! {
    /// `out = x / (1 + e⁻ˣ)`.
    silu;
    /// `out = x · Φ(x)`, with the exact error function.
    gelu;
    /// `out ≈ x · Φ(x)`, by the usual formula with tanh.
    gelu_tanh;
}

macro_rules! binary {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        impl Kernels {
            $(
                $(#[$meta])*
                pub fn $name(self, parallel: &dyn Parallel, a: &[f32], b: &[f32], out: &mut [f32]) {
                    // The ISA is available and the slices have one length.
                    pieces(parallel, [a, b], out, &|[a, b], out| unsafe {
                        $name(self.isa, a, b, out);
                    });
                }
            )*
        }
    };
}

binary! {
    /// `out = a + b`, of one length.
    add;
    /// `out = a − b`, of one length.
    sub;
    /// `out = a · b`, of one length.
    mul;
    /// `out = a / b`, of one length.
    div;
    /// `out = silu(a) · b`, of one length: the gate of a LLaMA feed-forward layer.
    silu_mul;
}

impl Kernels {
    /// `out[r] = a[r] + b` for each row of `b.len()` elements: a bias.
    pub fn add_row(self, parallel: &dyn Parallel, a: &[f32], b: &[f32], out: &mut [f32]) {
        assert_eq!(a.len(), out.len());
        if out.is_empty() {
            return;
        }
        let row = b.len();
        assert_eq!(a.len() % row, 0, "{} elements in rows of {row}", a.len());
        let shared = Shared::new(out);
        split(parallel, a.len() / row, &|range| {
            for i in range {
                // Rows of different tasks do not overlap; the ISA is available.
                unsafe {
                    let out = std::slice::from_raw_parts_mut(shared.at(i * row), row);
                    add(self.isa, &a[i * row..][..row], b, out);
                }
            }
        });
    }
}
