//! Encoders on the same graph and the same input: fewbit beside onnxruntime-web, which gets the graph as an ONNX file that
//! `fewbit-onnx` makes of the checkpoint before the measurement. The outputs are held against each other first; a pair
//! that disagrees is not timed.
//!
//! fewbit runs through `model.forward`, so that nothing but the encoder is in its time; what a task adds (a tokenizer, a
//! spectrogram) is left out on both sides. What Whisper's encoder leaves for its decoder, the keys and values of
//! cross-attention, both compute.

use anyhow::{Context, Result, ensure};
use fewbit_host::browser::Session;
use fewbit_host::store::ModelFiles;
use serde_json::{Value, json};

use crate::encoder::{ONNX_FILE, Prepared};
use crate::{LOAD, RUN, call, listed, median, ratio};

/// Runs in each turn; the first of each is thrown away.
const RUNS: usize = 3;

/// The most that the outputs may differ: the length of the difference over that of the peer's output.
const MOST_DIFFERENCE: f64 = 1e-3;

/// `backend` is `wasm` or `webnn`, for both; `base` is where the page finds what was prepared.
pub(crate) async fn encode(
    session: &mut Session,
    backend: &str,
    model: &ModelFiles,
    prepared: &Prepared,
    base: &str,
    rounds: usize,
) -> Result<Value> {
    let names = ["fewbit:encode", "onnxruntime-web:encode"];
    let mut loads = Vec::new();
    for name in names {
        let input = json!({
            "name": name, "backend": backend, "model": listed(model), "onnx": format!("{base}/{ONNX_FILE}"),
            "inputs": { "base": format!("{base}/"), "tensors": prepared.inputs }, "output": prepared.output,
        });
        loads.push(call(session, "load", input, LOAD).await?);
    }
    // A warm-up each, whose outputs are compared.
    for name in names {
        call(session, "encode", json!({ "name": name }), RUN).await?;
    }
    let input = json!({ "name": names[0], "peer": names[1] });
    let compared = call(session, "compare", input, RUN).await?;
    let difference = compared["difference"].as_f64().unwrap_or(f64::NAN);
    ensure!(
        difference <= MOST_DIFFERENCE,
        "{}: the outputs differ by {difference:e} of their length ({compared})",
        model.name
    );
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for which in (0..rounds).flat_map(|_| [0, 1, 1, 0]) {
        for turn in 0..RUNS {
            let run = call(session, "encode", json!({ "name": names[which] }), RUN).await?;
            let ms = run["ms"].as_f64().context("no time")?;
            if turn > 0 {
                times[which].push(ms);
                eprintln!("{} {}: {ms:.0} ms", names[which], model.name);
            }
        }
    }
    for name in names {
        call(session, "close", json!({ "name": name }), RUN).await?;
    }
    let [ours, theirs] = times.each_ref().map(|times| median(times.iter().copied()));
    Ok(json!({
        "model": model.name, "backend": backend, "what": prepared.what, "output": prepared.output,
        "fewbit": { "ms": ours, "load": loads[0] }, "onnxruntime-web": { "ms": theirs, "load": loads[1] },
        "ratio": ratio(&json!(theirs), &json!(ours)), "compared": compared,
        "runs": { "fewbit": times[0], "onnxruntime-web": times[1] },
    }))
}

/// One line a model.
pub(crate) fn print(title: &str, encoders: &[Value]) {
    println!(
        "\n{title:<34}{:>10}{:>10}{:>8}",
        "fewbit", "ort-web", "ratio"
    );
    for encoder in encoders {
        let number = |value: &Value, digits: usize| {
            value
                .as_f64()
                .map_or("-".into(), |value| format!("{value:.digits$}"))
        };
        let text = |name: &str| encoder[name].as_str().unwrap_or_default().to_owned();
        println!(
            "{:<34}{:>10}{:>10}{:>8}  the outputs differ by {:.1e}",
            format!("{}, {}", text("model"), text("what")),
            number(&encoder["fewbit"]["ms"], 1),
            number(&encoder["onnxruntime-web"]["ms"], 1),
            number(&encoder["ratio"], 2),
            encoder["compared"]["difference"]
                .as_f64()
                .unwrap_or(f64::NAN),
        );
    }
}
