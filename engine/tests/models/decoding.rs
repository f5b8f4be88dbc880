//! Greedy generation: the reference's ids, the same ids however the context came to be in the KV state.

use fewbit_engine::backend::Activations;
use fewbit_engine::task::Model;
use fewbit_engine::task::generate::{Event, FinishReason, GenerateOptions};
use fewbit_engine::task::sampling::SamplingParams;

use crate::parity::load;
use crate::{devices, files};

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        sampling: SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        },
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

/// The ids generated after `prompt`, and how many prompt tokens needed no computing.
fn generate(model: &mut Model, prompt: &[u32], max_tokens: usize) -> (Vec<u32>, usize) {
    pollster::block_on(async {
        let mut generation = model
            .generate(prompt.to_vec(), &greedy(max_tokens))
            .unwrap();
        loop {
            match model.step(&mut generation).await.unwrap() {
                Event::Prefill { .. } | Event::Token { .. } => {}
                Event::Finished { reason, .. } => {
                    assert_eq!(reason, FinishReason::Length);
                    return (generation.ids().to_vec(), generation.cached_tokens());
                }
            }
        }
    })
}

fn reference_ids(architecture: &str) -> (Vec<u32>, Vec<u32>) {
    let path = files::fixture(architecture);
    let prompt = files::reference(&path)["in.input_ids"].to_f64_vec();
    let json = std::fs::read(path.join("reference.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let ids = json["generated_ids"].as_array().unwrap();
    (
        prompt.into_iter().map(|id| id as u32).collect(),
        ids.iter().map(|id| id.as_u64().unwrap() as u32).collect(),
    )
}

#[test]
fn greedy_ids_are_the_references() {
    for architecture in ["llama", "qwen2", "gpt2", "gpt2-bin"] {
        let (prompt, expected) = reference_ids(architecture);
        for target in devices::all(Activations::Float) {
            let name = format!("{architecture} on {}", target.name);
            let mut model = load(target, architecture);
            let (ids, _) = generate(&mut model, &prompt, expected.len());
            assert_eq!(ids, expected, "{name}");
        }
    }
}

#[test]
fn a_second_turn_computes_only_what_is_new() {
    let (prompt, expected) = reference_ids("llama");
    for target in devices::all(Activations::Float) {
        let name = target.name.clone();
        let mut model = load(target, "llama");
        let (first, cached) = generate(&mut model, &prompt, 8);
        assert_eq!(cached, 0, "{name}");
        let mut longer = prompt.clone();
        longer.extend(&first);
        let (second, cached) = generate(&mut model, &longer, expected.len() - 8);
        // The last generated token was never fed back.
        assert_eq!(cached, longer.len() - 1, "{name}");
        assert_eq!(second, expected[8..], "{name}");
        // Another context takes over from where it differs.
        let (again, cached) = generate(&mut model, &prompt, expected.len());
        assert_eq!(
            (again, cached),
            (expected.clone(), prompt.len() - 1),
            "{name}"
        );
    }
}

/// Prompts of different lengths, a row that ends before the others and a turn that goes on in the same rows: each row
/// has the tokens it has alone.
#[test]
fn rows_of_a_batch_are_what_they_are_alone() {
    for architecture in ["llama", "qwen2", "gpt2"] {
        let (prompt, _) = reference_ids(architecture);
        let long: Vec<u32> = prompt.iter().rev().cycle().take(37).copied().collect();
        let prompts = vec![prompt[..3].to_vec(), long, prompt.clone()];
        for target in devices::all(Activations::Float) {
            let name = format!("{architecture} on {}", target.name);
            let mut model = load(target, architecture);
            let alone: Vec<Vec<u32>> = prompts
                .iter()
                .map(|prompt| generate(&mut model, prompt, 12).0)
                .collect();
            let first = generate_batch(&mut model, prompts.clone(), 6, &name);
            for (first, alone) in first.iter().zip(&alone) {
                assert_eq!(first[..], alone[..6], "{name}");
            }
            let mut next: Vec<Vec<u32>> = prompts.clone();
            for (prompt, first) in next.iter_mut().zip(&first) {
                prompt.extend(first);
            }
            let second = generate_batch(&mut model, next, 6, &name);
            for (second, alone) in second.iter().zip(&alone) {
                assert_eq!(second[..], alone[6..], "{name}");
            }
            // A batch of another size takes the state over.
            let (again, cached) = generate(&mut model, &prompts[2], 12);
            assert_eq!((again, cached), (alone[2].clone(), 0), "{name}");
        }
    }
}

#[test]
fn a_row_that_ends_rests_while_the_others_go_on() {
    let (prompt, expected) = reference_ids("llama");
    let target = devices::all(Activations::Float).remove(0);
    let mut model = load(target, "llama");
    // Only the first row has so little room left in the context.
    let limit = model.facts().context_length;
    let full: Vec<u32> = prompt.iter().copied().cycle().take(limit - 2).collect();
    let batch = vec![full, prompt];
    pollster::block_on(async {
        let mut batch = model.generate_batch(batch, &greedy(8)).unwrap();
        let mut ends = Vec::new();
        while ends.len() < 2 {
            for (row, event) in model.step_batch(&mut batch).await.unwrap() {
                if let Event::Finished { reason, .. } = event {
                    ends.push((row, reason));
                }
            }
        }
        assert_eq!(
            ends,
            [(0, FinishReason::ContextFull), (1, FinishReason::Length)]
        );
        assert_eq!(batch.rows()[0].ids().len(), 2);
        assert_eq!(batch.rows()[1].ids(), &expected[..8]);
        assert!(model.step_batch(&mut batch).await.is_err());
    });
}

/// The ids generated after each of `prompts`; what the state has of them is not computed again.
fn generate_batch(
    model: &mut Model,
    prompts: Vec<Vec<u32>>,
    max_tokens: usize,
    name: &str,
) -> Vec<Vec<u32>> {
    pollster::block_on(async {
        let rows = prompts.len();
        let mut batch = model.generate_batch(prompts, &greedy(max_tokens)).unwrap();
        let mut finished = 0;
        while finished < rows {
            for (_, event) in model.step_batch(&mut batch).await.expect(name) {
                finished += usize::from(matches!(event, Event::Finished { .. }));
            }
        }
        let rows = batch.rows().iter();
        rows.map(|generation| generation.ids().to_vec()).collect()
    })
}

#[test]
fn a_state_that_grows_keeps_what_it_has() {
    // Longer than the first capacity of 256 tokens is more than these models' context: the context's end is an error, and the state grew to it.
    let (prompt, _) = reference_ids("llama");
    let target = devices::all(Activations::Float).remove(0);
    let mut model = load(target, "llama");
    let limit = model.facts().context_length;
    let long: Vec<u32> = prompt.iter().copied().cycle().take(limit + 1).collect();
    let error = model
        .generate(long.clone(), &greedy(1))
        .err()
        .expect("too long");
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
    let mut generation = model
        .generate(long[..limit - 2].to_vec(), &greedy(10))
        .unwrap();
    let reason = pollster::block_on(async {
        loop {
            if let Event::Finished { reason, .. } = model.step(&mut generation).await.unwrap() {
                return reason;
            }
        }
    });
    assert_eq!(reason, FinishReason::ContextFull);
    assert_eq!(generation.ids().len(), 2);
}

#[test]
fn scores_are_those_of_the_reference_logits() {
    let reference = files::reference(&files::fixture("llama"));
    let ids: Vec<u32> = reference["in.input_ids"]
        .to_f64_vec()
        .into_iter()
        .map(|id| id as u32)
        .collect();
    let logits = &reference["out.logits"];
    let vocabulary = logits.shape()[2];
    for target in devices::all(Activations::Float) {
        let mut model = load(target, "llama");
        let scores = pollster::block_on(model.score(&ids)).unwrap();
        assert_eq!(scores.len(), ids.len() - 1);
        let rows = logits.as_f32().unwrap().chunks_exact(vocabulary);
        for ((score, row), &id) in scores.iter().zip(rows).zip(&ids[1..]) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&l| f64::from(l - most).exp()).sum();
            let nll = sum.ln() + f64::from(most) - f64::from(row[id as usize]);
            assert_eq!(score.id, id);
            assert!((score.nll - nll).abs() < 2e-3, "{} {nll}", score.nll);
            assert!(row[score.best as usize] >= most - 1e-3);
        }
    }
}

