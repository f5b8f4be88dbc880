//! Questions answered as the carried references' numbers say, through a tokenizer whose words are ids: `w17` is 17.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use fewbit_engine::backend::Activations;
use fewbit_engine::task::answer::{Answer, Question};
use fewbit_engine::task::forward::Named;
use fewbit_engine::task::labels::Score;
use fewbit_engine::task::{Model, Task};
use fewbit_engine::tensor::Tensor;
use serde_json::{Value, json};

use crate::{devices, files};

/// A tokenizer of the words `w0 … w299`, of which `mask` is a mask.
fn tokenizer(mask: usize) -> Vec<u8> {
    let word = |id| match id == mask {
        true => "[MASK]".to_owned(),
        false => format!("w{id}"),
    };
    let vocabulary: BTreeMap<String, usize> = (0..300).map(|id| (word(id), id)).collect();
    let json = json!({
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [{"id": mask, "content": "[MASK]", "special": true, "normalized": false}],
    });
    json.to_string().into_bytes()
}

/// A carried reference: a model with such a tokenizer, and the tensors by name.
fn open(name: &str, mask: usize, config: Option<Value>) -> (Model, BTreeMap<String, Tensor>) {
    let path = files::fixture(name);
    let tokenizer = tokenizer(mask);
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(path.join("config.json")).unwrap()).unwrap();
    if let Some(Value::Object(more)) = config {
        json.as_object_mut().unwrap().extend(more);
    }
    let json = json.to_string().into_bytes();
    let extra: [(&str, &[u8]); 2] = [("tokenizer.json", &tokenizer), ("config.json", &json)];
    let files = files::folder_with(&path, &extra);
    let device = devices::all(Activations::Float).remove(0).device;
    let mut go_on = |_| ControlFlow::Continue(());
    let model = Model::load(&files, device, Default::default(), &mut go_on);
    let model = pollster::block_on(model).unwrap_or_else(|error| panic!("{name}: {error}"));
    (model, files::reference(&path))
}

fn answer(model: &mut Model, question: Value, tensors: &Named) -> Result<Answer, String> {
    let question: Question = serde_json::from_value(question).map_err(|e| e.to_string())?;
    pollster::block_on(model.answer(&question, tensors)).map_err(|e| e.to_string())
}

fn inputs(reference: &BTreeMap<String, Tensor>, names: &[&str]) -> Named {
    let tensor = |name: &&str| ((*name).to_owned(), reference[&format!("in.{name}")].clone());
    names.iter().map(tensor).collect()
}

/// The texts of `in.input_ids`, without what the mask hides.
fn texts(reference: &BTreeMap<String, Tensor>) -> Vec<String> {
    let ids = &reference["in.input_ids"];
    let tokens = ids.shape()[1];
    let ids = ids.to_f64_vec();
    let mask = reference.get("in.attention_mask").map(Tensor::to_f64_vec);
    let rows = ids.chunks(tokens).enumerate();
    rows.map(|(row, ids)| {
        let counts = |at: usize| {
            mask.as_ref()
                .is_none_or(|mask| mask[row * tokens + at] == 1.0)
        };
        let words = ids.iter().enumerate().filter(|(at, _)| counts(*at));
        let words: Vec<String> = words.map(|(_, id)| format!("w{id}")).collect();
        words.join(" ")
    })
    .collect()
}

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// All classes, the greatest probability first, each with that of the reference's logits.
fn assert_scores(what: &str, scores: &[Score], logits: &[f64]) {
    let expected = probabilities(logits);
    assert_eq!(scores.len(), expected.len(), "{what}");
    for score in scores {
        let error = (f64::from(score.score) - expected[score.class]).abs();
        assert!(error < 1e-3, "{what}: {score:?}, {expected:?}");
    }
    assert!(scores.is_sorted_by(|a, b| a.score >= b.score), "{what}");
}

