//! Batched products of two run-time operands.

use crate::backend::cpu::threads::{Parallel, Shared, split};

use super::Kernels;
use super::activations::panels;
use super::scratch::with_scratch;
use super::simd::{Simd, per_isa};
use super::tile::{COLUMNS, Tile, pack_columns, pack_panels_on, tile};

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
        let groups = n.div_ceil(COLUMNS);
        let out = Shared::new(out);
        split(parallel, batch * groups, &|range| {
            with_scratch(m * k + (k + m) * COLUMNS, |scratch| {
                let range = (range.start, range.end);
                // The ISA is available, lengths were checked, and tasks write different columns.
                unsafe { columns(self.isa, product, range, a, b, out, scratch) };
            });
        });
    }
}

per_isa! {
    unsafe fn columns(product: &Matmul, range: (usize, usize), a: &[f32], b: &[f32], out: Shared<f32>, scratch: &mut [f32]) = columns_on
}

/// The groups of 16 columns in `range`, counted through all of the batch.
#[inline(always)]
unsafe fn columns_on<S: Simd>(
    product: &Matmul,
    range: (usize, usize),
    a: &[f32],
    b: &[f32],
    out: Shared<f32>,
    scratch: &mut [f32],
) {
    let &Matmul { m, k, n, .. } = product;
    let groups = n.div_ceil(COLUMNS);
    let (packed, rest) = scratch.split_at_mut(m * k);
    let (group_b, sums) = rest.split_at_mut(k * COLUMNS);
    let mut packed_for = None;
    for index in range.0..range.1 {
        let (batch, column) = (index / groups, index % groups * COLUMNS);
        let width = COLUMNS.min(n - column);
        let a = a[batch * product.a_step..].as_ptr();
        let b = b[batch * product.b_step..].as_ptr();
        unsafe {
            if packed_for != Some(batch) {
                pack_panels_on::<S>(a, k, m, k, packed.as_mut_ptr());
                packed_for = Some(batch);
            }
            let (b, b_step) = if product.transposed {
                pack_columns(b.add(column * k), k, width, k, group_b.as_mut_ptr());
                (group_b.as_ptr(), COLUMNS)
            } else if width < COLUMNS {
                for (row, to) in group_b.chunks_exact_mut(COLUMNS).enumerate() {
                    let from = std::slice::from_raw_parts(b.add(row * n + column), width);
                    to[..width].copy_from_slice(from);
                    to[width..].fill(0.0);
                }
                (group_b.as_ptr(), COLUMNS)
            } else {
                (b.add(column), n)
            };
            let out = out.at(batch * m * n + column);
            for (row, rows) in panels(m, S::ROWS) {
                let direct = width == COLUMNS;
                let job = Tile {
                    k,
                    a: packed[row * k..].as_ptr(),
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
                tile::<S>(rows, job);
                if !direct {
                    for (r, sums) in sums.chunks_exact(COLUMNS).take(rows).enumerate() {
                        let to = out.add((row + r) * n);
                        std::ptr::copy_nonoverlapping(sums.as_ptr(), to, width);
                    }
                }
            }
        }
    }
}
