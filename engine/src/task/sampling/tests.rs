use super::*;
use proptest::prelude::*;

fn sampler(params: SamplingParams) -> Sampler {
    Sampler::new(params, &[]).unwrap()
}

fn drawing() -> SamplingParams {
    SamplingParams {
        temperature: 1.0,
        ..SamplingParams::default()
    }
}

/// How often each id was chosen in `draws` draws from the same logits.
fn frequencies(params: &SamplingParams, logits: &[f32], draws: usize) -> Vec<f64> {
    let mut sampler = sampler(params.clone());
    let mut counts = vec![0usize; logits.len()];
    for _ in 0..draws {
        counts[sampler.choose(logits).unwrap().id as usize] += 1;
    }
    counts
        .iter()
        .map(|&count| count as f64 / draws as f64)
        .collect()
}

#[test]
fn the_default_is_greedy_and_the_first_of_equals_wins() {
    let choice = sampler(SamplingParams::default())
        .choose(&[1.0, 3.0, 3.0, -1.0])
        .unwrap();
    assert_eq!(choice.id, 1);
    let sum: f64 = [1.0f64, 3.0, 3.0, -1.0].iter().map(|x| x.exp()).sum();
    assert!((f64::from(choice.logprob) - (3.0 - sum.ln())).abs() < 1e-6);
}

#[test]
fn draws_follow_the_tempered_softmax() {
    let logits = [0.0, 1.0, 2.0, -1.0];
    for temperature in [0.5f32, 1.0, 2.0] {
        let params = SamplingParams {
            temperature,
            ..drawing()
        };
        let weights: Vec<f64> = logits
            .iter()
            .map(|&x| f64::from(x / temperature).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        for (seen, weight) in frequencies(&params, &logits, 40_000).iter().zip(weights) {
            // Four standard deviations of a proportion near one half.
            assert!(
                (seen - weight / sum).abs() < 0.01,
                "{seen} {}",
                weight / sum
            );
        }
    }
}

#[test]
fn filters_keep_what_they_say() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln);
    let kept = |params: SamplingParams| -> Vec<bool> {
        let seen = frequencies(&params, &logits, 4_000);
        seen.iter().map(|&frequency| frequency > 0.0).collect()
    };
    assert_eq!(
        kept(SamplingParams {
            top_k: 2,
            ..drawing()
        }),
        [true, true, false, false]
    );
    // Of equal tokens the one with the smaller id stays.
    assert_eq!(
        kept(SamplingParams {
            top_k: 3,
            ..drawing()
        }),
        [true, true, true, false]
    );
    assert_eq!(
        kept(SamplingParams {
            top_p: 0.6,
            ..drawing()
        }),
        [true, true, false, false]
    );
    assert_eq!(
        kept(SamplingParams {
            top_p: 0.1,
            ..drawing()
        }),
        [true, false, false, false]
    );
    assert_eq!(
        kept(SamplingParams {
            min_p: 0.4,
            ..drawing()
        }),
        [true, true, false, false]
    );
    assert_eq!(
        kept(SamplingParams {
            min_p: 1.0,
            ..drawing()
        }),
        [true, false, false, false]
    );
    // Top-p counts within what top-k left: 0.5 of 0.75 is two thirds.
    let both = SamplingParams {
        top_k: 2,
        top_p: 0.6,
        ..drawing()
    };
    assert_eq!(kept(both), [true, false, false, false]);
}

