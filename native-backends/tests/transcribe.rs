//! Whisper tiny.en on recordings of speech. Both are too large to be carried here: `FEWBIT_TEST_WHISPER` names the model's folder
//! (`fewbit models pull whisper-tiny.en`), `FEWBIT_TEST_SPEECH` one with `jfk.wav` (npm `nodejs-whisper`) and Debian's
//! `pocketsphinx-testdata` (`librivox/*.wav`); 16 kHz, mono, 16 bits.

use std::env;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fewbit_engine::task::transcribe::{Segment, TranscribeOptions, Transcript};
use fewbit_native_backends::{NativeModel, NativeOptions, NativeTarget};

const RATE: usize = 16_000;

const CLIPS: [(&str, &str); 3] = [
    (
        "jfk.wav",
        "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country.",
    ),
    (
        "sense_and_sensibility_01_austen_64kb-0870.wav",
        "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for them.",
    ),
    (
        "sense_and_sensibility_01_austen_64kb-0880.wav",
        "He was not an old-sposed young man.",
    ),
];

struct Files {
    model: PathBuf,
    speech: PathBuf,
}

/// The folders; nothing, with a line that says so, where they are not given.
fn files(test: &str) -> Option<Files> {
    match (
        env::var_os("FEWBIT_TEST_WHISPER"),
        env::var_os("FEWBIT_TEST_SPEECH"),
    ) {
        (Some(model), Some(speech)) => Some(Files {
            model: model.into(),
            speech: speech.into(),
        }),
        _ => {
            eprintln!("{test}: skipped, FEWBIT_TEST_WHISPER and FEWBIT_TEST_SPEECH name no files");
            None
        }
    }
}

impl Files {
    fn load(&self, target: NativeTarget) -> NativeModel {
        let names = ["model.bin", "config.json", "tokenizer.json"];
        let files = names.map(|name| (name.to_owned(), self.model.join(name)));
        let options = NativeOptions::default();
        let model = NativeModel::load(target, files.to_vec(), options, |_| {
            ControlFlow::Continue(())
        });
        model.expect("the model loads").0
    }

    fn clip(&self, name: &str) -> Vec<f32> {
        let path = find(&self.speech, name).unwrap_or_else(|| panic!("no {name}"));
        let bytes = std::fs::read(path).expect("a file");
        let data = bytes.windows(4).position(|window| window == b"data");
        let samples = &bytes[data.expect("a WAV file") + 8..];
        let samples = samples.chunks_exact(2);
        samples
            .map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0)
            .collect()
    }
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => find(&path, name),
            false => (entry.file_name() == name).then_some(path),
        }
    })
}

fn transcribe(model: &NativeModel, samples: Vec<f32>, options: &TranscribeOptions) -> Transcript {
    let told = model.transcribe(
        move |rate| {
            assert_eq!(rate as usize, RATE);
            Ok(samples)
        },
        options.clone(),
        |_| ControlFlow::Continue(()),
    );
    let told = told.expect("a transcript");
    eprintln!(
        "{:.1} s in {:.1} s: {}",
        told.seconds,
        told.elapsed.as_secs_f64(),
        told.transcript.text
    );
    told.transcript
}

/// Words as people hear them.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '-');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn clips_say_what_they_say() {
    let Some(files) = files("clips_say_what_they_say") else {
        return;
    };
    let model = files.load(NativeTarget::Cpu);
    for timestamps in [None, Some(true)] {
        let options = TranscribeOptions {
            timestamps,
            ..TranscribeOptions::default()
        };
        for (name, text) in CLIPS {
            let said = transcribe(&model, files.clip(name), &options);
            assert_eq!(
                words(&said.text),
                words(text),
                "{name}, timestamps: {timestamps:?}"
            );
        }
    }
}

#[test]
fn five_minutes_are_placed_to_within_a_second() {
    let Some(files) = files("five_minutes_are_placed_to_within_a_second") else {
        return;
    };
    let model = files.load(NativeTarget::Cpu);
    let clips = CLIPS.map(|(name, text)| (files.clip(name), words(text)));
    let mut samples = Vec::new();
    let mut places = Vec::new();
    let mut pause = 0;
    while samples.len() < 300 * RATE {
        for (clip, words) in &clips {
            // Two to eight seconds.
            samples.extend(vec![0.0; (2 + pause % 7) * RATE]);
            pause += 3;
            let start = samples.len();
            samples.extend(clip);
            places.push((start, samples.len(), words));
        }
    }
    let said = transcribe(&model, samples, &TranscribeOptions::default());
    for segment in &said.segments {
        eprintln!("{:6.2} {:6.2} {}", segment.start, segment.end, segment.text);
    }
    let seconds = |samples: usize| samples as f64 / RATE as f64;
    for (start, end, words) in places {
        let (start, end) = (seconds(start), seconds(end));
        eprintln!("{start:.2} to {end:.2}: {}", words.join(" "));
        let here = |segment: &&Segment| segment.end > start - 1.0 && segment.start < end + 1.0;
        let heard: Vec<&Segment> = said.segments.iter().filter(here).collect();
        let text: Vec<&str> = heard.iter().map(|segment| &*segment.text).collect();
        let heard = self::words(&text.join(" "));
        let missing: Vec<_> = words.iter().filter(|word| !heard.contains(word)).collect();
        assert!(
            missing.len() * 5 <= words.len(),
            "missing {missing:?} in {heard:?}"
        );
    }
}
