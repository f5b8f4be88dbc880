//! The vector operations that kernels are written in, once for every instruction set.
//!
//! A kernel is a function generic over [`Simd`]; [`per_isa!`] makes one copy of it for each
//! instruction set, compiled with that set's features, and a function that picks one by [`Isa`].
//! Everything a copy calls must be `#[inline(always)]`, or it is compiled without the features.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) mod wasm;

/// An instruction set that kernels have a variant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, on every machine.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// The same with 8-bit dot products (AVX-VNNI).
    AvxVnni,
    /// x86-64 with AVX-512 F/BW/VL and its 8-bit dot products (VNNI).
    Avx512,
    /// WebAssembly `simd128`, with the dot products and fused operations of `relaxed-simd` if the
    /// module is built with that feature.
    Wasm,
}

impl Isa {
    /// The instruction sets that this machine (natively) or this build (wasm) has, best first.
    #[allow(
        clippy::vec_init_then_push,
        reason = "what is pushed depends on the target"
    )]
    pub fn available() -> Vec<Isa> {
        let mut available = Vec::new();
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        available.push(Isa::Wasm);
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                available.push(Isa::Avx512);
            }
            if avx2 && is_x86_feature_detected!("avxvnni") {
                available.push(Isa::AvxVnni);
            }
            if avx2 {
                available.push(Isa::Avx2);
            }
        }
        available.push(Isa::Portable);
        available
    }

    /// The name shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512 => "avx512-vnni",
            Isa::Wasm if cfg!(target_feature = "relaxed-simd") => "wasm relaxed-simd",
            Isa::Wasm => "wasm simd128",
        }
    }
}

/// Vectors of [`Simd::LANES`] 32-bit lanes. Pointers need no alignment.
///
/// # Safety
/// Every function may use instructions of its set: callers run only where these exist. Pointers
/// must be valid for the lanes (or bytes) named.
pub(crate) trait Simd: Copy + 'static {
    /// f32 lanes of a vector; divides 16.
    const LANES: usize;
    /// Tokens in one tile of the 8-bit matrix product: as many as registers hold.
    const TOKENS: usize;
    /// Rows of activations in one tile of the f32 matrix product.
    const ROWS: usize;
    /// Whether [`Simd::dot`] is exact for weights up to 255; else up to 127.
    const DOT_U8: bool;

    type F: Copy;
    type I: Copy;
    /// Sums of an 8-bit dot product, one a lane once [`Simd::total`] has gathered them.
    type Sums: Copy;
    /// Four activations in every lane.
    type X: Copy;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn store(p: *mut f32, x: Self::F);
    /// Loads `LANES` half-precision numbers.
    unsafe fn load_f16(p: *const u16) -> Self::F;
    /// Loads `LANES` bfloat16 numbers.
    unsafe fn load_bf16(p: *const u16) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a·b + c`, rounded once or twice.
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger of both; unspecified if one is NaN (compilers make relaxed operations of it).
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// The smaller of both; unspecified if one is NaN.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// NaN where `x` is NaN, elsewhere `y`.
    unsafe fn nan_of(x: Self::F, y: Self::F) -> Self::F;
    /// The sum of all lanes, added in pairs.
    unsafe fn sum(a: Self::F) -> f32;
    /// The largest of all lanes; unspecified if one is NaN.
    unsafe fn largest(a: Self::F) -> f32;
    /// To the nearest integer, ties to even; NaN and what does not fit give some integer.
    unsafe fn round(a: Self::F) -> Self::I;
    unsafe fn to_f32(a: Self::I) -> Self::F;
    unsafe fn bits(a: Self::F) -> Self::I;
    unsafe fn from_bits(a: Self::I) -> Self::F;

    unsafe fn splat_i32(x: i32) -> Self::I;
    /// Loads `4·LANES` bytes.
    unsafe fn load_i(p: *const u8) -> Self::I;
    unsafe fn store_i(p: *mut u8, x: Self::I);
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn sub_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn max_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I;
    /// Logical shift right of each 32-bit lane.
    unsafe fn shift_right<const N: u32>(a: Self::I) -> Self::I;
    unsafe fn shift_left<const N: u32>(a: Self::I) -> Self::I;
    /// The arithmetic shift right by one bit of each 32-bit lane.
    unsafe fn half(a: Self::I) -> Self::I;

    /// Loads 4 signed bytes into every lane.
    unsafe fn load_x(p: *const i8) -> Self::X;
    /// Sums of zero.
    unsafe fn no_sums() -> Self::Sums;
    /// In each lane, adds the four products of unsigned bytes of `w` and signed bytes of `x` (not
    /// below −127) to `sums`. Exact for `w` up to 127, or 255 where [`Simd::DOT_U8`].
    unsafe fn dot(sums: Self::Sums, w: Self::I, x: Self::X) -> Self::Sums;
    unsafe fn total(sums: Self::Sums) -> Self::I;

    /// The low nibble of each byte.
    #[inline(always)]
    unsafe fn low_nibbles(a: Self::I) -> Self::I {
        unsafe { Self::and(a, Self::splat_i32(0x0f0f_0f0f)) }
    }
    /// The high nibble of each byte, moved down.
    #[inline(always)]
    unsafe fn high_nibbles(a: Self::I) -> Self::I {
        unsafe { Self::and(Self::shift_right::<4>(a), Self::splat_i32(0x0f0f_0f0f)) }
    }
}

/// Defines `fn NAME(isa, args…)` that calls `GENERIC::<S>(args…)` compiled for `isa`.
///
/// The function is unsafe because the caller vouches that the machine has `isa`, besides what the
/// kernel itself asks for.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $generic:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::Isa, $($arg: $type),*) {
            use $crate::{Isa, simd};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2($($arg: $type),*) {
                unsafe { $generic::<simd::avx2::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
            unsafe fn avx_vnni($($arg: $type),*) {
                unsafe { $generic::<simd::avx2::AvxVnni>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
            unsafe fn avx512($($arg: $type),*) {
                unsafe { $generic::<simd::avx512::Avx512>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                Isa::AvxVnni => unsafe { avx_vnni($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Isa::Wasm => unsafe { $generic::<simd::wasm::Wasm>($($arg),*) },
                _ => unsafe { $generic::<simd::portable::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use per_isa;
