//! Buffers that values share over time: each value takes the free slot that fits it best.

/// Slots, by number.
#[derive(Debug, Default)]
pub(super) struct Slots {
    sizes: Vec<u64>,
    free: Vec<usize>,
}

impl Slots {
    /// A slot that nothing uses: the smallest free one that is large enough, else the largest free one,
    /// which grows, else a new one.
    pub(super) fn take(&mut self, bytes: u64) -> usize {
        let fit = |slots: &Slots, i: usize| {
            let size = slots.sizes[slots.free[i]];
            (
                size < bytes,
                if size < bytes { u64::MAX - size } else { size },
            )
        };
        match (0..self.free.len()).min_by_key(|&i| fit(self, i)) {
            Some(best) => {
                let slot = self.free.swap_remove(best);
                self.sizes[slot] = self.sizes[slot].max(bytes);
                slot
            }
            None => {
                self.sizes.push(bytes);
                self.sizes.len() - 1
            }
        }
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.free.push(slot);
    }

    pub(super) fn sizes(&self) -> Vec<u64> {
        self.sizes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_reused_by_the_value_that_fits_it() {
        let mut slots = Slots::default();
        let (a, b, c) = (slots.take(100), slots.take(10), slots.take(1000));
        slots.free(a);
        slots.free(b);
        slots.free(c);
        assert_eq!(slots.take(90), a);
        assert_eq!(slots.take(2000), c);
        assert_eq!(slots.take(5), b);
        assert_eq!(slots.sizes(), [100, 10, 2000]);
        assert_eq!(slots.take(1), 3);
    }
}
