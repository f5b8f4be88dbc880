//! ONNX files in a page: a reference checkpoint exported, loaded as a folder, a file and bytes, and files that are wrong.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::{browsers, fixtures, open, package, serve, site, with_package};
use fewbit_engine::graph::Bindings;
use fewbit_engine::model::BuildOptions;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::{self, ModelFiles};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tower_http::services::ServeDir;

const MODEL: &str = "vit";
/// What the reference itself allows.
const MOST_OFF: f64 = 2e-4;

/// The checkpoint in Hugging Face's layout, and what goes in and out of it.
struct Exported {
    folder: tempfile::TempDir,
    /// `{ name: { type, shape, data } }`
    inputs: Value,
    expected: Vec<f32>,
}

fn exported() -> Result<Exported> {
    let checkpoint = fixtures().join(MODEL);
    let reference = std::fs::read(checkpoint.join("reference.safetensors"))?;
    let reference = SafeTensors::deserialize(&reference)?;
    let pixels = reference.tensor("in.pixel_values")?;
    let file = |name: &str| -> Result<Rc<dyn ByteSource>> {
        let bytes = std::fs::read(checkpoint.join(name)).context(name.to_owned())?;
        Ok(Rc::new(MemorySource::new(name, bytes)))
    };
    let files = ModelFiles::new(vec![file("config.json")?, file("model.safetensors")?]);
    let opened = pollster::block_on(checkpoint::open(&files, BuildOptions::default()))?;
    let sizes = Bindings::from([("batch".to_owned(), pixels.shape()[0])]);
    let graph = opened.built.graph.specialize(&sizes)?;
    let onnx = pollster::block_on(fewbit_onnx::export(&graph, &opened.source))?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model/onnx");
    std::fs::create_dir_all(&path)?;
    std::fs::write(path.join("model.onnx"), onnx)?;
    let config = folder.path().join("model/config.json");
    std::fs::copy(checkpoint.join("config.json"), config)?;
    let logits = reference.tensor("out.logits")?;
    let (floats, _) = logits.data().as_chunks();
    Ok(Exported {
        folder,
        inputs: json!({
            "pixel_values": { "type": "f32", "shape": pixels.shape(), "data": pixels.data() },
        }),
        expected: floats
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    })
}

/// The largest difference; infinite where there are not as many.
fn off(got: &Value, expected: &[f32]) -> f64 {
    let got: Vec<f64> = serde_json::from_value(got.clone()).unwrap_or_default();
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let pairs = got.iter().zip(expected);
    pairs.fold(0.0, |worst, (a, b)| (a - f64::from(*b)).abs().max(worst))
}

/// A folder by its address, the file by its own, and the bytes: all give what the reference says.
#[tokio::test(flavor = "multi_thread")]
async fn an_onnx_model_gives_what_the_reference_does() -> Result<()> {
    const TEST: &str = "an_onnx_model_gives_what_the_reference_does";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let exported = exported()?;
    let pages = site(&package).nest_service("/onnx", ServeDir::new(exported.folder.path()));
    let base = serve(pages).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let body = "
            const inputs = {};
            for (const [name, tensor] of Object.entries(input)) inputs[name] = { ...tensor, data: Uint8Array.from(tensor.data) };
            const address = '/onnx/model/onnx/model.onnx';
            const bytes = await (await fetch(address)).arrayBuffer();
            const found = {};
            for (const [name, source] of [['folder', '/onnx/model/'], ['file', address], ['bytes', [{ name: 'm.onnx', data: bytes }]]]) {
              const model = await load(source, { backend: 'wasm' });
              const { logits } = await model.forward(inputs, { outputs: ['logits'] });
              found[name] = { logits: [...new Float32Array(logits.data.slice().buffer)], info: model.info };
              model.dispose();
            }
            return found;";
        let found = with_package(&mut session, body, exported.inputs.clone()).await?;
        let browser = installed.browser.name();
        for (name, found) in found.as_object().context("no object")? {
            let off = off(&found["logits"], &exported.expected);
            println!("{browser}: {name}: off by {off:.1e}");
            ensure!(off <= MOST_OFF, "{browser}: {name}: off by {off}: {found}");
            let tasks = &found["info"]["tasks"];
            ensure!(tasks == &json!(["classify"]), "{browser}: {name}: {tasks}");
        }
        let loaded = &found["folder"]["info"];
        ensure!(
            loaded["name"] == "model" && loaded["blockFormat"] == "f32",
            "{browser}: {loaded}"
        );
        session.close().await;
    }
    Ok(())
}

/// The names of operators can be changed where they stand in a file.
fn with_operators(onnx: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = onnx.to_vec();
    for (from, to) in changes {
        assert_eq!(from.len(), to.len());
        let found = bytes.windows(from.len()).enumerate();
        let places: Vec<usize> = found
            .filter(|(_, window)| *window == from.as_bytes())
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "the file has no {from}");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

/// Operators that are not read are all named, and a file that is none is told apart from them; the next load works.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_are_typed_errors() -> Result<()> {
    const TEST: &str = "files_that_cannot_be_read_are_typed_errors";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let exported = exported()?;
    let folder = exported.folder.path();
    let onnx = std::fs::read(folder.join("model/onnx/model.onnx"))?;
    let unknown = with_operators(
        &onnx,
        &[
            ("LayerNormalization", "LayerNormalisation"),
            ("Softmax", "Sofdmax"),
        ],
    );
    write(folder, "unknown.onnx", &unknown)?;
    write(folder, "cut.onnx", &onnx[..onnx.len() / 2])?;
    write(folder, "text.onnx", b"<!doctype html>")?;
    let pages = site(&package).nest_service("/onnx", ServeDir::new(folder));
    let base = serve(pages).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let body = "
            const told = {};
            for (const name of input) {
              told[name] = await load(`/onnx/${name}`, { backend: 'wasm' }).then(
                (model) => { model.dispose(); return { code: 'none' }; },
                ({ code, message }) => ({ code, message }),
              );
            }
            return told;";
        let names = json!([
            "unknown.onnx",
            "cut.onnx",
            "text.onnx",
            "none.onnx",
            "model/"
        ]);
        let told = with_package(&mut session, body, names).await?;
        let browser = installed.browser.name();
        let code = |name: &str| told[name]["code"].as_str().unwrap_or_default().to_owned();
        let message = told["unknown.onnx"]["message"].as_str().unwrap_or_default();
        ensure!(
            code("unknown.onnx") == "unsupported"
                && message.contains("LayerNormalisation")
                && message.contains("Sofdmax"),
            "{browser}: {told}"
        );
        ensure!(code("cut.onnx") == "bad_model", "{browser}: {told}");
        ensure!(code("text.onnx") == "bad_model", "{browser}: {told}");
        ensure!(code("none.onnx") == "not_found", "{browser}: {told}");
        ensure!(code("model/") == "none", "{browser}: {told}");
        session.close().await;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    std::fs::write(folder.join(name), bytes).context(name.to_owned())
}
