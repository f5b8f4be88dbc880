//! Tasks in a page: pictures, sounds and texts in, the answers that the same code gives natively out. The models are carried
//! and random, so what they say means nothing; a wrong pixel or sample would still change it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::{browsers, fixtures, open, package, serve, site, with_package};
use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::input::preprocessor::Preprocessor;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::Model;
use fewbit_engine::task::answer::Question;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::forward::Named;
use fewbit_media::{decode_audio, decode_image};
use serde_json::{Value, json};
use tower_http::services::ServeDir;

const PICTURE: &str = "rgb.png";
const SOUND: &str = "stereo.wav";

fn media() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../media/tests/fixtures")
}

/// A carried model with the files that it is carried without.
struct Fixture {
    name: &'static str,
    extra: Vec<(&'static str, String)>,
}

impl Fixture {
    fn new(name: &'static str, preprocessor: Option<Value>, mask: Option<usize>) -> Fixture {
        let mut extra = Vec::new();
        if let Some(preprocessor) = preprocessor {
            extra.push(("preprocessor_config.json", preprocessor.to_string()));
        }
        if let Some(mask) = mask {
            extra.push(("tokenizer.json", tokenizer(mask)));
        }
        Fixture { name, extra }
    }

    /// For the page: each file's name, and where it is or what is in it.
    fn listed(&self) -> Value {
        let carried = ["config.json", "model.safetensors"]
            .map(|file| json!({ "name": file, "url": format!("/models/{}/{file}", self.name) }));
        let extra = self
            .extra
            .iter()
            .map(|(name, text)| json!({ "name": name, "text": text }));
        carried.into_iter().chain(extra).collect()
    }

    fn extra(&self, name: &str) -> Option<&[u8]> {
        let found = self.extra.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| text.as_bytes())
    }

    /// The same model here.
    fn open(&self) -> Result<Model> {
        let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
        for name in ["config.json", "model.safetensors"] {
            let bytes = std::fs::read(fixtures().join(self.name).join(name))?;
            files.push(Rc::new(MemorySource::new(name, bytes)));
        }
        for (name, text) in &self.extra {
            files.push(Rc::new(MemorySource::new(*name, text.clone().into_bytes())));
        }
        let device = CpuDevice::new(CpuOptions {
            policy: NumericPolicy::default(),
            kernels: Kernels::best(),
            parallel: Rc::new(Serial),
        });
        let mut go_on = |_| ControlFlow::Continue(());
        let files = ModelFiles::new(files);
        let model = Model::load(&files, Box::new(device), Default::default(), &mut go_on);
        pollster::block_on(model).with_context(|| self.name)
    }

    /// What the model is fed for the picture or the sound, and the picture's width and height.
    fn feed(&self) -> Result<(Named, Vec<[usize; 2]>)> {
        let config = self
            .extra("preprocessor_config.json")
            .context("no preprocessor")?;
        let (named, sizes) = match Preprocessor::from_json(config, None)? {
            Preprocessor::Image(image) => {
                let picture = decode_image(&std::fs::read(media().join(PICTURE))?)?;
                let size = [picture.width(), picture.height()];
                (image.run(&[picture])?.into_named(), vec![size])
            }
            Preprocessor::Audio(audio) => {
                let bytes = std::fs::read(media().join(SOUND))?;
                let clip = decode_audio(&bytes, audio.rate())?;
                (audio.run(&[&clip], 0)?, Vec::new())
            }
        };
        let named = named
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .collect();
        Ok((named, sizes))
    }

    /// The answer of the model here, about texts or else about the picture or the sound.
    fn answer(&self, question: Value) -> Result<Value> {
        let mut question: Question = serde_json::from_value(question)?;
        let mut tensors = BTreeMap::new();
        if question.texts.is_empty() {
            let (named, sizes) = self.feed()?;
            tensors = named;
            if question.task.name() == "detect" {
                question.sizes = sizes;
            }
        }
        let answer = pollster::block_on(self.open()?.answer(&question, &tensors))?;
        Ok(serde_json::to_value(answer)?[0].clone())
    }
}

/// Of the words `w0 … w299`, which are their ids, but for one that is a mask.
fn tokenizer(mask: usize) -> String {
    let word = |id| match id == mask {
        true => "[MASK]".to_owned(),
        false => format!("w{id}"),
    };
    let vocabulary: BTreeMap<String, usize> = (0..300).map(|id| (word(id), id)).collect();
    json!({
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w0" },
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "added_tokens": [{ "id": mask, "content": "[MASK]", "special": true, "normalized": false }],
    })
    .to_string()
}

