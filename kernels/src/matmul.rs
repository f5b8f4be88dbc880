//! Batched products: of two run-time operands, and of filters with what the windows of a convolution see.

use crate::threads::{Parallel, Shared, split};

use super::Kernels;
use super::activations::panels;
use super::conv::Patches;
use super::scratch::with_scratch;
use super::simd::{Simd, per_isa};
use super::tile::{COLUMNS, MOST_ROWS, Tile, pack_columns, pack_panels_on, tile};

/// `out[i] = a[i]·b[i]` for each `i < batch`: `a` is `m × k`, `b` is `k × n` (or, transposed, `n × k`),
/// `out` is `m × n`, each dense and row-major.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    pub batch: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// Floats from one `a` to the next; 0 where all share one.
    pub a_step: usize,
    /// Floats from one `b` to the next; 0 where all share one.
    pub b_step: usize,
    /// `b` is `n × k`.
    pub transposed: bool,
}

impl Kernels {
    /// Computes `product`.
    ///
    /// # Panics
    /// If a slice is shorter than `product` says (`out` must have the exact length).
    pub fn matmul(
        self,
        parallel: &dyn Parallel,
        product: &Matmul,
        a: &[f32],
        b: &[f32],
        out: &mut [f32],
    ) {
        let &Matmul { batch, m, k, n, .. } = product;
        assert_eq!(out.len(), batch * m * n);
        if out.is_empty() {
            return;
        }
        if k == 0 {
            return out.fill(0.0);
        }
        assert!(a.len() >= (batch - 1) * product.a_step + m * k);
        assert!(b.len() >= (batch - 1) * product.b_step + k * n);
        let right = match product.transposed {
            true => Right::Transposed(b, product.b_step),
            false => Right::Rows(b, product.b_step),
        };
        let left = Left::Rows(a, product.a_step);
        let job = Job {
            batch,
            m,
            k,
            n,
            left,
            lefts: batch,
            right,
            bias: None,
            out: Shared::new(out),
        };
        job.run(self, parallel);
    }
}

/// The left operands.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// `m × k` each, so many floats apart.
    Rows(&'a [f32], usize),
    /// As [`pack_panels`](super::tile::pack_panels) makes them, one after the other.
    Panels(&'a [f32]),
}

/// The right operands.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    /// `k × n` each, so many floats apart.
    Rows(&'a [f32], usize),
    /// `n × k` each, so many floats apart.
    Transposed(&'a [f32], usize),
    /// What the windows of a convolution see.
    Patches(&'a Patches<'a>),
}

/// Products `out[i] = left[i % lefts] · right[i]`, each dense.
pub(super) struct Job<'a> {
    pub(super) batch: usize,
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) left: Left<'a>,
    pub(super) lefts: usize,
    pub(super) right: Right<'a>,
    /// A number for each row, `m` for each left operand.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) out: Shared<f32>,
}

impl Job<'_> {
    pub(super) fn run(&self, kernels: Kernels, parallel: &dyn Parallel) {
        let packed = match self.left {
            Left::Rows(..) => self.m * self.k,
            Left::Panels(_) => 0,
        };
        let groups = self.n.div_ceil(COLUMNS);
        split(parallel, self.batch * groups, &|range| {
            with_scratch(packed + (self.k + MOST_ROWS) * COLUMNS, |scratch| {
                let range = (range.start, range.end);
                let (packed, scratch) = scratch.split_at_mut(packed);
                // The ISA is available, lengths were checked, and tasks write different columns.
                unsafe { columns(kernels.isa, self, range, packed, scratch) };
            });
        });
    }
}

per_isa! {
    unsafe fn columns(job: &Job<'_>, range: (usize, usize), packed: &mut [f32], scratch: &mut [f32]) = columns_on
}

/// The groups of 16 columns in `range`, counted through all of the batch.
#[inline(always)]
unsafe fn columns_on<S: Simd>(
    job: &Job<'_>,
    range: (usize, usize),
    packed: &mut [f32],
    scratch: &mut [f32],
) {
    let &Job { m, k, n, .. } = job;
    let groups = n.div_ceil(COLUMNS);
    let (group_b, sums) = scratch.split_at_mut(k * COLUMNS);
    let mut packed_for = None;
    for index in range.0..range.1 {
        let (batch, column) = (index / groups, index % groups * COLUMNS);
        let width = COLUMNS.min(n - column);
        let left = batch % job.lefts;
        unsafe {
            let panels_of = match job.left {
                Left::Panels(all) => all[left * m * k..].as_ptr(),
                Left::Rows(a, step) => {
                    if packed_for != Some(left) {
                        let a = a[left * step..].as_ptr();
                        pack_panels_on::<S>(a, k, m, k, packed.as_mut_ptr());
                        packed_for = Some(left);
                    }
                    packed.as_ptr()
                }
            };
            let (b, b_step) = match job.right {
                Right::Patches(patches) => patches.columns(batch, column, width, group_b),
                Right::Transposed(b, step) => {
                    let b = b[batch * step + column * k..].as_ptr();
                    pack_columns(b, k, width, k, group_b.as_mut_ptr());
                    (group_b.as_ptr(), COLUMNS)
                }
                Right::Rows(b, step) if width < COLUMNS => {
                    let b = b[batch * step + column..].as_ptr();
                    for (row, to) in group_b.chunks_exact_mut(COLUMNS).enumerate() {
                        let from = std::slice::from_raw_parts(b.add(row * n), width);
                        to[..width].copy_from_slice(from);
                        to[width..].fill(0.0);
                    }
                    (group_b.as_ptr(), COLUMNS)
                }
                Right::Rows(b, step) => (b[batch * step + column..].as_ptr(), n),
            };
            let out = job.out.at(batch * m * n + column);
            let direct = width == COLUMNS && job.bias.is_none();
            for (row, rows) in panels(m, S::ROWS) {
                let tile_job = Tile {
                    k,
                    a: panels_of.add(row * k),
                    b,
                    b_step,
                    c: if direct {
                        out.add(row * n)
                    } else {
                        sums.as_mut_ptr()
                    },
                    c_step: if direct { n } else { COLUMNS },
                    add: false,
                };
                tile::<S>(rows, tile_job);
                if direct {
                    continue;
                }
                for (r, sums) in sums.chunks_exact(COLUMNS).take(rows).enumerate() {
                    let to = std::slice::from_raw_parts_mut(out.add((row + r) * n), width);
                    let bias = job.bias.map_or(0.0, |bias| bias[left * m + row + r]);
                    for (to, sum) in to.iter_mut().zip(sums) {
                        *to = sum + bias;
                    }
                }
            }
        }
    }
}
