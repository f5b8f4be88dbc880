//! Weights times f32 activations: f32, f16 and bf16 weights, and block formats decoded on the way.
//!
//! Tiles of few rows by the 16 columns of a weight group (see [`tile`](super::tile)), in stretches of
//! the inner dimension that leave the group's part in the first-level cache. Weights that are not f32
//! are expanded to such a stretch in scratch memory first.

use crate::element::{DataType, ElementType};
use crate::threads::{Parallel, Shared, split};

use super::activations::panels;
use super::block::{Decoded, decode_group, span};
use super::linear_i8::unpack;
use super::scratch::with_scratch;
use super::simd::{Isa, Simd, per_isa};
use super::tile::{COLUMNS, Tile, pack_panels, tile};
use super::weights::{GROUP, PackedWeights, has_records};

/// Inner-dimension stretch: 16 columns of it take 32 KiB. A multiple of every block's elements.
const STRETCH: usize = 512;
/// Rows of activations that go through all of a task's weights before the next are taken: with a
/// stretch they fit in the second-level cache.
const ROWS: usize = 168;

/// `x` is `m × k`, `out` `m × n`, `bias` (if any) `n`.
pub(crate) fn linear_f32(
    isa: Isa,
    parallel: &dyn Parallel,
    weights: &PackedWeights,
    x: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let k = weights.k;
    let m = x.len() / k;
    with_scratch(if m == 1 { 0 } else { m * k }, |packed| {
        let mut panels = x;
        if m > 1 {
            for first in (0..m).step_by(ROWS) {
                let rows = ROWS.min(m - first);
                // `packed` has room for all rows; `isa` is available.
                unsafe {
                    pack_panels(
                        isa,
                        x[first * k..].as_ptr(),
                        k,
                        rows,
                        k,
                        packed[first * k..].as_mut_ptr(),
                    );
                }
            }
            panels = packed;
        }
        let out = Shared::new(out);
        split(parallel, weights.groups(), &|groups| {
            let job = Job {
                weights,
                groups: (groups.start, groups.end),
                panels,
                rows: m,
                bias,
                out,
            };
            let unpacked = match weights.element {
                ElementType::Block(format) => k * GROUP / 4 + 2 * k / span(format) * GROUP,
                ElementType::Plain(_) => 0,
            };
            with_scratch(unpacked + (STRETCH + ROWS) * COLUMNS, |scratch| {
                let (unpacked, rest) = scratch.split_at_mut(unpacked);
                // `isa` is available; the groups of different tasks are different columns of `out`.
                unsafe { groups_of_columns(isa, &job, unpacked, rest) };
            });
        });
    });
}

struct Job<'a> {
    weights: &'a PackedWeights,
    groups: (usize, usize),
    panels: &'a [f32],
    rows: usize,
    bias: Option<&'a [f32]>,
    out: Shared<f32>,
}