/// The same but for the last digits: names and counts as they are, numbers within `tolerance`.
fn close(got: &Value, want: &Value, tolerance: f64) -> bool {
    match (got, want) {
        (Value::Number(got), Value::Number(want)) => {
            let (got, want) = (got.as_f64(), want.as_f64());
            got.zip(want)
                .is_some_and(|(got, want)| (got - want).abs() <= tolerance)
        }
        (Value::Array(got), Value::Array(want)) => {
            got.len() == want.len() && got.iter().zip(want).all(|(a, b)| close(a, b, tolerance))
        }
        (Value::Object(got), Value::Object(want)) => {
            got.len() == want.len()
                && want
                    .iter()
                    .all(|(key, want)| got.get(key).is_some_and(|got| close(got, want, tolerance)))
        }
        _ => got == want,
    }
}

/// Every input has the answer that is wanted.
fn check(what: &str, answers: &Value, want: &Value, tolerance: f64) -> Result<()> {
    let answers = answers.as_object().with_context(|| what.to_owned())?;
    ensure!(!answers.is_empty(), "{what}: no answers");
    for (input, got) in answers {
        ensure!(
            close(got, want, tolerance),
            "{what} of {input}: {got}\nwant {want}"
        );
    }
    Ok(())
}

/// What each page begins with: a model of files, and the picture and sound as all that a page may have.
const PRELUDE: &str = "
  const files = await Promise.all(input.files.map(async ({ name, url, text }) =>
    ({ name, data: text === undefined ? await (await fetch(url)).blob() : new Blob([text]) })));
  const model = await load(files, { backend: 'wasm' });
  const each = async (inputs, ask) => {
    const answers = {};
    for (const [name, value] of Object.entries(inputs)) answers[name] = await ask(value);
    return answers;
  };
  const pictures = async () => {
    const url = new URL('/media/rgb.png', location.href);
    const blob = await (await fetch(url)).blob();
    const image = new Image();
    image.src = url.href;
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const offscreen = new OffscreenCanvas(width, height);
    offscreen.getContext('2d').drawImage(image, 0, 0);
    const inputs = { Blob: blob, File: new File([blob], 'rgb.png'), URL: url, HTMLImageElement: image, HTMLCanvasElement: canvas,
      OffscreenCanvas: offscreen, ImageBitmap: await createImageBitmap(blob), ImageData: context.getImageData(0, 0, width, height) };
    if (globalThis.VideoFrame) inputs.VideoFrame = new VideoFrame(canvas, { timestamp: 0 });
    return inputs;
  };
";

