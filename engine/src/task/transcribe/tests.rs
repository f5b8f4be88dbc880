//! Transcriptions against models that say what a script tells.

use serde_json::json;

use super::*;

/// Tokens 0 to 9 are the words "w0" to "w9"; then the control tokens; then times.
const CONTROL: [&str; 10] = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
];
const END: u32 = 10;
const START: u32 = 11;
const GERMAN: u32 = 13;
const TRANSCRIBE: u32 = 15;
const PREVIOUS: u32 = 17;
const NO_SPEECH: u32 = 18;
const NO_TIMES: u32 = 19;
/// `<|0.00|>`; a window of 2 s has 100 steps.
const TIME: u32 = 20;
const VOCABULARY: usize = TIME as usize + 101;
const RATE: usize = 16_000;

struct Spelled;

impl Words for Spelled {
    fn id(&self, token: &str) -> Option<u32> {
        let at = CONTROL.iter().position(|known| *known == token)?;
        Some(END + at as u32)
    }

    fn text(&self, ids: &[u32]) -> String {
        ids.iter().map(|id| format!(" w{id}")).collect()
    }
}

fn whisper(many: bool) -> Transcriber {
    let preprocessor = json!({
        "feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 2, "feature_size": 8,
    });
    let generation = json!({ "is_multilingual": many, "suppress_tokens": [-1, 9], "begin_suppress_tokens": [END] });
    let (preprocessor, generation) = (preprocessor.to_string(), generation.to_string());
    let files = TranscribeFiles {
        preprocessor_config: Some(preprocessor.as_bytes()),
        generation_config: Some(generation.as_bytes()),
        ..TranscribeFiles::default()
    };
    let facts = TranscribeFacts {
        vocabulary: VOCABULARY,
        context_length: 40,
        features: Some((8, 200)),
    };
    Transcriber::new(&files, facts, &Spelled).expect("a Whisper")
}

/// Logits with one token likely, and one or another almost as much.
fn likely(id: u32, sure: bool) -> Vec<f32> {
    let mut logits = vec![0.0; VOCABULARY];
    logits[id as usize] = if sure { 20.0 } else { 0.1 };
    logits
}

/// Seconds of a tone.
fn sound(seconds: f64) -> Vec<f32> {
    let samples = (seconds * RATE as f64) as usize;
    (0..samples).map(|t| 0.3 * (t as f32 * 0.2).sin()).collect()
}

/// Drives a transcription; `say` tells the logits for a context in a window by its number.
fn run(
    transcription: &mut Transcription,
    samples: &[f32],
    mut say: impl FnMut(usize, &[u32]) -> Vec<f32>,
) -> Result<Vec<Part>, TranscribeError> {
    let (mut parts, mut windows) = (Vec::new(), 0);
    loop {
        match transcription.step() {
            Step::Hear(range) => {
                if let Some((name, tensor)) = transcription.hear(&samples[range])? {
                    assert_eq!((name, tensor.shape()), ("input_features", &[1, 8, 200][..]));
                    windows += 1;
                }
            }
            Step::Predict(context) => {
                transcription.predicted(say(windows - 1, &context), &Spelled)?;
            }
            Step::Run => unreachable!("Whisper is asked for tokens"),
            Step::Part(part) => parts.push(part),
            Step::Done => return Ok(parts),
        }
    }
}

/// What stands after the last control token before the text, and whether that is all there is yet.
fn said(context: &[u32]) -> &[u32] {
    let begun = |id: &u32| [START, TRANSCRIBE, NO_TIMES, GERMAN].contains(id);
    let at = context.iter().rposition(begun).expect("a beginning");
    &context[at + 1..]
}

/// Says a script's tokens one after the other.
fn follow(script: &[u32], context: &[u32]) -> Vec<f32> {
    likely(
        script.get(said(context).len()).copied().unwrap_or(END),
        true,
    )
}

#[test]
fn windows_follow_the_times() {
    let samples = sound(3.5);
    let options = TranscribeOptions {
        condition_on_previous: true,
        ..TranscribeOptions::default()
    };
    let mut transcription = whisper(false).begin(samples.len(), &options).unwrap();
    // The first window ends within what it says: the second begins at 1.2 s.
    let scripts: [&[u32]; 2] = [
        &[TIME, 1, 2, TIME + 60, TIME + 60, 3],
        &[TIME, 3, 4, TIME + 100],
    ];
    let mut seen = Vec::new();
    let parts = run(&mut transcription, &samples, |window, context| {
        seen.push(context.to_vec());
        match scripts.get(window) {
            Some(script) => follow(script, context),
            None => follow(&[TIME, 5, TIME + 15], context),
        }
    });
    let parts = parts.unwrap();
    let transcript = transcription.transcript();
    assert_eq!(transcript.text, "w1 w2 w3 w4 w5");
    assert_eq!(transcript.ids, [1, 2, 3, 4, 5]);
    let places: Vec<_> = transcript
        .segments
        .iter()
        .map(|s| (s.start, s.end, &*s.text))
        .collect();
    assert_eq!(
        places,
        [(0.0, 1.2, "w1 w2"), (1.2, 3.2, "w3 w4"), (3.2, 3.5, "w5")]
    );
    assert_eq!(transcript.language, None);
    // What was said before is gone on from.
    assert!(seen.contains(&vec![PREVIOUS, TIME, 1, 2, TIME + 60, TIME + 60, 3, START]));
    let text: String = parts.iter().map(|part| &*part.text).collect();
    assert_eq!(text, transcript.text);
    assert!(parts.iter().any(|part| part.tentative == "w1 w2"));
    assert_eq!(parts.last().map(|part| part.seconds), Some(3.5));
}

