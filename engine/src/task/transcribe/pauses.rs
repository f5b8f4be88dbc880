//! Where a window is quiet. Whisper's own times are coarse around long pauses, and it tends to fill them with words or to
//! pass over what follows; so a window begins with sound, ends at a long pause, and its segments do not reach into one.
//! In a recording whose background is not quiet there are no pauses, and windows are as published.

use std::ops::Range;

/// Quieter than this (root mean square of samples from -1 to 1; three steps of 16 bits) is silence.
const SILENCE: f64 = 1e-4;

/// Quieter than this part of what is loud in the window, 40 dB below, is a pause too.
const BELOW_LOUD: f64 = 0.01;

/// A tenth of the window's steps are louder than what is taken for loud.
const LOUD_SHARE: usize = 10;

/// Steps of a window with sound in them.
#[derive(Debug, Default)]
pub(super) struct Sounding {
    steps: Vec<bool>,
}

impl Sounding {
    /// Looks at `samples` in steps of `step` samples.
    pub(super) fn of(samples: &[f32], step: usize) -> Sounding {
        let loudness = |piece: &[f32]| {
            let power: f64 = piece.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            (power / piece.len() as f64).sqrt()
        };
        let loudness: Vec<f64> = samples.chunks(step).map(loudness).collect();
        let mut sorted = loudness.clone();
        sorted.sort_by(f64::total_cmp);
        let loud = sorted.iter().rev().nth(sorted.len() / LOUD_SHARE);
        let least = (loud.copied().unwrap_or(0.0) * BELOW_LOUD).max(SILENCE);
        Sounding {
            steps: loudness
                .into_iter()
                .map(|loudness| loudness >= least)
                .collect(),
        }
    }

    /// The first stretch of at least `least` steps without a pause of `pause` steps in it.
    pub(super) fn stretch(&self, least: usize, pause: usize) -> Option<Range<usize>> {
        let mut found: Option<Range<usize>> = None;
        for (at, _) in self.steps.iter().enumerate().filter(|(_, sounds)| **sounds) {
            match &mut found {
                Some(range) if at - range.end < pause => range.end = at + 1,
                Some(range) if range.len() >= least => break,
                _ => found = Some(at..at + 1),
            }
        }
        found.filter(|range| range.len() >= least)
    }

    /// Where sound begins again behind the first pause of `pause` steps from step `from` on, if `least` steps there, up to step
    /// `to`, have sound in them.
    pub(super) fn again(
        &self,
        from: usize,
        to: usize,
        pause: usize,
        least: usize,
    ) -> Option<usize> {
        let steps = &self.steps[..to.min(self.steps.len())];
        let mut quiet = 0;
        for (at, &sounds) in steps.iter().enumerate().skip(from) {
            match sounds {
                false => quiet += 1,
                true if quiet < pause => quiet = 0,
                true => {
                    let rest = steps[at..].iter().filter(|&&sounds| sounds).count();
                    return (rest >= least).then_some(at);
                }
            }
        }
        None
    }

    /// `range` without what is quiet at its ends; as it is where all is.
    pub(super) fn trim(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.steps.len());
        let steps = self
            .steps
            .get(range.start.min(end)..end)
            .unwrap_or_default();
        let first = steps.iter().position(|&sounds| sounds);
        let last = steps.iter().rposition(|&sounds| sounds);
        match (first, last) {
            (Some(first), Some(last)) => range.start + first..range.start + last + 1,
            _ => range,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sounding;

    fn sounding(steps: &str) -> Sounding {
        let loudness = |step| match step {
            '#' => 0.5,
            '+' => 0.05,
            _ => 0.0001,
        };
        let samples: Vec<f32> = steps
            .chars()
            .flat_map(|step| [loudness(step), -loudness(step)])
            .collect();
        Sounding::of(&samples, 2)
    }

    #[test]
    fn stretches_end_at_long_pauses() {
        let window = sounding("..##.+#....##..");
        assert_eq!(window.stretch(1, 3), Some(2..7));
        assert_eq!(window.stretch(1, 5), Some(2..13));
        assert_eq!(window.stretch(1, 1), Some(2..4));
        // A click is passed over.
        assert_eq!(sounding("#....##.#..").stretch(2, 3), Some(5..9));
        assert_eq!(sounding("#....").stretch(2, 3), None);
        assert_eq!(
            sounding("+++++").stretch(1, 3),
            Some(0..5),
            "nothing is louder"
        );
        assert_eq!(sounding(".....").stretch(1, 3), None);
        assert_eq!(Sounding::of(&[0.0; 9], 2).stretch(1, 3), None);
        assert_eq!(Sounding::of(&[], 2).stretch(1, 3), None);
    }

    #[test]
    fn sound_begins_again_behind_a_pause() {
        let window = sounding("..##.+#....##..");
        assert_eq!(window.again(0, 15, 2, 1), Some(2));
        assert_eq!(window.again(3, 15, 2, 2), Some(11));
        assert_eq!(window.again(3, 15, 1, 1), Some(5));
        assert_eq!(window.again(3, 15, 2, 3), None, "too little of it");
        assert_eq!(window.again(3, 12, 2, 2), None, "beyond the end");
        assert_eq!(window.again(3, 15, 5, 1), None, "no such pause");
        assert_eq!(window.again(99, 15, 1, 1), None);
    }

    #[test]
    fn ranges_lose_their_quiet_ends() {
        let window = sounding("..##.+#....##..");
        assert_eq!(window.trim(0..10), 2..7);
        assert_eq!(window.trim(3..99), 3..13);
        assert_eq!(window.trim(7..10), 7..10);
        assert_eq!(window.trim(50..60), 50..60);
    }
}
