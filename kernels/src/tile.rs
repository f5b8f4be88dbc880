//! The inner loop of every f32 matrix product: a tile of few rows by 16 columns, held in registers.

use super::activations::next_rows;
use super::simd::{Simd, per_isa};

/// Columns of a tile.
pub(crate) const COLUMNS: usize = 16;
/// The most rows a tile has on any instruction set.
pub(crate) const MOST_ROWS: usize = 14;

/// What one tile reads and writes: `c[r][j] (+)= Σ_k a[k][r]·b[k][j]`, `r < rows`, `j < 16`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) k: usize,
    /// `[k][rows]`, as [`pack_rows`] makes it.
    pub(crate) a: *const f32,
    /// Rows of 16 floats, `b_step` apart.
    pub(crate) b: *const f32,
    pub(crate) b_step: usize,
    /// Rows of 16 floats, `c_step` apart.
    pub(crate) c: *mut f32,
    pub(crate) c_step: usize,
    /// Add to `c` instead of writing it.
    pub(crate) add: bool,
}

/// Computes a tile of `rows`, one of the sizes that
/// [`next_rows`](super::activations::next_rows) gives for `S::ROWS`.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd>(rows: usize, tile: Tile) {
    unsafe {
        match rows {
            14 if S::ROWS >= 14 => rows_of::<S, 14>(tile),
            12 if S::ROWS >= 12 => rows_of::<S, 12>(tile),
            8 if S::ROWS >= 8 => rows_of::<S, 8>(tile),
            6 if S::ROWS >= 6 => rows_of::<S, 6>(tile),
            4 => rows_of::<S, 4>(tile),
            2 => rows_of::<S, 2>(tile),
            _ => rows_of::<S, 1>(tile),
        }
    }
}

#[inline(always)]
unsafe fn rows_of<S: Simd, const R: usize>(tile: Tile) {
    unsafe {
        match S::LANES {
            16 => columns::<S, R, 1>(tile, 0),
            8 => columns::<S, R, 2>(tile, 0),
            _ if R <= 2 => columns::<S, R, 4>(tile, 0),
            _ => {
                // Half the columns at a time: so many sums fit in 16 registers.
                columns::<S, R, 2>(tile, 0);
                columns::<S, R, 2>(tile, 2 * S::LANES);
            }
        }
    }
}

/// `R` rows by `V` vectors of columns from `first` on.
///
/// Counted loops over indices, here and in the other inner loops: iterators over arrays are functions of their own,
/// and where the compiler leaves one of them a call, the sums are no longer in registers.
#[inline(always)]
unsafe fn columns<S: Simd, const R: usize, const V: usize>(tile: Tile, first: usize) {
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        let (mut a, mut b, c) = (tile.a, tile.b.add(first), tile.c.add(first));
        let mut left = tile.k;
        while left > 0 {
            let mut row = [S::splat(0.0); V];
            let mut v = 0;
            while v < V {
                row[v] = S::load(b.add(v * S::LANES));
                v += 1;
            }
            let mut r = 0;
            while r < R {
                let a = S::splat(*a.add(r));
                let mut v = 0;
                while v < V {
                    sums[r][v] = S::mul_add(a, row[v], sums[r][v]);
                    v += 1;
                }
                r += 1;
            }
            a = a.add(R);
            b = b.wrapping_add(tile.b_step);
            left -= 1;
        }
        let mut r = 0;
        while r < R {
            let mut v = 0;
            while v < V {
                let c = c.add(r * tile.c_step + v * S::LANES);
                if tile.add {
                    sums[r][v] = S::add(S::load(c), sums[r][v]);
                }
                S::store(c, sums[r][v]);
                v += 1;
            }
            r += 1;
        }
    }
}

/// `rows` rows of `x` (`step` floats apart, `k` long) to one panel `[k][rows]`.
#[inline(always)]
pub(crate) unsafe fn pack_rows(x: *const f32, step: usize, rows: usize, k: usize, to: *mut f32) {
    for row in 0..rows {
        for column in 0..k {
            unsafe { *to.add(column * rows + row) = *x.add(row * step + column) };
        }
    }
}

/// `k` columns of `rows ≤ 16` rows of `x`, `step` floats apart, to `[k][16]`, zeros for missing rows.
#[inline(always)]
pub(crate) unsafe fn pack_columns(x: *const f32, step: usize, rows: usize, k: usize, to: *mut f32) {
    for row in 0..COLUMNS {
        for column in 0..k {
            unsafe {
                *to.add(column * COLUMNS + row) = if row < rows {
                    *x.add(row * step + column)
                } else {
                    0.0
                };
            }
        }
    }
}

per_isa! {
    /// Packs all `m` rows of `x` into the panels that [`tile`] takes one after the other.
    pub(crate) unsafe fn pack_panels(x: *const f32, step: usize, m: usize, k: usize, to: *mut f32) = pack_panels_on
}

#[inline(always)]
pub(crate) unsafe fn pack_panels_on<S: Simd>(
    x: *const f32,
    step: usize,
    m: usize,
    k: usize,
    to: *mut f32,
) {
    let mut first = 0;
    while first < m {
        let rows = next_rows(m - first, S::ROWS);
        unsafe { pack_rows(x.add(first * step), step, rows, k, to.add(first * k)) };
        first += rows;
    }
}
