//! Vectors of eight lanes: AVX2 with FMA and F16C, and the same with AVX-VNNI's dot product.

use std::arch::x86_64::*;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

#[derive(Clone, Copy)]
pub(crate) struct AvxVnni;

macro_rules! eight_lanes {
    ($isa:ident, $dot_u8:literal, |$acc:ident, $w:ident, $x:ident| $dot:expr) => {
        impl Simd for $isa {
            const LANES: usize = 8;
            const TOKENS: usize = 6;
            const ROWS: usize = 6;
            const DOT_U8: bool = $dot_u8;

            type F = __m256;
            type I = __m256i;
            type Sums = __m256i;
            type X = __m256i;

            #[inline(always)]
            unsafe fn splat(x: f32) -> __m256 {
                unsafe { _mm256_set1_ps(x) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> __m256 {
                unsafe { _mm256_loadu_ps(p) }
            }
            #[inline(always)]
            unsafe fn store(p: *mut f32, x: __m256) {
                unsafe { _mm256_storeu_ps(p, x) }
            }
            #[inline(always)]
            unsafe fn load_f16(p: *const u16) -> __m256 {
                unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
            }
            #[inline(always)]
            unsafe fn load_bf16(p: *const u16) -> __m256 {
                unsafe {
                    let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
                }
            }
            #[inline(always)]
            unsafe fn add(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_add_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_sub_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_mul_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn div(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_div_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
                unsafe { _mm256_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn max(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_max_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn min(a: __m256, b: __m256) -> __m256 {
                unsafe { _mm256_min_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn nan_of(x: __m256, y: __m256) -> __m256 {
                unsafe { _mm256_or_ps(y, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)) }
            }
            #[inline(always)]
            unsafe fn sum(a: __m256) -> f32 {
                unsafe {
                    let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
                }
            }
            #[inline(always)]
            unsafe fn largest(a: __m256) -> f32 {
                unsafe {
                    let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
                }
            }
            #[inline(always)]
            unsafe fn round(a: __m256) -> __m256i {
                unsafe { _mm256_cvtps_epi32(a) }
            }
            #[inline(always)]
            unsafe fn to_f32(a: __m256i) -> __m256 {
                unsafe { _mm256_cvtepi32_ps(a) }
            }
            #[inline(always)]
            unsafe fn bits(a: __m256) -> __m256i {
                unsafe { _mm256_castps_si256(a) }
            }
            #[inline(always)]
            unsafe fn from_bits(a: __m256i) -> __m256 {
                unsafe { _mm256_castsi256_ps(a) }
            }

            #[inline(always)]
            unsafe fn splat_i32(x: i32) -> __m256i {
                unsafe { _mm256_set1_epi32(x) }
            }
            #[inline(always)]
            unsafe fn load_i(p: *const u8) -> __m256i {
                unsafe { _mm256_loadu_si256(p.cast()) }
            }
            #[inline(always)]
            unsafe fn store_i(p: *mut u8, x: __m256i) {
                unsafe { _mm256_storeu_si256(p.cast(), x) }
            }
            #[inline(always)]
            unsafe fn add_i(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_add_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn sub_i(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_sub_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn max_i(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_max_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_and_si256(a, b) }
            }
            #[inline(always)]
            unsafe fn shift_right<const N: u32>(a: __m256i) -> __m256i {
                unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) }
            }
            #[inline(always)]
            unsafe fn shift_left<const N: u32>(a: __m256i) -> __m256i {
                unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32)) }
            }
            #[inline(always)]
            unsafe fn half(a: __m256i) -> __m256i {
                unsafe { _mm256_srai_epi32::<1>(a) }
            }

            #[inline(always)]
            unsafe fn load_x(p: *const i8) -> __m256i {
                unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn no_sums() -> __m256i {
                unsafe { _mm256_setzero_si256() }
            }
            #[inline(always)]
            unsafe fn total(sums: __m256i) -> __m256i {
                sums
            }
            #[inline(always)]
            unsafe fn dot($acc: __m256i, $w: __m256i, $x: __m256i) -> __m256i {
                unsafe { $dot }
            }
        }
    };
}

// `maddubs` adds two products in 16 bits: with weights up to 127 the sum stays below 2·127·127.
eight_lanes!(Avx2, false, |acc, w, x| {
    let pairs = _mm256_maddubs_epi16(w, x);
    _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
});

eight_lanes!(AvxVnni, true, |acc, w, x| _mm256_dpbusd_avx_epi32(
    acc, w, x
));