/// Between two runs of a scoring or a forward the model may be used otherwise, which changes no number.
#[test]
fn what_comes_between_two_runs_changes_nothing() {
    use fewbit_engine::task::forward::Forward;
    use fewbit_engine::task::score::Scoring;
    use fewbit_engine::tensor::Tensor;

    let (prompt, expected) = reference_ids("llama");
    for target in devices::all(Activations::Float) {
        let name = target.name.clone();
        let mut model = load(target, "llama");
        let length = model.facts().context_length.min(200);
        let ids: Vec<u32> = prompt.iter().copied().cycle().take(length).collect();
        let whole = pollster::block_on(model.score(&ids)).unwrap();
        let mut scoring = Scoring::new(ids.clone());
        let mut runs = 0;
        while !pollster::block_on(model.step_score(&mut scoring)).unwrap() {
            runs += 1;
            // Once something else, once what the state has already, and more of it.
            let other = if runs == 1 { &prompt[1..] } else { &ids[..] };
            generate(&mut model, &other[..other.len().min(length - 2)], 2);
        }
        assert!(runs >= 2, "{name}: {runs} runs");
        assert_eq!(scoring.scores().len(), whole.len(), "{name}");
        for (step, whole) in scoring.scores().iter().zip(&whole) {
            assert_eq!((step.id, step.best), (whole.id, whole.best), "{name}");
            assert!((step.nll - whole.nll).abs() < 1e-4, "{name}");
        }

        let rows: Vec<i32> = [&ids[..length / 2], &ids[length / 2..length / 2 * 2]]
            .concat()
            .iter()
            .map(|&id| id as i32)
            .collect();
        let rows = Tensor::from_i32(&[2, length / 2], &rows).unwrap();
        let inputs = [("input_ids".to_owned(), rows)].into();
        let whole = pollster::block_on(model.forward(&inputs, &[])).unwrap();
        let mut forward = Forward::new(inputs, vec![]);
        let mut runs = 1;
        let stepped = loop {
            if let Some(outputs) = pollster::block_on(model.step_forward(&mut forward)).unwrap() {
                break outputs;
            }
            runs += 1;
            generate(&mut model, &prompt, expected.len().min(2));
        };
        assert!(runs >= 2, "{name}: {runs} runs");
        let (a, b) = (&stepped["logits"], &whole["logits"]);
        assert_eq!(a.shape(), b.shape(), "{name}");
        let apart = a.as_f32().unwrap().iter().zip(b.as_f32().unwrap());
        let most = apart.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(most < 1e-4, "{name}: {most}");
    }
}

/// The device goes in the middle of a text; the session opens another, fills the KV state again and goes on.
#[test]
#[cfg(feature = "gpu")]
fn a_lost_device_changes_no_token() {
    let (prompt, expected) = reference_ids("llama");
    for target in devices::gpu(fewbit_engine::backend::NumericPolicy::default()) {
        let name = target.name.clone();
        let mut model = load(target, "llama");
        pollster::block_on(async {
            let options = greedy(expected.len());
            let mut generation = model.generate(prompt.clone(), &options).unwrap();
            let mut tokens = 0;
            loop {
                match model.step(&mut generation).await.unwrap() {
                    Event::Finished { .. } => break,
                    Event::Token { .. } => tokens += 1,
                    Event::Prefill { .. } => continue,
                }
                if tokens == 5 || tokens == 11 {
                    assert!(model.lose_device(), "{name}");
                }
            }
            assert_eq!(generation.ids(), expected, "{name}");
        });
        assert_eq!(model.session().recoveries(), 2, "{name}");
    }
}
