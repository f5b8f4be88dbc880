//! WebAssembly vectors of four lanes; with `relaxed-simd` fused multiply-add and 8-bit dot products.
//!
//! Relaxed instructions may differ between engines, so only what is the same on all is relied on:
//! the dot product's second operand stays in 0…127, which makes it exact everywhere.

use std::arch::wasm32::*;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Wasm;

#[cfg(target_feature = "relaxed-simd")]
macro_rules! dot_relaxed {
    () => {
        type Sums = v128;
        type X = v128;

        #[inline(always)]
        unsafe fn load_x(p: *const i8) -> v128 {
            unsafe { v128_load32_splat(p.cast()) }
        }
        #[inline(always)]
        unsafe fn no_sums() -> v128 {
            i32x4_splat(0)
        }
        #[inline(always)]
        unsafe fn dot(sums: v128, w: v128, x: v128) -> v128 {
            i32x4_relaxed_dot_i8x16_i7x16_add(x, w, sums)
        }
        #[inline(always)]
        unsafe fn total(sums: v128) -> v128 {
            sums
        }
    };
}

/// Widens to 16 bits. The sums of a lane's first and second pair of products stand side by side,
/// lanes 0 and 1 in one vector and 2 and 3 in the other, until `total` brings them together.
#[cfg(not(target_feature = "relaxed-simd"))]
macro_rules! dot_widened {
    () => {
        type Sums = (v128, v128);
        type X = v128;

        #[inline(always)]
        unsafe fn load_x(p: *const i8) -> v128 {
            unsafe { i16x8_extend_low_i8x16(v128_load32_splat(p.cast())) }
        }
        #[inline(always)]
        unsafe fn no_sums() -> (v128, v128) {
            (i32x4_splat(0), i32x4_splat(0))
        }
        #[inline(always)]
        unsafe fn dot(sums: (v128, v128), w: v128, x: v128) -> (v128, v128) {
            let low = i32x4_dot_i16x8(u16x8_extend_low_u8x16(w), x);
            let high = i32x4_dot_i16x8(u16x8_extend_high_u8x16(w), x);
            (i32x4_add(sums.0, low), i32x4_add(sums.1, high))
        }
        #[inline(always)]
        unsafe fn total(sums: (v128, v128)) -> v128 {
            let first = i32x4_shuffle::<0, 2, 4, 6>(sums.0, sums.1);
            let second = i32x4_shuffle::<1, 3, 5, 7>(sums.0, sums.1);
            i32x4_add(first, second)
        }
    };
}

impl Simd for Wasm {
    const LANES: usize = 4;
    const TOKENS: usize = 4;
    const ROWS: usize = 6;
    const DOT_U8: bool = !cfg!(target_feature = "relaxed-simd");

    type F = v128;
    type I = v128;

    #[inline(always)]
    unsafe fn splat(x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> v128 {
        unsafe { v128_load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: v128) {
        unsafe { v128_store(p.cast(), x) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> v128 {
        // The exponent moves to its place by a product with 2¹¹², which keeps subnormals exact.
        // Infinities and NaN become numbers of 2¹⁶ and more; they go on to f32's largest exponent.
        unsafe {
            let x = i32x4_load_extend_i16x4(p.cast());
            let shifted = v128_and(i32x4_shl(x, 13), i32x4_splat(0x8fff_ffff_u32 as i32));
            let number = f32x4_mul(shifted, f32x4_splat(f32::from_bits(0x7780_0000)));
            let large = f32x4_ge(f32x4_abs(number), f32x4_splat(65536.0));
            v128_or(number, v128_and(large, i32x4_splat(0x7f80_0000)))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> v128 {
        unsafe { i32x4_shl(i32x4_load_extend_u16x4(p.cast()), 16) }
    }
    #[inline(always)]
    unsafe fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        {
            f32x4_relaxed_madd(a, b, c)
        }
        #[cfg(not(target_feature = "relaxed-simd"))]
        {
            f32x4_add(f32x4_mul(a, b), c)
        }
    }
    #[inline(always)]
    unsafe fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    unsafe fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    unsafe fn nan_of(x: v128, y: v128) -> v128 {
        v128_or(y, f32x4_ne(x, x))
    }
    #[inline(always)]
    unsafe fn sum(a: v128) -> f32 {
        let two = f32x4_add(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }
    #[inline(always)]
    unsafe fn largest(a: v128) -> f32 {
        let two = f32x4_pmax(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        f32x4_extract_lane::<0>(two).max(f32x4_extract_lane::<1>(two))
    }
    #[inline(always)]
    unsafe fn round(a: v128) -> v128 {
        i32x4_trunc_sat_f32x4(f32x4_nearest(a))
    }
    #[inline(always)]
    unsafe fn to_f32(a: v128) -> v128 {
        f32x4_convert_i32x4(a)
    }
    #[inline(always)]
    unsafe fn bits(a: v128) -> v128 {
        a
    }
    #[inline(always)]
    unsafe fn from_bits(a: v128) -> v128 {
        a
    }

    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> v128 {
        i32x4_splat(x)
    }
    #[inline(always)]
    unsafe fn load_i(p: *const u8) -> v128 {
        unsafe { v128_load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_i(p: *mut u8, x: v128) {
        unsafe { v128_store(p.cast(), x) }
    }
    #[inline(always)]
    unsafe fn add_i(a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }
    #[inline(always)]
    unsafe fn sub_i(a: v128, b: v128) -> v128 {
        i32x4_sub(a, b)
    }
    #[inline(always)]
    unsafe fn max_i(a: v128, b: v128) -> v128 {
        i32x4_max(a, b)
    }
    #[inline(always)]
    unsafe fn and(a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    unsafe fn shift_right<const N: u32>(a: v128) -> v128 {
        u32x4_shr(a, N)
    }
    #[inline(always)]
    unsafe fn shift_left<const N: u32>(a: v128) -> v128 {
        i32x4_shl(a, N)
    }
    #[inline(always)]
    unsafe fn half(a: v128) -> v128 {
        i32x4_shr(a, 1)
    }

    #[cfg(target_feature = "relaxed-simd")]
    dot_relaxed!();
    #[cfg(not(target_feature = "relaxed-simd"))]
    dot_widened!();
}
