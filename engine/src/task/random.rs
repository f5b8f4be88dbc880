//! Random numbers that are the same natively and in wasm: PCG XSL RR 128/64 (O'Neill, 2014,
//! <https://www.pcg-random.org/paper.html>), seeded through SplitMix64 (Steele et al., 2014).

/// A stream of random numbers, settled by its seed.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u128,
}

const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
const INCREMENT: u128 = 0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F;

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let high = split_mix(&mut mixed);
        let low = split_mix(&mut mixed);
        let mut random = Self {
            state: u128::from(high) << 64 | u128::from(low),
        };
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// From 0 up to but not including 1, in steps of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_stay_what_they_are() {
        // SplitMix64's published first outputs for seed 1234567.
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
        let mut a = Random::new(7);
        let mut b = Random::new(7);
        let mut c = Random::new(8);
        let draws: Vec<u64> = (0..4).map(|_| a.next()).collect();
        assert_eq!(draws, (0..4).map(|_| b.next()).collect::<Vec<_>>());
        assert_ne!(draws, (0..4).map(|_| c.next()).collect::<Vec<_>>());
    }

    #[test]
    fn draws_fill_the_unit_interval_evenly() {
        let mut random = Random::new(0);
        let mut bins = [0u32; 10];
        for _ in 0..100_000 {
            let draw = random.unit();
            assert!((0.0..1.0).contains(&draw));
            bins[(draw * 10.0) as usize] += 1;
        }
        // 10,000 each, with a standard deviation of 95.
        assert!(bins.iter().all(|&count| (9_500..10_500).contains(&count)));
    }
}