#[test]
fn languages_and_tasks() {
    let samples = sound(1.0);
    let whisper = whisper(true);
    assert_eq!(whisper.languages(), ["en", "de"]);
    // No longer than a window, and so without times.
    let options = TranscribeOptions::default();
    let mut transcription = whisper.begin(samples.len(), &options).unwrap();
    let mut seen = Vec::new();
    run(&mut transcription, &samples, |_, context| {
        seen.push(context.to_vec());
        match context {
            [START] => likely(GERMAN, true),
            _ => follow(&[7], context),
        }
    })
    .unwrap();
    assert_eq!(seen[1], [START, GERMAN, TRANSCRIBE, NO_TIMES]);
    assert_eq!(transcription.transcript().language.as_deref(), Some("de"));
    assert_eq!(transcription.transcript().text, "w7");

    let asked = |language: &str, task| TranscribeOptions {
        language: Some(language.to_owned()),
        task,
        ..TranscribeOptions::default()
    };
    let refused = |whisper: &Transcriber, options: &TranscribeOptions| {
        whisper.begin(9, options).expect_err("cannot").to_string()
    };
    assert!(
        whisper
            .begin(9, &asked("en", SpeechTask::Translate))
            .is_ok()
    );
    assert!(refused(&whisper, &asked("xx", SpeechTask::Transcribe)).contains("en, de"));
    let english = super::tests::whisper(false);
    assert!(
        english
            .begin(9, &asked("en", SpeechTask::Transcribe))
            .is_ok()
    );
    assert!(refused(&english, &asked("de", SpeechTask::Transcribe)).contains("English only"));
    assert!(refused(&english, &asked("en", SpeechTask::Translate)).contains("translate"));
}

#[test]
fn a_bad_text_is_tried_again_hotter() {
    let samples = sound(1.0);
    let mut tries = 0;
    let options = TranscribeOptions {
        timestamps: Some(true),
        ..TranscribeOptions::default()
    };
    let mut transcription = whisper(false).begin(samples.len(), &options).unwrap();
    run(&mut transcription, &samples, |_, context| {
        if said(context).is_empty() {
            return likely(TIME, true);
        }
        tries += usize::from(said(context).len() == 1);
        let script = [TIME, 1, TIME + 50];
        let id = script.get(said(context).len()).copied().unwrap_or(END);
        likely(id, tries > 2)
    })
    .unwrap();
    let [segment] = &transcription.transcript().segments[..] else {
        panic!("{:?}", transcription.transcript());
    };
    assert_eq!((segment.temperature, &*segment.text), (Some(0.4), "w1"));
    assert!(segment.avg_logprob > Some(-0.1));
}

#[test]
fn a_window_without_speech_is_passed_over() {
    let samples = sound(1.0);
    let mut transcription = whisper(false)
        .begin(samples.len(), &TranscribeOptions::default())
        .unwrap();
    run(&mut transcription, &samples, |_, context| {
        match said(context).len() {
            // Almost surely no speech, and then nothing is likely.
            0 if context == [START] => likely(NO_SPEECH, true),
            _ => likely(1, false),
        }
    })
    .unwrap();
    assert_eq!(transcription.transcript(), &Transcript::default());
}

