//! The ratio of two cells with its interval, by a hierarchical bootstrap: processes are drawn anew, with replacement, and in
//! each its repeats, since the processes differ more than the repeats of one (Davison and Hinkley 1997, section 3.8).
//!
//! What is compared is the geometric mean, over processes, of the mean of their repeats. The interval has the middle 95 % of
//! the drawn ratios. Draws are from a generator with a fixed seed, so that the same samples give the same interval.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Ratios drawn.
const DRAWS: usize = 2_000;
const SEED: u64 = 0x6665_7762_6974;

/// One process: its repeats.
pub type Process = Vec<f64>;

/// How many times B's number A's is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: f64,
    /// The ends of the middle 95 %; none where a side has one process, whose like nobody knows.
    pub interval: Option<(f64, f64)>,
}

/// Of processes that were measured at different times: what lies between them is in the interval. `None` where a side has
/// no positive numbers.
pub fn unpaired(a: &[Process], b: &[Process]) -> Option<Ratio> {
    let ratio = (level(a)? - level(b)?).exp();
    let mut random = StdRng::seed_from_u64(SEED);
    let known = a.len() > 1 && b.len() > 1;
    Some(Ratio {
        ratio,
        interval: known.then(|| {
            middle(|| {
                let a = level(&drawn(a, &mut random));
                let b = level(&drawn(b, &mut random));
                a.zip(b).map(|(a, b)| a - b)
            })
        }),
    })
}