#[tokio::test(flavor = "multi_thread")]
async fn pages_get_the_answers_that_the_command_gives() -> Result<()> {
    let test = "pages_get_the_answers_that_the_command_gives";
    let Some(package) = package(test) else {
        return Ok(());
    };
    let pages = site(&package).nest_service("/media", ServeDir::new(media()));
    let page = serve(pages).await?;

    let pixels = |class: &str, size: Value| json!({ "image_processor_type": class, "size": size });
    let square = json!({ "height": 64, "width": 64 });
    let vit = Fixture::new("vit", Some(pixels("ViTImageProcessor", square)), None);
    let edges = json!({ "shortest_edge": 64, "longest_edge": 96 });
    let detr = Fixture::new("detr", Some(pixels("DetrImageProcessor", edges)), None);
    let mut crop = pixels("CLIPImageProcessor", json!({ "shortest_edge": 64 }));
    crop["crop_size"] = json!({ "height": 64, "width": 64 });
    let clip = Fixture::new("clip", Some(crop), Some(299));
    let features = json!({
        "feature_extractor_type": "ClapFeatureExtractor", "truncation": "rand_trunc", "padding": "repeatpad", "feature_size": 16,
        "sampling_rate": 8160, "hop_length": 32, "fft_window_size": 256, "max_length_s": 1, "nb_max_samples": 8160,
        "frequency_min": 50, "frequency_max": 4000,
    });
    let clap = Fixture::new("clap", Some(features), Some(299));
    let bert = Fixture::new("bert-masked", None, Some(5));
    let t5 = Fixture::new("t5", None, Some(299));

    let labels = json!(["w5 w9", "w17", "w100 w3"]);
    let template = "w8 {} w2";
    let classes = vit.answer(json!({ "task": "classify", "topK": 4 }))?;
    let threshold = 0.12;
    let objects = detr.answer(json!({ "task": "detect", "threshold": threshold }))?;
    ensure!(
        objects.as_array().is_some_and(|found| !found.is_empty()),
        "nothing to compare: {objects}"
    );
    let question = json!({ "task": "zeroShot", "labels": labels, "template": template });
    let of_picture = clip.answer(question.clone())?;
    let of_sound = clap.answer(question)?;
    let text = "w3 [MASK] w4 w7 [MASK]";
    let fills = bert.answer(json!({ "task": "fillMask", "texts": [text], "topK": 3 }))?;
    let vectors = pollster::block_on(clip.open()?.embed_tensors(&clip.feed()?.0))?;
    let vector = json!(vectors[0]);

    for installed in browsers(test)? {
        let browser = installed.browser.name();
        let mut session = open(&installed, false, &page).await?;
        session.goto(&page).await?;
        let mut run = async |fixture: &Fixture, body: &str| {
            let input = json!({ "files": fixture.listed(), "labels": labels, "template": template,
                "threshold": threshold, "text": text });
            let body = format!(
                "{PRELUDE}const ask = async () => {{ {body} }};
                 try {{ return await ask(); }} finally {{ model.dispose(); }}"
            );
            with_package(&mut session, &body, input).await
        };

        let got = run(
            &vit,
            "const inputs = await pictures();
             const seen = new Set();
             const onProgress = ({ phase }) => seen.add(phase);
             const answers = await each(inputs, (picture) => model.classify(picture, { topK: 4, onProgress }));
             const all = await model.classify(Object.values(inputs), { topK: 4 });
             const code = async (call) => { try { await call(); return 'none'; } catch (error) { return error.code; } };
             const codes = {
               broken: await code(() => model.classify((inputs.Blob).slice(0, 300))),
               text: await code(() => model.classify('a text')),
               sound: await code(() => model.classify({ samples: new Float32Array(9), sampleRate: 8000 })),
               task: await code(() => model.detect(inputs.Blob)),
               missing: await code(() => model.classify(new URL('/media/none.png', location.href))),
               aborted: await code(() => model.classify(inputs.Blob, { signal: AbortSignal.abort() })),
               after: await code(() => model.classify(inputs.Blob)),
             };
             return { tasks: model.info.tasks, answers, all: Object.fromEntries(all.entries()), codes, phases: [...seen].sort() };",
        )
        .await?;
        ensure!(
            got["tasks"] == json!(["classify"]),
            "{browser}: {}",
            got["tasks"]
        );
        check(
            &format!("{browser}: classify"),
            &got["answers"],
            &classes,
            1e-4,
        )?;
        check(
            &format!("{browser}: classify all"),
            &got["all"],
            &classes,
            1e-4,
        )?;
        ensure!(
            got["phases"] == json!(["compute", "module", "prepare"]),
            "{browser}: {}",
            got["phases"]
        );
        let codes = json!({ "broken": "bad_argument", "text": "unsupported", "sound": "bad_argument",
            "task": "unsupported", "missing": "not_found", "aborted": "aborted", "after": "none" });
        ensure!(got["codes"] == codes, "{browser}: {}", got["codes"]);

        let got = run(
            &detr,
            "const { Blob, ImageData } = await pictures();
             return each({ Blob, ImageData }, (picture) => model.detect(picture, { threshold: input.threshold }));",
        )
        .await?;
        check(&format!("{browser}: detect"), &got, &objects, 1e-2)?;

        let got = run(
            &clip,
            "const { Blob, ImageBitmap } = await pictures();
             const answers = await each({ Blob, ImageBitmap }, (picture) =>
               model.zeroShot(picture, input.labels, { template: input.template }));
             const vector = await model.embed(Blob);
             const [of_text] = await model.embed(['w5 w9']);
             return { answers, vector: [...vector], length: Math.hypot(...of_text) };",
        )
        .await?;
        check(
            &format!("{browser}: zeroShot of a picture"),
            &got["answers"],
            &of_picture,
            1e-4,
        )?;
        ensure!(
            close(&got["vector"], &vector, 1e-4) && close(&got["length"], &json!(1), 1e-4),
            "{browser}: {got}"
        );

        let got = run(
            &clap,
            "const url = new URL('/media/stereo.wav', location.href);
             const blob = await (await fetch(url)).blob();
             const decoder = new OfflineAudioContext(1, 1, 22050);
             const buffer = await decoder.decodeAudioData(await blob.arrayBuffer());
             const [left, right] = [buffer.getChannelData(0), buffer.getChannelData(1)];
             const samples = left.map((sample, i) => (sample + right[i]) / 2);
             return each({ Blob: blob, URL: url, AudioBuffer: buffer, samples: { samples, sampleRate: 22050 } }, (sound) =>
               model.zeroShot(sound, input.labels, { template: input.template }));",
        )
        .await?;
        check(
            &format!("{browser}: zeroShot of a sound"),
            &got,
            &of_sound,
            1e-3,
        )?;

        let got = run(
            &bert,
            "return { one: await model.fillMask(input.text, { topK: 3 }), first: (await model.fillMask([input.text], { topK: 3 }))[0] };",
        )
        .await?;
        check(&format!("{browser}: fillMask"), &got, &fills, 1e-4)?;

        let got = run(
            &t5,
            "const options = { maxTokens: 6, ignoreEos: true };
             const ids = async (answer) => (await answer.result).ids;
             return {
               plain: await ids(model.generate('w7 w5 w6', options)),
               summary: await ids(model.summarize('w5 w6', { ...options, prefix: 'w7 ' })),
               other: await ids(model.generate('w8 w9', options)),
             };",
        )
        .await?;
        ensure!(got["summary"] == got["plain"], "{browser}: {got}");
        session.close().await;
    }
    Ok(())
}