fn assert_vectors(what: &str, got: &[Vec<f32>], expected: &Tensor) {
    let size = expected.shape()[1];
    let expected = expected.to_f64_vec();
    assert_eq!(got.len() * size, expected.len(), "{what}");
    for (got, expected) in got.iter().flatten().zip(expected) {
        assert!(
            (f64::from(*got) - expected).abs() < 1e-3,
            "{what}: {got}, {expected}"
        );
    }
}

fn names(model: &Model) -> Vec<&'static str> {
    model.tasks().into_iter().map(Task::name).collect()
}

#[test]
fn models_say_what_they_take() {
    for (name, inputs) in [
        ("bert", ["text"].as_slice()),
        ("llama", &["text"]),
        ("t5", &["text"]),
        ("whisper", &["audio"]),
        ("wav2vec2", &["audio"]),
        ("vit", &["image"]),
        ("clip", &["text", "image"]),
        ("clap", &["text", "audio"]),
    ] {
        assert_eq!(open(name, 299, None).0.inputs(), inputs, "{name}");
    }
}

#[test]
fn texts_are_classified() {
    for name in ["roberta-classes", "distilbert-classes"] {
        let (mut model, reference) = open(name, 299, None);
        assert_eq!(names(&model), ["embed", "classify"], "{name}");
        let question = json!({"task": "classify", "texts": texts(&reference)});
        let Ok(Answer::Scores(rows)) = answer(&mut model, question, &Named::new()) else {
            panic!("{name}");
        };
        let logits = reference["out.logits"].to_f64_vec();
        for (scores, logits) in rows.iter().zip(logits.chunks(3)) {
            assert_scores(name, scores, logits);
        }
        assert_eq!(rows.len(), 2);
        let labels = ["good", "bad", "neither"];
        assert!(
            rows[0]
                .iter()
                .all(|score| score.label == labels[score.class])
        );
        // Only the best, each by itself.
        let config = json!({"problem_type": "multi_label_classification"});
        let (mut model, _) = open(name, 299, Some(config));
        let question = json!({"task": "classify", "texts": texts(&reference), "topK": 1});
        let Ok(Answer::Scores(rows)) = answer(&mut model, question, &Named::new()) else {
            panic!("{name}");
        };
        let largest = logits[..3].iter().copied().fold(f64::MIN, f64::max);
        let expected = 1.0 / (1.0 + (-largest).exp());
        assert_eq!(rows[0].len(), 1);
        assert!((f64::from(rows[0][0].score) - expected).abs() < 1e-3);
    }
}

#[test]
fn tokens_are_classified_but_those_around_the_text() {
    let (mut model, reference) = open("bert-tokens", 299, None);
    assert_eq!(names(&model), ["embed", "classify"]);
    let texts = [texts(&reference).remove(1), "w7 [MASK]".to_owned()];
    let question = json!({"task": "classify", "texts": texts});
    let Ok(Answer::Tokens(rows)) = answer(&mut model, question, &Named::new()) else {
        panic!("tokens");
    };
    let ids = reference["in.input_ids"].to_f64_vec();
    let got: Vec<f64> = rows[0].iter().map(|token| f64::from(token.id)).collect();
    assert_eq!(got, ids[11..18]);
    // The reference's first five tokens are of the first segment, as all of ours; what they are depends on the rest too,
    // so the answer is held against the graph's own logits.
    let ids: Vec<i32> = ids[11..18].iter().map(|&id| id as i32).collect();
    let inputs = [(
        "input_ids".to_owned(),
        Tensor::from_i32(&[1, 7], &ids).unwrap(),
    )];
    let outputs = pollster::block_on(model.forward(&inputs.into(), &[])).unwrap();
    for (token, logits) in rows[0].iter().zip(outputs["logits"].to_f64_vec().chunks(3)) {
        let expected = probabilities(logits);
        let error = (f64::from(token.score) - expected[token.class]).abs();
        assert!(error < 1e-3, "{token:?}");
        assert!(expected.iter().all(|other| *other <= expected[token.class]));
    }
    assert_eq!(rows[1].len(), 1);
    assert_eq!(rows[1][0].token, "w7");
}