per_isa! {
    unsafe fn groups_of_columns(job: &Job<'_>, unpacked: &mut [f32], scratch: &mut [f32]) = groups_of_columns_on
}

#[inline(always)]
unsafe fn groups_of_columns_on<S: Simd>(job: &Job<'_>, unpacked: &mut [f32], scratch: &mut [f32]) {
    let k = job.weights.k;
    let (expanded, sums) = scratch.split_at_mut(STRETCH * COLUMNS);
    for first in (0..job.rows).step_by(ROWS) {
        let rows = ROWS.min(job.rows - first);
        for group in job.groups.0..job.groups.1 {
            let source = unsafe { Source::of::<S>(job.weights, group, unpacked) };
            for start in (0..k).step_by(STRETCH) {
                let stretch = STRETCH.min(k - start);
                let b = unsafe { source.stretch::<S>(start, stretch, expanded.as_mut_ptr()) };
                for (row, taken) in panels(rows, S::ROWS) {
                    let a = job.panels[(first + row) * k + start * taken..].as_ptr();
                    unsafe {
                        tile::<S>(
                            taken,
                            Tile {
                                k: stretch,
                                a,
                                b,
                                b_step: COLUMNS,
                                c: sums.as_mut_ptr().add(row * COLUMNS),
                                c_step: COLUMNS,
                                add: start > 0,
                            },
                        );
                    }
                }
            }
            for (row, sums) in sums.chunks_exact(COLUMNS).take(rows).enumerate() {
                write_columns(job, group, first + row, sums);
            }
        }
    }
}

#[inline(always)]
fn write_columns(job: &Job<'_>, group: usize, row: usize, sums: &[f32]) {
    let n = job.weights.n;
    let column = group * GROUP;
    let columns = GROUP.min(n - column);
    // Columns of this group belong to this task alone.
    let out = unsafe { std::slice::from_raw_parts_mut(job.out.at(row * n + column), columns) };
    match job.bias {
        Some(bias) => {
            for ((out, sum), bias) in out.iter_mut().zip(sums).zip(&bias[column..]) {
                *out = sum + bias;
            }
        }
        None => out.copy_from_slice(&sums[..columns]),
    }
}

/// Where a group's columns come from.
enum Source<'a> {
    F32(&'a [u8]),
    F16(&'a [u8]),
    Bf16(&'a [u8]),
    Block {
        span: usize,
        q: &'a [u8],
        d: &'a [f32],
        m: &'a [f32],
    },
}

impl<'a> Source<'a> {
    /// Block formats are brought to bytes, scales and offsets in `unpacked`.
    #[inline(always)]
    unsafe fn of<S: Simd>(
        weights: &'a PackedWeights,
        group: usize,
        unpacked: &'a mut [f32],
    ) -> Source<'a> {
        let (bytes, k) = (weights.group(group), weights.k);
        match weights.element {
            ElementType::Plain(DataType::F16) => Source::F16(bytes),
            ElementType::Plain(DataType::Bf16) => Source::Bf16(bytes),
            ElementType::Plain(_) => Source::F32(bytes),
            ElementType::Block(format) => {
                let (q, scales) = unpacked.split_at_mut(k * GROUP / 4);
                let (d, m) = scales.split_at_mut(k / span(format) * GROUP);
                let q: &mut [u8] = bytemuck::cast_slice_mut(q);
                if has_records(format) {
                    let (q, d, m) = (q.as_mut_ptr(), d.as_mut_ptr(), m.as_mut_ptr());
                    unsafe { unpack::<S>(format, bytes, q, d, m) };
                } else {
                    decode_group(format, bytes, Decoded { q, d, m });
                }
                let span = span(format);
                Source::Block { span, q, d, m }
            }
        }
    }

    /// Columns `start..start + len` as f32 `[len][16]`, in place or expanded to `to`.
    #[inline(always)]
    unsafe fn stretch<S: Simd>(&self, start: usize, len: usize, to: *mut f32) -> *const f32 {
        unsafe {
            match *self {
                Source::F32(bytes) => return bytes[start * COLUMNS * 4..].as_ptr().cast(),
                Source::F16(bytes) => {
                    let from: *const u16 = bytes[start * COLUMNS * 2..].as_ptr().cast();
                    for at in (0..len * COLUMNS).step_by(S::LANES) {
                        S::store(to.add(at), S::load_f16(from.add(at)));
                    }
                }
                Source::Bf16(bytes) => {
                    let from: *const u16 = bytes[start * COLUMNS * 2..].as_ptr().cast();
                    for at in (0..len * COLUMNS).step_by(S::LANES) {
                        S::store(to.add(at), S::load_bf16(from.add(at)));
                    }
                }
                Source::Block { span, q, d, m } => {
                    for quad in 0..len / 4 {
                        let column = start + 4 * quad;
                        let q = q[column * GROUP..].as_ptr();
                        let scales = column / span * GROUP;
                        let (d, m) = (d[scales..].as_ptr(), m[scales..].as_ptr());
                        let to = to.add(4 * quad * COLUMNS);
                        for lane in (0..GROUP).step_by(S::LANES) {
                            let w = S::load_i(q.add(4 * lane));
                            let (d, m) = (S::load(d.add(lane)), S::load(m.add(lane)));
                            let parts = [
                                w,
                                S::shift_right::<8>(w),
                                S::shift_right::<16>(w),
                                S::shift_right::<24>(w),
                            ];
                            for (i, w) in parts.into_iter().enumerate() {
                                let w = S::to_f32(S::and(w, S::splat_i32(0xff)));
                                S::store(to.add(i * COLUMNS + lane), S::mul_add(w, d, m));
                            }
                        }
                    }
                }
            }
            to
        }
    }
}