#[test]
fn long_silence_costs_nothing_and_bad_samples_are_named() {
    let hours = 3 * 3600 * RATE;
    let whisper = whisper(false);
    let mut transcription = whisper.begin(hours, &TranscribeOptions::default()).unwrap();
    let silence = vec![0.0; 2 * RATE];
    let mut seconds = 0.0;
    loop {
        match transcription.step() {
            Step::Hear(range) => {
                assert_eq!(transcription.hear(&silence[..range.len()]).unwrap(), None)
            }
            Step::Part(part) => {
                assert!(part.seconds > seconds);
                seconds = part.seconds;
            }
            Step::Done => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(seconds, 3.0 * 3600.0);
    assert!(matches!(
        whisper.begin(0, &TranscribeOptions::default()),
        Err(TranscribeError::Audio(AudioError::Empty))
    ));

    let mut samples = sound(5.0);
    samples[4 * RATE + 3] = f32::NAN;
    let mut transcription = whisper
        .begin(samples.len(), &TranscribeOptions::default())
        .unwrap();
    let result = run(&mut transcription, &samples, |_, context| {
        follow(&[TIME, 1, TIME + 100], context)
    });
    let index = 4 * RATE + 3;
    assert!(
        matches!(result, Err(TranscribeError::Audio(AudioError::NotFinite { index: at })) if at == index)
    );
}

#[test]
fn logits_that_are_no_numbers_end_it() {
    let samples = sound(1.0);
    let mut transcription = whisper(true)
        .begin(samples.len(), &TranscribeOptions::default())
        .unwrap();
    run(&mut transcription, &samples, |_, _| {
        vec![f32::NAN; VOCABULARY]
    })
    .unwrap();
    assert_eq!(transcription.transcript().text, "");
}

#[test]
fn files_that_contradict_the_model() {
    let facts = TranscribeFacts {
        vocabulary: VOCABULARY,
        context_length: 40,
        features: Some((8, 200)),
    };
    let new = |json: &str, facts| {
        let files = TranscribeFiles {
            preprocessor_config: Some(json.as_bytes()),
            ..TranscribeFiles::default()
        };
        Transcriber::new(&files, facts, &Spelled)
            .expect_err("contradiction")
            .to_string()
    };
    assert!(
        new(
            r#"{"feature_extractor_type": "WhisperFeatureExtractor"}"#,
            facts
        )
        .contains("80 mel bands")
    );
    let class = r#"{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8}"#;
    assert!(new(class, facts).contains("3000 frames"));
    assert!(
        new(
            r#"{"feature_extractor_type": "Wav2Vec2FeatureExtractor"}"#,
            facts
        )
        .contains("another kind")
    );
    let small = TranscribeFacts {
        vocabulary: 5,
        ..facts
    };
    let class = r#"{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8, "chunk_length": 2}"#;
    assert!(new(class, small).contains("<|startoftranscript|>"));
}

#[test]
fn ctc_chunks_make_one_text() {
    let vocabulary = br#"{"<pad>": 0, "|": 1, "A": 2, "B": 3}"#;
    let files = TranscribeFiles {
        vocabulary: Some(vocabulary),
        ..TranscribeFiles::default()
    };
    let facts = TranscribeFacts {
        vocabulary: 0,
        context_length: 0,
        features: None,
    };
    let ctc = Transcriber::new(&files, facts, &Spelled).expect("a CTC model");
    // A word of 0.4 s every 0.6 s, "AB", but for a pause of 2 s at 30 s.
    let frames = 60 * 50;
    let path: Vec<usize> = (0..frames)
        .map(|frame| match frame % 30 {
            _ if (1500..1600).contains(&frame) => 0,
            0..10 => 2,
            10..20 => 3,
            20 => 1,
            _ => 0,
        })
        .collect();
    let samples = sound(60.0);
    let mut transcription = ctc
        .begin(samples.len(), &TranscribeOptions::default())
        .unwrap();
    let mut longest = 0;
    let mut parts = Vec::new();
    loop {
        match transcription.step() {
            Step::Hear(range) => {
                let begin = range.start / 320;
                longest = longest.max(range.len());
                let (name, tensor) = transcription.hear(&samples[range]).unwrap().unwrap();
                assert_eq!((name, tensor.shape().len()), ("input_values", 2));
                let count = (tensor.shape()[1] - 400) / 320 + 1;
                let mut logits = vec![0.0; count * 4];
                for (frame, logits) in logits.chunks_exact_mut(4).enumerate() {
                    // What a chunk hears at its cuts is wrong.
                    let cut = (begin > 0 && frame < 100)
                        || (begin + count < frames - 100 && frame > count - 100);
                    logits[if cut { 3 } else { path[begin + frame] }] = 9.0;
                }
                transcription.answered(&logits, 4).unwrap();
            }
            Step::Part(part) => parts.push(part),
            Step::Done => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(longest, 20 * RATE);
    let transcript = transcription.transcript();
    assert_eq!(
        transcript
            .text
            .split(' ')
            .filter(|word| *word == "AB")
            .count(),
        97 - 1,
        "{}",
        transcript.text
    );
    assert_eq!(transcript.segments.len(), 2);
    assert!(
        (transcript.segments[1].start - 32.0).abs() < 0.41,
        "{:?}",
        transcript.segments[1]
    );
    assert!(matches!(
        ctc.begin(399, &TranscribeOptions::default()),
        Err(TranscribeError::TooShort { .. })
    ));
}
