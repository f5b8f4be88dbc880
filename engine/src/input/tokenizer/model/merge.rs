//! Merging neighbours, best pair first: the loop that BPE by rank and BPE by score share.
//!
//! A heap of candidate pairs over a linked list of symbols, O(n log n) in the length of the piece, so
//! that a piece of a million characters ends as well.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A run of bytes of the piece that has become one token, or `NONE` where there is no token (yet).
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) id: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// No token.
pub(super) const NONE: u32 = u32::MAX;

const NO_LINK: usize = usize::MAX;

/// Merges until no pair has a candidate. `candidate(left, right)` gives the priority of merging two
/// neighbours (smaller goes first, then the one further left) and the id of what they become.
pub(super) fn merge_all(
    symbols: &mut Vec<Symbol>,
    candidate: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>,
) {
    let count = symbols.len();
    if count < 2 {
        return;
    }
    let mut next: Vec<usize> = (1..count).chain([NO_LINK]).collect();
    let mut previous: Vec<usize> = [NO_LINK].into_iter().chain(0..count - 1).collect();
    let mut dead = vec![false; count];
    let mut heap = BinaryHeap::new();
    for left in 0..count - 1 {
        if let Some((priority, id)) = candidate(&symbols[left], &symbols[left + 1]) {
            heap.push(Reverse((priority, left, id)));
        }
    }
    while let Some(Reverse((priority, left, id))) = heap.pop() {
        if dead[left] || next[left] == NO_LINK {
            continue;
        }
        let right = next[left];
        // The neighbours may have changed since the pair was pushed.
        if candidate(&symbols[left], &symbols[right]) != Some((priority, id)) {
            continue;
        }
        symbols[left].id = id;
        symbols[left].end = symbols[right].end;
        dead[right] = true;
        next[left] = next[right];
        if next[right] != NO_LINK {
            previous[next[right]] = left;
        }
        for (a, b) in [(previous[left], left), (left, next[left])] {
            if a != NO_LINK
                && b != NO_LINK
                && let Some((priority, id)) = candidate(&symbols[a], &symbols[b])
            {
                heap.push(Reverse((priority, a, id)));
            }
        }
    }
    let mut at = 0;
    symbols.retain(|_| {
        at += 1;
        !dead[at - 1]
    });
}