#[test]
fn masks_are_filled() {
    for name in ["roberta-masked", "distilbert-masked"] {
        let reference = files::reference(&files::fixture(name));
        let ids: Vec<usize> = reference["in.input_ids"]
            .to_f64_vec()
            .iter()
            .map(|&id| id as usize)
            .collect();
        let at = (0..11)
            .find(|&at| ids[..11].iter().filter(|&&id| id == ids[at]).count() == 1)
            .unwrap();
        let (mut model, reference) = open(name, ids[at], None);
        assert_eq!(names(&model), ["embed", "fillMask"], "{name}");
        let text = texts(&reference).remove(0);
        let text = text.replacen(&format!("w{} ", ids[at]), "[MASK] ", 1);
        let vocabulary = reference["out.logits"].shape()[2];
        let question = json!({"task": "fillMask", "texts": [text], "topK": vocabulary});
        let Answer::Fills(rows) = answer(&mut model, question, &Named::new()).unwrap() else {
            panic!("{name}");
        };
        let logits = &reference["out.logits"].to_f64_vec()[at * vocabulary..][..vocabulary];
        let expected = probabilities(logits);
        let fills = &rows[0][0];
        assert_eq!((rows.len(), rows[0].len(), fills.len()), (1, 1, vocabulary));
        for fill in fills {
            let error = (f64::from(fill.score) - expected[fill.id as usize]).abs();
            assert!(error < 1e-3, "{name}: {fill:?}");
        }
        let best = &fills[0];
        if best.id as usize != ids[at] {
            assert_eq!(best.token, format!("w{}", best.id));
            assert!(best.sequence.contains(&best.token), "{best:?}");
        }
        let question = json!({"task": "fillMask", "texts": ["w7"]});
        let error = answer(&mut model, question, &Named::new()).unwrap_err();
        assert!(error.contains("text 0 has no [MASK]"), "{error}");
    }
}

#[test]
fn pictures_are_classified() {
    let (mut model, reference) = open("vit", 299, None);
    assert_eq!(names(&model), ["classify"]);
    let tensors = inputs(&reference, &["pixel_values"]);
    let question = json!({"task": "classify", "topK": 10});
    let Answer::Scores(rows) = answer(&mut model, question, &tensors).unwrap() else {
        panic!("scores");
    };
    let logits = reference["out.logits"].to_f64_vec();
    for (scores, logits) in rows.iter().zip(logits.chunks(10)) {
        assert_scores("vit", scores, logits);
    }
    assert_eq!(rows.len(), 2);
    let error = answer(&mut model, json!({"task": "classify"}), &Named::new()).unwrap_err();
    assert!(error.contains("pixel_values is missing"), "{error}");
}

#[test]
fn things_are_found_in_the_picture_as_it_was_given() {
    let (mut model, reference) = open("detr", 299, None);
    assert_eq!(names(&model), ["detect"]);
    let tensors = inputs(&reference, &["pixel_values", "pixel_mask"]);
    let question = json!({"task": "detect", "sizes": [[640, 480]], "threshold": 0});
    let Answer::Detections(rows) = answer(&mut model, question, &tensors).unwrap() else {
        panic!("detections");
    };
    let (logits, boxes) = (&reference["out.logits"], &reference["out.pred_boxes"]);
    let classes = logits.shape()[2];
    assert_eq!(rows[0].len(), logits.shape()[1]);
    let (logits, boxes) = (logits.to_f64_vec(), boxes.to_f64_vec());
    for found in &rows[0] {
        let same = logits
            .chunks(classes)
            .zip(boxes.chunks(4))
            .any(|(logits, part)| {
                let score = probabilities(logits)[found.class];
                let left = (part[0] - part[2] / 2.0) * 640.0;
                let bottom = (part[1] + part[3] / 2.0) * 480.0;
                (f64::from(found.score) - score).abs() < 2e-3
                    && (f64::from(found.region.left) - left).abs() < 1.0
                    && (f64::from(found.region.bottom) - bottom).abs() < 1.0
            });
        assert!(same, "{found:?}");
    }
    let question = json!({"task": "detect"});
    let error = answer(&mut model, question, &tensors).unwrap_err();
    assert!(
        error.contains("0 sizes are given for 1 pictures"),
        "{error}"
    );
    let json = serde_json::to_value(Answer::Detections(rows)).unwrap();
    assert!(json[0][0]["box"]["xmax"].is_number(), "{json}");
}

