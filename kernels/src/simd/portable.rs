//! Plain Rust on arrays of four lanes; the compiler makes vectors of them where it can.

use half::{bf16, f16};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn map<A: Copy, B: Copy, R>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> R) -> [R; 4] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    const LANES: usize = 4;
    const TOKENS: usize = 4;
    const ROWS: usize = 4;
    const DOT_U8: bool = true;

    type F = [f32; 4];
    type I = [i32; 4];
    type Sums = [i32; 4];
    type X = [i8; 4];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        unsafe { p.cast::<[f32; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::F {
        unsafe { p.cast::<[u16; 4]>().read_unaligned() }.map(|x| f16::from_bits(x).to_f32_const())
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self::F {
        unsafe { p.cast::<[u16; 4]>().read_unaligned() }.map(|x| bf16::from_bits(x).to_f32_const())
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        map(map(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn nan_of(x: Self::F, y: Self::F) -> Self::F {
        map(x, y, |x, y| if x.is_nan() { x } else { y })
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn largest(a: Self::F) -> f32 {
        a[0].max(a[1]).max(a[2]).max(a[3])
    }
    #[inline(always)]
    unsafe fn round(a: Self::F) -> Self::I {
        // Adding and taking away 1.5·2²³ rounds to the nearest even in f32 arithmetic.
        const MAGIC: f32 = 12_582_912.0;
        a.map(|x| {
            if x.abs() < 4_194_304.0 {
                ((x + MAGIC) - MAGIC) as i32
            } else {
                x as i32
            }
        })
    }
    #[inline(always)]
    unsafe fn to_f32(a: Self::I) -> Self::F {
        a.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn bits(a: Self::F) -> Self::I {
        a.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn from_bits(a: Self::I) -> Self::F {
        a.map(|x| f32::from_bits(x as u32))
    }

    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> Self::I {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load_i(p: *const u8) -> Self::I {
        unsafe { p.cast::<[i32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_i(p: *mut u8, x: Self::I) {
        unsafe { p.cast::<[i32; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn sub_i(a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    unsafe fn max_i(a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::max)
    }
    #[inline(always)]
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I {
        map(a, b, |a, b| a & b)
    }
    #[inline(always)]
    unsafe fn shift_right<const N: u32>(a: Self::I) -> Self::I {
        a.map(|x| ((x as u32) >> N) as i32)
    }
    #[inline(always)]
    unsafe fn shift_left<const N: u32>(a: Self::I) -> Self::I {
        a.map(|x| x << N)
    }
    #[inline(always)]
    unsafe fn half(a: Self::I) -> Self::I {
        a.map(|x| x >> 1)
    }

    #[inline(always)]
    unsafe fn load_x(p: *const i8) -> Self::X {
        unsafe { p.cast::<[i8; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn no_sums() -> Self::Sums {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, w: Self::I, x: Self::X) -> Self::Sums {
        map(sums, w, |sum, w| {
            let w = w.to_le_bytes();
            (0..4).fold(sum, |sum, i| sum + i32::from(w[i]) * i32::from(x[i]))
        })
    }
    #[inline(always)]
    unsafe fn total(sums: Self::Sums) -> Self::I {
        sums
    }
}
