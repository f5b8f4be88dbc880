//! Another sampling rate, and one channel of several.
//!
//! Band-limited interpolation (J. O. Smith, "Digital Audio Resampling", <https://ccrma.stanford.edu/~jos/resample/>):
//! each output sample is a sum of input samples under a windowed sinc whose cut-off lies just below the lower of the
//! two Nyquist frequencies. The parameters are resampy's `kaiser_best`.

use std::f64::consts::PI;

use fewbit_kernels::dot;

use super::{AudioError, MAX_RATE, MIN_RATE};

/// Zero crossings of the sinc to each side.
const CROSSINGS: f64 = 64.0;
/// The cut-off, as a part of the lower Nyquist frequency.
const CUT_OFF: f64 = 0.947_593_716_739_959_6;
/// The Kaiser window's shape.
const BETA: f64 = 14.769_656_459_379_492;
/// The most weights. Rates that need no more have exact ones; others interpolate between neighbours, which are then
/// over 8,000 to a zero crossing.
const MOST_WEIGHTS: usize = 1 << 20;
/// Most channels to be mixed.
pub const MAX_CHANNELS: usize = 64;

/// A stream of mono samples at one rate, to another.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// The rates without their common divisor.
    from: u64,
    to: u64,
    /// `(phases + 1) × taps` weights: the last row serves interpolation.
    weights: Vec<f32>,
    phases: u64,
    taps: usize,
    /// Input not needed no more is dropped; what is kept begins at `first`, which counts the `taps / 2` zeros that
    /// stand before the first sample.
    kept: Vec<f32>,
    first: u64,
    /// Samples taken and given so far.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From `from` to `to` hertz.
    ///
    /// # Errors
    /// A rate is outside [`MIN_RATE`]`..=`[`MAX_RATE`].
    pub fn new(from: u32, to: u32) -> Result<Resampler, AudioError> {
        check_rate(from)?;
        check_rate(to)?;
        let divisor = common_divisor(from, to);
        let (from, to) = (u64::from(from / divisor), u64::from(to / divisor));
        let mut resampler = Resampler {
            from,
            to,
            weights: Vec::new(),
            phases: 0,
            taps: 0,
            kept: Vec::new(),
            first: 0,
            taken: 0,
            given: 0,
        };
        if from != to {
            resampler.make_weights();
        }
        Ok(resampler)
    }

    /// Takes more samples and appends to `out` those that follow from them.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        if self.from == self.to {
            out.extend_from_slice(samples);
            return;
        }
        self.kept.extend_from_slice(samples);
        // The last output sample lies before the end of the input.
        self.give(out, u64::MAX);
    }

    /// Ends the stream: appends what is left, so that n samples have become ⌈n · to / from⌉.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        if self.from == self.to {
            return;
        }
        let total = (self.taken * self.to).div_ceil(self.from);
        self.kept.resize(self.kept.len() + self.taps, 0.0);
        self.give(out, total);
    }

    fn give(&mut self, out: &mut Vec<f32>, total: u64) {
        let taps = self.taps;
        while self.given < total {
            // Where the output sample lies, in input samples: a whole number and a part.
            let place = self.given * self.from;
            let begin = (place / self.to - self.first) as usize;
            let Some(window) = self.kept.get(begin..begin + taps) else {
                break;
            };
            let phase = (place % self.to) * self.phases;
            let row = (phase / self.to) as usize * taps;
            let exact = dot(window, &self.weights[row..row + taps]);
            let between = (phase % self.to) as f32 / self.to as f32;
            out.push(if between == 0.0 {
                exact
            } else {
                let next = dot(window, &self.weights[row + taps..row + 2 * taps]);
                exact + (next - exact) * between
            });
            self.given += 1;
        }
        let needed = (self.given * self.from / self.to).min(self.first + self.kept.len() as u64);
        self.kept.drain(..(needed - self.first) as usize);
        self.first = needed;
    }

    fn make_weights(&mut self) {
        // Input samples a zero crossing: above 1 where the rate goes down.
        let cut_off = CUT_OFF * (self.to as f64 / self.from as f64).min(1.0);
        let half = (CROSSINGS / cut_off).ceil() as usize;
        self.taps = 2 * half;
        self.phases = self.to.min((MOST_WEIGHTS / self.taps) as u64).max(1);
        let scale = bessel(BETA);
        self.weights = Vec::with_capacity((self.phases as usize + 1) * self.taps);
        for phase in 0..=self.phases {
            let part = phase as f64 / self.phases as f64;
            for tap in 0..self.taps {
                // The first of the taps lies `half - 1` samples before the place.
                let x = (tap as f64 - (half - 1) as f64 - part) * cut_off;
                let window = 1.0 - (x / CROSSINGS).powi(2);
                let weight = if window <= 0.0 {
                    0.0
                } else {
                    cut_off * sinc(x) * bessel(BETA * window.sqrt()) / scale
                };
                self.weights.push(weight as f32);
            }
        }
        self.kept = vec![0.0; half - 1];
    }
}

/// All of `samples` from one rate to another.
///
/// # Errors
/// As [`Resampler::new`].
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, AudioError> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

/// Appends the mean of the channels of `interleaved` (`[frames, channels]`) to `mono`.
///
/// # Errors
/// No channel, more than [`MAX_CHANNELS`], or a frame that is not whole.
pub fn mix(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) -> Result<(), AudioError> {
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(AudioError::Channels {
            channels,
            limit: MAX_CHANNELS,
        });
    }
    if !interleaved.len().is_multiple_of(channels) {
        return Err(AudioError::Interleaved {
            samples: interleaved.len(),
            channels,
        });
    }
    if channels == 1 {
        mono.extend_from_slice(interleaved);
        return Ok(());
    }
    let scale = 1.0 / channels as f32;
    mono.extend(
        interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() * scale),
    );
    Ok(())
}

pub(super) fn check_rate(rate: u32) -> Result<(), AudioError> {
    if (MIN_RATE..=MAX_RATE).contains(&rate) {
        Ok(())
    } else {
        Err(AudioError::Rate {
            rate,
            least: MIN_RATE,
            most: MAX_RATE,
        })
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..64 {
        term *= quarter / f64::from(k * k);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}