#[test]
fn any_labels_fit_pictures_and_sounds_more_or_less() {
    for (name, input, logits, vectors) in [
        ("clip", "pixel_values", "logits_per_image", "image_embeds"),
        ("clap", "input_features", "logits_per_audio", "audio_embeds"),
    ] {
        let (mut model, reference) = open(name, 299, None);
        assert_eq!(names(&model), ["embed", "zeroShot"], "{name}");
        let tensors = inputs(&reference, &[input]);
        let labels = texts(&reference);
        let question = json!({"task": "zeroShot", "labels": labels, "template": "{}"});
        let Answer::Scores(rows) = answer(&mut model, question, &tensors).unwrap() else {
            panic!("{name}");
        };
        let expected = reference[&format!("out.{logits}")].to_f64_vec();
        assert_eq!(rows.len() * labels.len(), expected.len());
        for (scores, logits) in rows.iter().zip(expected.chunks(labels.len())) {
            assert_scores(name, scores, logits);
            assert!(
                scores
                    .iter()
                    .all(|score| score.label == labels[score.class])
            );
        }
        let texts: Vec<&str> = labels.iter().map(String::as_str).collect();
        let embeddings = pollster::block_on(model.embed(&texts)).unwrap();
        let got: Vec<Vec<f32>> = embeddings.into_iter().map(|text| text.vector).collect();
        assert_vectors(name, &got, &reference["out.text_embeds"]);
        let got = pollster::block_on(model.embed_tensors(&tensors)).unwrap();
        assert_vectors(name, &got, &reference[&format!("out.{vectors}")]);

        for (question, told) in [
            (
                json!({"task": "zeroShot", "labels": ["w7"], "template": "w8"}),
                "template has no {}",
            ),
            (json!({"task": "zeroShot"}), "labels are missing"),
            (
                json!({"task": "detect", "sizes": []}),
                "is no model to detect with",
            ),
        ] {
            let error = answer(&mut model, question, &tensors).unwrap_err();
            assert!(error.contains(told), "{error}: not {told}");
        }
        let question = json!({"task": "zeroShot", "labels": ["w7"]});
        let error = answer(&mut model, question, &Named::new()).unwrap_err();
        assert!(error.contains(&format!("{input} is missing")), "{error}");
    }
}

#[test]
fn a_config_instructs_an_encoder_decoder() {
    let config = json!({"task_specific_params": {
        "summarization": {"prefix": "w5 w6 ", "max_length": 9},
    }});
    let (model, _) = open("t5", 299, Some(config));
    assert_eq!(names(&model), ["generate", "summarize"]);
    let instruction = |json: Value| serde_json::from_value(json).unwrap();
    let summary = instruction(json!({"task": "summarize"}));
    let told = model.instruct("w7", &summary).unwrap();
    assert_eq!((told.text.as_str(), told.max_tokens), ("w5 w6 w7", Some(9)));
    let german = instruction(json!({"task": "translate", "to": "de"}));
    let error = model.instruct("w7", &german).unwrap_err().to_string();
    assert!(error.contains("they have: summarization"), "{error}");
    let german = instruction(json!({"task": "translate", "prefix": "w8 "}));
    assert_eq!(model.instruct("w7", &german).unwrap().text, "w8 w7");
    let (model, _) = open("bert", 299, None);
    assert_eq!(names(&model), ["embed"]);
    assert!(model.instruct("w7", &summary).is_err());
}