/// Of blocks in which both sides were measured in turn: blocks are drawn as wholes.
pub fn paired(blocks: &[(Vec<Process>, Vec<Process>)]) -> Option<Ratio> {
    let of = |blocks: &[(Vec<Process>, Vec<Process>)]| -> Option<f64> {
        let each: Option<Vec<f64>> = blocks
            .iter()
            .map(|(a, b)| Some(level(a)? - level(b)?))
            .collect();
        let each = each?;
        (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
    };
    let ratio = of(blocks)?.exp();
    let mut random = StdRng::seed_from_u64(SEED);
    Some(Ratio {
        ratio,
        interval: (blocks.len() > 1).then(|| {
            middle(|| {
                let draw = |random: &mut StdRng| {
                    let (a, b) = &blocks[random.random_range(0..blocks.len())];
                    (within(a, random), within(b, random))
                };
                let drawn: Vec<_> = (0..blocks.len()).map(|_| draw(&mut random)).collect();
                of(&drawn)
            })
        }),
    })
}

/// How far the ends of the interval of what processes have in common lie from it, the further one, as a share of it. `None`
/// of fewer than two processes, whose like nobody knows, and of numbers that are not positive.
pub fn half_width(processes: &[Process]) -> Option<f64> {
    let own = level(processes)?;
    if processes.len() < 2 {
        return None;
    }
    let mut random = StdRng::seed_from_u64(SEED);
    let (low, high) = middle(|| level(&drawn(processes, &mut random)).map(|drawn| drawn - own));
    Some((1.0 - low).max(high - 1.0))
}

/// The logarithm of the geometric mean over processes.
fn level(processes: &[Process]) -> Option<f64> {
    let mut sum = 0.0;
    for repeats in processes {
        let mean = repeats.iter().sum::<f64>() / repeats.len() as f64;
        if mean <= 0.0 || !mean.is_finite() {
            return None;
        }
        sum += mean.ln();
    }
    (!processes.is_empty()).then(|| sum / processes.len() as f64)
}

fn drawn(processes: &[Process], random: &mut StdRng) -> Vec<Process> {
    let chosen: Vec<Process> = (0..processes.len())
        .map(|_| processes[random.random_range(0..processes.len())].clone())
        .collect();
    within(&chosen, random)
}

/// The same processes with their repeats drawn anew.
fn within(processes: &[Process], random: &mut StdRng) -> Vec<Process> {
    processes
        .iter()
        .map(|repeats| {
            let draw = |random: &mut StdRng| repeats[random.random_range(0..repeats.len())];
            (0..repeats.len()).map(|_| draw(random)).collect()
        })
        .collect()
}

fn middle(mut draw: impl FnMut() -> Option<f64>) -> (f64, f64) {
    let mut ratios: Vec<f64> = (0..DRAWS).filter_map(|_| draw()).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| match ratios.len() {
        0 => f64::NAN,
        n => ratios[((n - 1) as f64 * share).round() as usize].exp(),
    };
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(random: &mut StdRng, center: f64, count: usize) -> Vec<Process> {
        (0..count)
            .map(|_| {
                let own = center * (1.0 + 0.1 * (random.random::<f64>() - 0.5));
                (0..5)
                    .map(|_| own * (1.0 + 0.02 * (random.random::<f64>() - 0.5)))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_known_ratio_is_mostly_inside() {
        let mut random = StdRng::seed_from_u64(7);
        let (mut inside, mut together) = (0, 0);
        for _ in 0..60 {
            let (a, b) = (
                processes(&mut random, 30.0, 10),
                processes(&mut random, 20.0, 10),
            );
            let found = unpaired(&a, &b).unwrap();
            let (low, high) = found.interval.unwrap();
            assert!(low <= found.ratio && found.ratio <= high);
            inside += usize::from(low <= 1.5 && 1.5 <= high);
            // What drifts meets both sides of a block alike.
            let blocks: Vec<_> = (0..10)
                .map(|_| {
                    let drift = 1.0 + random.random::<f64>();
                    let scaled = |c: f64, random: &mut StdRng| processes(random, c * drift, 2);
                    (scaled(30.0, &mut random), scaled(20.0, &mut random))
                })
                .collect();
            let (low, high) = paired(&blocks).unwrap().interval.unwrap();
            together += usize::from(low <= 1.5 && 1.5 <= high && high / low < 1.2);
        }
        assert!(inside >= 48, "{inside} of 60");
        assert!(together >= 48, "{together} of 60");
    }

    #[test]
    fn units_do_not_matter_and_the_sides_turn_it_over() {
        let mut random = StdRng::seed_from_u64(9);
        let (a, b) = (
            processes(&mut random, 3.0, 4),
            processes(&mut random, 2.0, 5),
        );
        let thousand = |all: &[Process]| -> Vec<Process> {
            all.iter()
                .map(|p| p.iter().map(|x| x * 1e3).collect())
                .collect()
        };
        let near = |x: f64, y: f64| (x / y - 1.0).abs() < 1e-9;
        let one = unpaired(&a, &b).unwrap();
        let scaled = unpaired(&thousand(&a), &thousand(&b)).unwrap();
        let (one_interval, scaled_interval) = (one.interval.unwrap(), scaled.interval.unwrap());
        assert!(near(one.ratio, scaled.ratio) && near(one_interval.0, scaled_interval.0));
        assert!(near(unpaired(&b, &a).unwrap().ratio, 1.0 / one.ratio));
        assert_eq!(unpaired(&a, &b), Some(one), "the same draws");
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let one = vec![vec![2.0, 2.0]];
        let found = unpaired(&one, &[vec![1.0], vec![1.0]]).unwrap();
        assert_eq!((found.ratio, found.interval), (2.0, None));
        assert_eq!(unpaired(&[], &one), None);
        assert_eq!(unpaired(&[vec![0.0]], &one), None);
        assert_eq!(paired(&[]), None);
        assert_eq!(paired(&[(one.clone(), one)]).unwrap().interval, None);
    }

    #[test]
    fn an_interval_narrows_with_processes() {
        let mut random = StdRng::seed_from_u64(5);
        let all = processes(&mut random, 20.0, 40);
        let (few, many) = (half_width(&all[..4]).unwrap(), half_width(&all).unwrap());
        assert!(many < few && many > 0.0 && few < 0.1, "{few} {many}");
        assert_eq!(half_width(&all[..1]), None);
        assert_eq!(half_width(&[vec![1.0], vec![0.0]]), None);
        assert_eq!(half_width(&[vec![2.0], vec![2.0]]), Some(0.0));
    }
}
