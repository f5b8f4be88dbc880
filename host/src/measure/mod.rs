//! Measuring one process: a loaded model is held against its reference, and only then timed.
//!
//! [`work`] is what one repeat does, [`samples`] what it gave, [`gate`] the accuracy gate, [`disturbance`] what else the
//! machine did meanwhile, [`energy`] what that took.

pub mod disturbance;
mod energy;
mod gate;
mod samples;
mod work;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use work::{Length, Work};

use crate::job::{LoadInfo, MemoryFacts, RunError};
use crate::results::record::{Attempt, Measurement};
use crate::runner::Runner;
use crate::verify::Reference;
use samples::Samples;

/// How one process is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Protocol {
    /// Before the repeats that count; none where the first run took longer than `seconds`.
    pub warm_up: u32,
    pub repeats: u32,
    /// No repeat begins later than this many seconds after the first, so that a slow target gives few of them instead of
    /// none in time; at least one is made.
    pub seconds: Option<u64>,
}

/// Measures a model that was just loaded and fills `attempt`. Without times where the gate did not hold, and with none but the
/// gate where there is no `work`.
///
/// # Errors
/// When the target cannot run it; what was measured before is dropped by the caller.
pub async fn measure(
    runner: &mut dyn Runner,
    work: Option<&Work>,
    protocol: &Protocol,
    reference: Option<&Reference>,
    attempt: &mut Attempt,
    stage: &(dyn Fn(String) + Sync),
) -> Result<(), RunError> {
    let info = attempt.info.clone().unwrap_or_default();
    let Some(work) = work else {
        stage("checking parity".into());
        gate::hold(runner, reference, attempt).await?;
        return Ok(());
    };
    attempt.measurements = load_times(&info);
    let work = work.fitted(runner).await?;
    let mut memory = MemoryFacts::default();
    // The very first run of this size, before the gate has warmed anything.
    stage("the first run".into());
    let first = Instant::now();
    work.repeat(runner, 0, &mut Samples::default(), &mut memory)
        .await?;
    let first_ms = first.elapsed().as_secs_f64() * 1e3;
    attempt
        .measurements
        .push(Measurement::of_process("first_run_ms", "ms", first_ms));

    stage("checking parity".into());
    if !gate::hold(runner, reference, attempt).await? {
        attempt.measurements.clear();
        return Ok(());
    }
    let slow = |seconds| first_ms > Duration::from_secs(seconds).as_secs_f64() * 1e3;
    let warm_up = match protocol.seconds.is_some_and(slow) {
        true => 0,
        false => protocol.warm_up,
    };
    for i in 0..warm_up {
        stage(format!("warm-up {} of {warm_up}", i + 1));
        work.repeat(runner, 1 + i, &mut Samples::default(), &mut memory)
            .await?;
    }
    let mut samples = Samples::default();
    let watch = disturbance::Watch::begin();
    let meter = energy::Meter::begin();
    let mut made = 0;
    let began = Instant::now();
    for i in 0..protocol.repeats {
        let late = |seconds| began.elapsed() > Duration::from_secs(seconds);
        if i > 0 && protocol.seconds.is_some_and(late) {
            break;
        }
        stage(format!("repeat {} of {}", i + 1, protocol.repeats));
        work.repeat(runner, 1 + protocol.warm_up + i, &mut samples, &mut memory)
            .await?;
        made += 1;
    }
    let energy = meter.and_then(energy::Meter::end);
    watch.end(attempt);
    attempt.measurements.extend(samples.into_measurements());
    if let Some(joules) = energy {
        let each = joules / f64::from(made.max(1));
        let energy = Measurement::of_process("energy_joules", "J", each);
        attempt.measurements.push(energy);
    }
    if let Some(info) = &mut attempt.info {
        // What the runs say is later, and so more, than what the load said.
        let load = std::mem::take(&mut info.memory);
        info.memory = MemoryFacts {
            wasm: memory.wasm.or(load.wasm),
            gpu: memory.gpu.or(load.gpu),
            peak_resident: memory.peak_resident.max(load.peak_resident),
        };
    }
    Ok(())
}

fn load_times(info: &LoadInfo) -> Vec<Measurement> {
    let phases = info.phases.iter();
    [("load_ms", info.load_ms), ("compile_ms", info.compile_ms)]
        .into_iter()
        .filter_map(|(name, ms)| Some(Measurement::of_process(name, "ms", ms?)))
        .chain(phases.map(|(name, ms)| Measurement::of_process(&format!("{name}_ms"), "ms", *ms)))
        .collect()
}
