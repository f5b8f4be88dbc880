//! Rotary position embedding (RoFormer, section 3.4) from tables of cosines and sines.

use crate::threads::{Parallel, Shared, split};

use super::Kernels;

/// Which numbers of a head are turned, and by which rows of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Rotary {
    pub heads: usize,
    pub head_dim: usize,
    /// The first so many numbers of each head are turned, the others copied; even.
    pub rotary_dim: usize,
    /// Pairs are neighbours (2i, 2i + 1); else they are (i, i + rotary_dim / 2).
    pub interleaved: bool,
}

impl Kernels {
    /// Turns each pair `(a, b)` of `x[token][heads][head_dim]` to `(a·c − b·s, a·s + b·c)`, with `c` and
    /// `s` from row `positions[token]` of `cos` and `sin`, which have `rotary_dim / 2` columns.
    ///
    /// # Panics
    /// If lengths do not fit or a position is not in the tables.
    #[allow(clippy::too_many_arguments)]
    pub fn rotary(
        self,
        parallel: &dyn Parallel,
        rotary: &Rotary,
        x: &[f32],
        cos: &[f32],
        sin: &[f32],
        positions: &[i32],
        out: &mut [f32],
    ) {
        let &Rotary {
            heads,
            head_dim,
            rotary_dim,
            interleaved,
        } = rotary;
        let (token, pairs) = (heads * head_dim, rotary_dim / 2);
        assert!(rotary_dim <= head_dim && rotary_dim % 2 == 0);
        assert_eq!(x.len(), out.len());
        assert_eq!(x.len(), positions.len() * token);
        assert_eq!(cos.len(), sin.len());
        let shared = Shared::new(out);
        let work = |range: std::ops::Range<usize>| {
            for i in range {
                let position = usize::try_from(positions[i]).expect("a position of a token");
                let cos = &cos[position * pairs..][..pairs];
                let sin = &sin[position * pairs..][..pairs];
                // Tokens of different tasks do not overlap.
                let out = unsafe { std::slice::from_raw_parts_mut(shared.at(i * token), token) };
                let x = &x[i * token..][..token];
                for (x, out) in x.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)) {
                    let (x, kept) = x.split_at(rotary_dim);
                    let (out, kept_out) = out.split_at_mut(rotary_dim);
                    if interleaved {
                        turn_neighbours(x, cos, sin, out);
                    } else {
                        turn_halves(x, cos, sin, out);
                    }
                    kept_out.copy_from_slice(kept);
                }
            }
        };
        if positions.len() < 8 {
            work(0..positions.len());
        } else {
            split(parallel, positions.len(), &work);
        }
    }
}

fn turn_neighbours(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let (x, out) = (x.as_chunks::<2>().0, out.as_chunks_mut::<2>().0);
    for ((&[a, b], out), (c, s)) in x.iter().zip(out).zip(cos.iter().zip(sin)) {
        *out = [a * c - b * s, a * s + b * c];
    }
}

fn turn_halves(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let (a, b) = x.split_at(cos.len());
    let (out_a, out_b) = out.split_at_mut(cos.len());
    let pairs = a.iter().zip(b).zip(cos.iter().zip(sin));
    for ((out_a, out_b), ((a, b), (c, s))) in out_a.iter_mut().zip(out_b).zip(pairs) {
        *out_a = a * c - b * s;
        *out_b = a * s + b * c;
    }
}