#[test]
fn penalties_turn_away_from_what_was_said() {
    let params = SamplingParams {
        repetition_penalty: 2.0,
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::new(params, &[0]).unwrap();
    // 4 / 2 < 3, then 3 / 2 < 2; then 2 / 2 < 4 / 2.
    let logits = [4.0, 3.0, 2.5, -1.0];
    let chosen: Vec<u32> = (0..3)
        .map(|_| sampler.choose(&logits).unwrap().id)
        .collect();
    assert_eq!(chosen, [1, 2, 0]);
    // The prompt does not count for OpenAI's penalties.
    let params = SamplingParams {
        frequency_penalty: 0.6,
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::new(params, &[0]).unwrap();
    let chosen: Vec<u32> = (0..4)
        .map(|_| sampler.choose(&[2.0, 1.0]).unwrap().id)
        .collect();
    assert_eq!(chosen, [0, 0, 1, 0]);
    let params = SamplingParams {
        presence_penalty: 1.5,
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::new(params, &[]).unwrap();
    let chosen: Vec<u32> = (0..3)
        .map(|_| sampler.choose(&[2.0, 1.0]).unwrap().id)
        .collect();
    assert_eq!(chosen, [0, 1, 0]);
}

#[test]
fn the_alternatives_come_best_first() {
    let params = SamplingParams {
        top_logprobs: 3,
        ..drawing()
    };
    let choice = sampler(params).choose(&[0.0, 5.0, -2.0, 5.0]).unwrap();
    let ids: Vec<u32> = choice.top.iter().map(|top| top.id).collect();
    assert_eq!(ids, [1, 3, 0]);
    assert!(choice.top[0].logprob <= 0.0 && choice.top[2].logprob < choice.top[1].logprob);
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    let mut sampler = sampler(drawing());
    let not_finite = |index| move |error| matches!(error, SamplingError::NotFinite { index: at, .. } if at == index);
    assert!(sampler.choose(&[0.0, f32::NAN]).is_err_and(not_finite(1)));
    assert!(
        sampler
            .choose(&[f32::INFINITY, 0.0])
            .is_err_and(not_finite(0))
    );
    assert_eq!(sampler.choose(&[]), Err(SamplingError::NoLogits));
    let nothing = [f32::NEG_INFINITY; 3];
    assert_eq!(
        sampler.choose(&nothing),
        Err(SamplingError::NothingPossible(3))
    );
    let choice = sampler.choose(&[f32::NEG_INFINITY, 1.0]).unwrap();
    assert_eq!((choice.id, choice.logprob), (1, 0.0));
}

#[test]
fn parameters_outside_their_range_are_named() {
    let defaults = SamplingParams::default;
    for (params, name) in [
        (
            SamplingParams {
                temperature: -1.0,
                ..defaults()
            },
            "temperature",
        ),
        (
            SamplingParams {
                temperature: f32::NAN,
                ..defaults()
            },
            "temperature",
        ),
        (
            SamplingParams {
                top_p: 0.0,
                ..defaults()
            },
            "topP",
        ),
        (
            SamplingParams {
                min_p: 1.5,
                ..defaults()
            },
            "minP",
        ),
        (
            SamplingParams {
                repetition_penalty: 0.0,
                ..defaults()
            },
            "repetitionPenalty",
        ),
        (
            SamplingParams {
                presence_penalty: f32::INFINITY,
                ..defaults()
            },
            "presencePenalty",
        ),
        (
            SamplingParams {
                frequency_penalty: f32::NAN,
                ..defaults()
            },
            "frequencyPenalty",
        ),
        (
            SamplingParams {
                top_logprobs: 21,
                ..defaults()
            },
            "topLogprobs",
        ),
    ] {
        let error = Sampler::new(params, &[]).unwrap_err();
        assert!(matches!(error, SamplingError::Parameter { name: named, .. } if named == name));
    }
}

#[test]
fn a_seed_settles_the_draws() {
    // A change of these numbers is a change of every seeded generation.
    let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
    let params = SamplingParams {
        seed: 42,
        top_k: 20,
        top_p: 0.95,
        ..drawing()
    };
    let mut sampler = sampler(params);
    let ids: Vec<u32> = (0..8)
        .map(|_| sampler.choose(&logits).unwrap().id)
        .collect();
    assert_eq!(ids, SEEDED);
}

const SEEDED: [u32; 8] = [39, 46, 37, 30, 3, 11, 30, 2];

#[test]
fn portable_exp_is_exp() {
    for step in 0..70_000 {
        let x = -f64::from(step) / 100.0;
        let (ours, theirs) = (portable_exp(x), x.exp());
        assert!(
            (ours - theirs).abs() <= 4e-16 * theirs,
            "{x}: {ours} {theirs}"
        );
    }
    assert_eq!(portable_exp(f64::NEG_INFINITY), 0.0);
}

proptest! {
    #[test]
    fn a_choice_is_always_possible_and_repeatable(
        logits in prop::collection::vec(prop_oneof![
            4 => -50.0f32..50.0, 1 => Just(f32::NEG_INFINITY), 1 => Just(0.0), 1 => -3.0e38f32..3.0e38,
        ], 1..60),
        temperature in prop_oneof![Just(0.0f32), 1e-30f32..3.0, Just(1e30)],
        top_k in 0usize..70,
        top_p in 0.01f32..=1.0,
        min_p in 0.0f32..=1.0,
        repetition_penalty in 0.1f32..3.0,
        frequency_penalty in -2.0f32..2.0,
        seed in any::<u64>(),
    ) {
        let params = SamplingParams {
            temperature, top_k, top_p, min_p, repetition_penalty, frequency_penalty, seed,
            ..SamplingParams::default()
        };
        let possible = logits.iter().any(|&logit| logit > f32::NEG_INFINITY);
        let (mut a, mut b) = (sampler(params.clone()), sampler(params));
        for _ in 0..5 {
            let choice = a.choose(&logits);
            prop_assert_eq!(&choice, &b.choose(&logits));
            prop_assert_eq!(choice.is_ok(), possible);
            if let Ok(choice) = choice {
                prop_assert!(logits[choice.id as usize] > f32::NEG_INFINITY);
                prop_assert!(choice.logprob <= 1e-6);
            }
        }
    }
}
