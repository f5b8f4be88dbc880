//! Triangular filters on the mel scale (`transformers`' `audio_utils.mel_filter_bank`, librosa's and torchaudio's).

/// Which mel scale, and how its filters are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// 2595 log10(1 + f / 700); filters of height 1.
    Htk,
    /// Slaney's: linear below 1 kHz, logarithmic above; filters of area 1.
    Slaney,
}

impl Scale {
    fn mel(self, hertz: f64) -> f64 {
        match self {
            Scale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            Scale::Slaney if hertz >= 1000.0 => 15.0 + (hertz / 1000.0).ln() * (27.0 / 6.4f64.ln()),
            Scale::Slaney => 3.0 * hertz / 200.0,
        }
    }

    fn hertz(self, mel: f64) -> f64 {
        match self {
            Scale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
            Scale::Slaney if mel >= 15.0 => 1000.0 * ((mel - 15.0) * (6.4f64.ln() / 27.0)).exp(),
            Scale::Slaney => 200.0 * mel / 3.0,
        }
    }
}

/// A bank of filters over the bins of a power spectrum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MelFilters {
    /// The first bin of each filter and its weights from there on; all others are 0.
    filters: Vec<(usize, Vec<f64>)>,
}

impl MelFilters {
    /// `count` filters between `lowest` and `highest` hertz over `bins` frequencies from 0 to half of `rate`.
    pub(super) fn new(
        scale: Scale,
        count: usize,
        bins: usize,
        (lowest, highest): (f64, f64),
        rate: usize,
    ) -> MelFilters {
        let (low, high) = (scale.mel(lowest), scale.mel(highest));
        let edges: Vec<f64> = (0..count + 2)
            .map(|i| scale.hertz(low + (high - low) * i as f64 / (count + 1) as f64))
            .collect();
        // Half of an odd rate is rounded down.
        let bin_width = (rate / 2) as f64 / (bins - 1) as f64;
        let filters = edges
            .windows(3)
            .map(|edge| {
                let area = match scale {
                    Scale::Htk => 1.0,
                    Scale::Slaney => 2.0 / (edge[2] - edge[0]),
                };
                let weight = |bin: usize| {
                    let hertz = bin as f64 * bin_width;
                    let up = (hertz - edge[0]) / (edge[1] - edge[0]);
                    let down = (edge[2] - hertz) / (edge[2] - edge[1]);
                    up.min(down).max(0.0) * area
                };
                let first = (0..bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
                let weights = (first..bins)
                    .map(weight)
                    .take_while(|&weight| weight > 0.0)
                    .collect();
                (first, weights)
            })
            .collect();
        MelFilters { filters }
    }

    pub(super) fn count(&self) -> usize {
        self.filters.len()
    }

    /// The power that each filter lets through.
    pub(super) fn apply<'a>(&'a self, power: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.filters.iter().map(move |(first, weights)| {
            let bins = power[*first..].iter().zip(weights);
            bins.map(|(power, weight)| power * weight).sum()
        })
    }
}
