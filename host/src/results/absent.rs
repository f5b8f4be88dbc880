//! Why a column of a result is null: DESIGN's rule that nothing is missing without a reason.

use std::collections::BTreeMap;

use super::record::{Attempt, Measurement};
use crate::job::LoadInfo;

/// What a cell lacks, column by column of the view `results`, with the reason.
pub(super) fn absent(cell: &Attempt) -> BTreeMap<&'static str, &'static str> {
    let Some(info) = &cell.info else {
        return BTreeMap::from([("*", "the target did not load the model")]);
    };
    let mut absent = BTreeMap::new();
    let mut note = |column, missing: bool, reason| {
        if missing {
            absent.insert(column, reason);
        }
    };
    let native = cell.target.starts_with("native:");
    note("browser_name", info.browser.is_none(), "a native target");
    note("browser_version", info.browser.is_none(), "a native target");
    adapter(info, native, &mut note);

    let on_cpu = info.adapter.is_none();
    note("variant", info.variant.is_none(), "the GPU computes");
    note("threads", info.threads.is_none(), "the GPU computes");
    let memory = &info.memory;
    note("memory_wasm", memory.wasm.is_none(), "a native target");
    note(
        "memory_gpu",
        memory.gpu.is_none(),
        if on_cpu {
            "the CPU computes"
        } else {
            "the back end did not tell"
        },
    );
    note(
        "memory_peak_resident",
        memory.peak_resident.is_none(),
        "only Linux tells it of a process",
    );
    note(
        "validity",
        cell.validity.is_none(),
        "no pressure information on this system, or nothing timed",
    );
    note(
        "parity_max_abs",
        cell.parity_max_abs.is_none(),
        "no reference with numbers for this model",
    );
    note(
        "parity_max_rel",
        cell.parity_max_rel.is_none(),
        "no reference with relative errors for this model",
    );
    let measured = |metric: &str| cell.measurements.iter().any(|m| m.metric == metric);
    let nothing = cell.measurements.is_empty();
    let why = |otherwise| {
        if nothing {
            "no times are kept unless the run passes"
        } else {
            otherwise
        }
    };
    for metric in [
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "time_to_first_token_ms",
    ] {
        note(metric, !measured(metric), why("not of this task"));
    }
    for metric in [
        "embed_ms",
        "transcribe_ms",
        "real_time_factor",
        "forward_ms",
    ] {
        note(metric, !measured(metric), why("not of this task"));
    }
    let few = |m: &Measurement| m.observation == "request" && m.p99().is_none();
    if cell.measurements.iter().any(few) {
        for column in [
            "prefill_tokens_per_second_p99",
            "decode_tokens_per_second_p99",
            "time_to_first_token_ms_p99",
            "embed_ms_p99",
        ] {
            note(column, true, "told from 100 repeats on");
        }
    }
    for metric in ["load_ms", "first_run_ms", "input_tokens"] {
        note(metric, !measured(metric), why("the target did not tell"));
    }
    note(
        "energy_joules",
        !measured("energy_joules"),
        why("this system tells no energy, or not to this user"),
    );
    let compiled = if on_cpu {
        "the CPU's plans are made with the first run of each size: see first_run_ms"
    } else {
        "made with the first run of each size: see first_run_ms"
    };
    note("compile_ms", !measured("compile_ms"), why(compiled));
    absent
}

fn adapter(info: &LoadInfo, native: bool, note: &mut impl FnMut(&'static str, bool, &'static str)) {
    let Some(adapter) = &info.adapter else {
        for column in [
            "adapter",
            "adapter_vendor",
            "adapter_driver",
            "adapter_software",
            "adapter_fingerprint",
        ] {
            note(column, true, "the CPU computes");
        }
        return;
    };
    let untold = if native {
        "the driver does not tell"
    } else {
        "the browser does not tell"
    };
    note("adapter_vendor", adapter.vendor.is_none(), untold);
    note("adapter_driver", adapter.driver.is_none(), untold);
    note("adapter_software", adapter.software.is_none(), untold);
    note(
        "adapter_fingerprint",
        adapter.fingerprint.is_none(),
        "made in browsers, which may not name the adapter",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Outcome;

    fn cell(info: Option<LoadInfo>) -> Attempt {
        Attempt {
            outcome: Outcome::Pass,
            validity: Some("valid".into()),
            info,
            parity_max_abs: Some(0.1),
            ..Attempt::begin("native:cpu", "m", "generate")
        }
    }

    #[test]
    fn what_is_there_has_no_reason_and_what_is_not_has_one() {
        let all = absent(&cell(None));
        assert_eq!(all.keys().collect::<Vec<_>>(), [&"*"]);

        let mut there = cell(Some(LoadInfo {
            threads: Some(2),
            ..LoadInfo::default()
        }));
        assert_eq!(
            absent(&there)["load_ms"],
            "no times are kept unless the run passes"
        );
        there.measurements = vec![Measurement::new("load_ms", "ms", vec![1.0])];
        let absent = absent(&there);
        assert!(!absent.contains_key("load_ms") && !absent.contains_key("parity_max_abs"));
        assert!(!absent.contains_key("threads") && absent.contains_key("parity_max_rel"));
        assert_eq!(absent["adapter"], "the CPU computes");
        assert_eq!(absent["embed_ms"], "not of this task");
        assert!(absent["compile_ms"].contains("first_run_ms"));
    }
}
