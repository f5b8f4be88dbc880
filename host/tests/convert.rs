//! `fewbit convert`, `fewbit models verify` and what `fewbit bench` refuses, by the command itself.
#![cfg(all(feature = "native", feature = "results"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;

use fewbit_engine::format::{Checkpoint, pytorch, read_tensor, safetensors};
use fewbit_engine::source::{ByteSource, MemorySource};
use serde_json::Value;

fn fixture(model: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/reference");
    root.join(model).canonicalize().unwrap()
}

/// A copy of a fixture, to be changed.
fn copy(model: &str, to: &Path) -> PathBuf {
    let folder = to.join(model);
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(fixture(model)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    folder
}

/// A user with a store of their own.
struct User {
    home: tempfile::TempDir,
}

impl User {
    fn new() -> User {
        User {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn command(&self) -> Command {
        self.within(env!("CARGO_BIN_EXE_fewbit"))
    }

    fn within(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("FEWBIT_HOME", self.path().join("store"))
            .env_remove("FEWBIT_DB");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs what must succeed, and gives its JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    }

    /// Runs what must fail with exit code 1, and gives what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        said(&output)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn left(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_conversion_is_done_once_and_anew_when_it_is_stale() {
    let user = User::new();
    let source = copy("gpt2-bin", user.path());
    let out = user.path().join("out/gpt2.onnx");
    let convert = |more: &[&str]| {
        let mut arguments = vec!["convert", text(&source), text(&out), "--json"];
        arguments.extend(more);
        user.json(&arguments)
    };
    let first = convert(&[]);
    assert_eq!(first["outcome"], "converted");
    assert_eq!(first["verification"], "holds");
    assert_eq!(left(out.parent().unwrap()), ["gpt2.onnx"]);
    let changed = std::fs::metadata(&out).unwrap().modified().unwrap();
    assert_eq!(convert(&[])["outcome"], "done");
    assert_eq!(
        std::fs::metadata(&out).unwrap().modified().unwrap(),
        changed
    );

    let stale = |converted: Value, why: &str| {
        assert_eq!(converted["outcome"], "converted");
        assert!(
            converted["reasons"].to_string().contains(why),
            "{converted}"
        );
    };
    stale(convert(&["--external-data"]), "other options");
    assert_eq!(left(out.parent().unwrap()), ["gpt2.onnx", "gpt2.onnx.data"]);
    stale(convert(&[]), "other options");
    assert_eq!(left(out.parent().unwrap()), ["gpt2.onnx"]);
    std::fs::write(&out, b"no model").unwrap();
    stale(convert(&[]), "the result has changed");
    std::fs::remove_file(&out).unwrap();
    stale(convert(&[]), "the result is gone");
    let config = source.join("config.json");
    let json = std::fs::read_to_string(&config).unwrap() + "\n";
    std::fs::write(&config, json).unwrap();
    stale(convert(&[]), "the source has changed");
    assert_eq!(convert(&[])["outcome"], "done");

    let rows = user.json(&[
        "query",
        "--json",
        "SELECT count(*) AS n FROM conversions WHERE verification = 'holds'",
    ]);
    assert_eq!(rows[0]["n"], 6, "{rows}");
}

#[test]
fn what_no_conversion_made_is_left_alone() {
    let user = User::new();
    let out = user.path().join("mine.onnx");
    std::fs::write(&out, b"mine").unwrap();
    let model = fixture("bert");
    let said = user.refused(&["convert", text(&model), text(&out)]);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
    user.json(&["convert", text(&model), text(&out), "--force", "--json"]);
    assert_ne!(std::fs::read(&out).unwrap(), b"mine");
    let said = user.refused(&[
        "convert",
        text(&model),
        text(&model.join("model.safetensors")),
        "--force",
    ]);
    assert!(
        said.contains("one of the files that are converted"),
        "{said}"
    );
}

#[test]
fn command_lines_that_contradict_themselves_are_refused() {
    let user = User::new();
    let model = fixture("t5");
    let out = user.path().join("out");
    for (arguments, why) in [
        (vec![text(&out)], "--to"),
        (
            vec!["x.onnx", "--to", "safetensors"],
            "--to says safetensors",
        ),
        (vec!["x.onnx"], "two ONNX files"),
    ] {
        let mut all = vec!["convert", text(&model)];
        let path = user.path().join(arguments[0]);
        all.push(text(&path));
        all.extend(&arguments[1..]);
        let said = user.refused(&all);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(left(user.path()), ["store"]);
}

fn read(
    path: &Path,
    parse: impl Fn(&MemorySource) -> Checkpoint,
) -> (Checkpoint, Vec<Rc<dyn ByteSource>>) {
    let source = MemorySource::new("file", std::fs::read(path).unwrap());
    let checkpoint = parse(&source);
    (checkpoint, vec![Rc::new(source)])
}

#[test]
fn safetensors_of_an_archive_have_its_tensors() {
    let user = User::new();
    let model = fixture("gpt2-bin");
    let out = user.path().join("folder");
    user.json(&[
        "convert",
        text(&model),
        text(&out),
        "--to",
        "safetensors",
        "--json",
    ]);
    assert!(left(&out).contains(&"config.json".to_owned()));
    let archive = model.join("pytorch_model.bin");
    let (old, old_files) = read(&archive, |file| {
        pollster::block_on(pytorch::read_header(file)).unwrap()
    });
    let made = out.join("model.safetensors");
    let (new, new_files) = read(&made, |file| {
        pollster::block_on(safetensors::read_header(file)).unwrap()
    });
    assert_eq!(
        old.tensors.keys().collect::<Vec<_>>(),
        new.tensors.keys().collect::<Vec<_>>()
    );
    for (name, entry) in &old.tensors {
        let other = &new.tensors[name];
        assert_eq!(
            (&entry.shape, entry.element),
            (&other.shape, other.element),
            "{name}"
        );
        let bytes = |files: &[Rc<dyn ByteSource>], entry| {
            pollster::block_on(read_tensor(files, entry)).unwrap()
        };
        assert_eq!(bytes(&old_files, entry), bytes(&new_files, other), "{name}");
    }
    let report = user.json(&["models", "verify", text(&out), "--json"]);
    assert_eq!(report["holds"], true, "{report}");
}

/// A file may have no more than so many blocks of 512 bytes: writing on fails, as on a full disk.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_is_left_with_nothing() {
    let user = User::new();
    let model = fixture("bert");
    for name in ["out/model.onnx", "out/model.safetensors"] {
        let out = user.path().join(name);
        let script = "trap '' XFSZ; ulimit -f 40; exec \"$@\"";
        let mut shell = user.within("sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_fewbit")]);
        shell.args(["convert", "--no-registry", text(&model), text(&out)]);
        let output = shell.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            said(&output).contains("large") || said(&output).contains("space"),
            "{}",
            said(&output)
        );
        assert!(left(out.parent().unwrap()).is_empty());
    }
}

/// Sets the first four bytes of a tensor of f32.
fn spoil(file: &Path, tensor: &str, value: f32) {
    let (checkpoint, _) = read(file, |file| {
        pollster::block_on(safetensors::read_header(file)).unwrap()
    });
    let at = checkpoint.tensors[tensor].offset as usize;
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(file, bytes).unwrap();
}

fn outcome(report: &Value, check: &str) -> (String, String) {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["name"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check}: {report}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("outcome"), text("detail"))
}

#[test]
fn a_model_that_holds_says_what_it_is() {
    let user = User::new();
    for (model, architecture) in [
        ("bert", "bert"),
        ("llama", "llama"),
        ("t5", "t5"),
        ("detr", "detr"),
        ("wav2vec2", "wav2vec2"),
        ("clap", "clap"),
        ("whisper", "whisper"),
        ("clip", "clip"),
        ("vit", "vit"),
        ("qwen2", "qwen2"),
    ] {
        let report = user.json(&["models", "verify", text(&fixture(model)), "--json"]);
        assert_eq!(report["architecture"], architecture);
        for check in ["format", "shapes", "numbers", "operators"] {
            assert_eq!(
                outcome(&report, check).0,
                "holds",
                "{model} {check}: {report}"
            );
        }
        assert_eq!(outcome(&report, "integrity").0, "unknown");
        let targets = report["targets"].as_array().unwrap();
        let on = |target: &str| {
            targets.iter().find(|row| row["target"] == target).unwrap()["outcome"].clone()
        };
        assert_eq!(on("native:cpu"), "supported");
        assert_eq!(on("onnx"), "supported");
        assert_ne!(on("native:wgpu"), "unsupported", "{report}");
        let memory = &report["memory"];
        let bytes = |key: &str| memory[key].as_u64().unwrap();
        assert_eq!(
            bytes("total"),
            bytes("weights") + bytes("states") + bytes("activations")
        );
        assert!(bytes("weights") > 0 && bytes("activations") > 0, "{memory}");
        assert_eq!(
            bytes("states") > 0,
            ["llama", "qwen2", "t5", "whisper"].contains(&model),
            "{memory}"
        );
    }
}

#[test]
fn what_does_not_hold_is_named() {
    let user = User::new();
    let report = |folder: &Path| -> Value {
        let output = user.run(&["models", "verify", text(folder), "--json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let folder = copy("bert", &user.path().join("nan"));
    spoil(
        &folder.join("model.safetensors"),
        "encoder.layer.0.output.dense.weight",
        f32::NAN,
    );
    let (outcome_, detail) = outcome(&report(&folder), "numbers");
    assert_eq!(
        (outcome_.as_str(), detail.as_str()),
        (
            "fails",
            "encoder.layer.0.output.dense.weight: 1 NaN, 0 infinite"
        )
    );

    let folder = copy("bert", &user.path().join("shapes"));
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["intermediate_size"] = 96.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let (outcome_, detail) = outcome(&report(&folder), "shapes");
    assert_eq!(outcome_, "fails");
    assert!(detail.contains("intermediate.dense.weight"), "{detail}");

    let folder = copy("bert", &user.path().join("short"));
    let file = folder.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(outcome(&report(&folder), "format").0, "fails");
}

#[test]
fn an_onnx_file_says_which_operator_is_missing() {
    let user = User::new();
    let out = user.path().join("vit.onnx");
    user.json(&["convert", text(&fixture("vit")), text(&out), "--json"]);
    let report = user.json(&["models", "verify", text(&out), "--json"]);
    assert_eq!(report["format"], "ONNX");
    assert_eq!(outcome(&report, "operators").0, "holds", "{report}");
    // The same number of bytes, so that the file stays one.
    let mut bytes = std::fs::read(&out).unwrap();
    let at = bytes
        .windows(7)
        .position(|window| window == b"Softmax")
        .unwrap();
    let at = at
        + bytes[at + 7..]
            .windows(7)
            .position(|window| window == b"Softmax")
            .map_or(0, |next| next + 7);
    bytes[at..at + 7].copy_from_slice(b"Softmin");
    std::fs::write(&out, bytes).unwrap();
    let output = user.run(&["models", "verify", text(&out), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let missing = &report["targets"][0]["missing"];
    assert_eq!(missing[0], "Softmin (ai.onnx 21)", "{report}");
}

#[test]
fn what_was_never_verified_is_not_measured() {
    let user = User::new();
    let model = copy("llama", user.path());
    let bench = |more: &[&str]| {
        let mut arguments = vec![
            "bench",
            text(&model),
            "--target",
            "native:cpu",
            "--repeats",
            "1",
        ];
        arguments.extend(more);
        said(&user.run(&arguments))
    };
    let command = format!("fewbit models verify {}", text(&model));
    for more in [&[][..], &["--no-results"]] {
        let said = bench(more);
        assert!(
            said.contains("was never verified") && said.contains(&command),
            "{said}"
        );
    }
    user.json(&["models", "verify", text(&model), "--json"]);
    assert!(!bench(&[]).contains(&command));
    let config = model.join("config.json");
    let json = std::fs::read_to_string(&config).unwrap();
    // Written again, but the same: read, and found to be so.
    std::fs::write(&config, &json).unwrap();
    assert!(!bench(&["--no-results"]).contains(&command));
    std::fs::write(&config, json + "\n").unwrap();
    let said = bench(&[]);
    assert!(
        said.contains("has changed since") && said.contains(&command),
        "{said}"
    );
    spoil(
        &model.join("model.safetensors"),
        "model.norm.weight",
        f32::INFINITY,
    );
    user.refused(&["models", "verify", text(&model)]);
    let said = bench(&[]);
    assert!(
        said.contains("did not hold") && said.contains("model.norm.weight"),
        "{said}"
    );
}

/// A GGUF file of version 3: pairs (key, type, value) and tensors of f32 (name, shape outermost first, bytes).
fn gguf(pairs: &[(&str, u32, Vec<u8>)], tensors: &[(String, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((pairs.len() as u64).to_le_bytes());
    for (key, kind, value) in pairs {
        text(&mut file, key);
        file.extend(kind.to_le_bytes());
        file.extend(value);
    }
    let mut data = Vec::new();
    for (name, shape, bytes) in tensors {
        text(&mut file, name);
        file.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            file.extend((*size as u64).to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

/// The small LLaMA as llama.cpp's converter would write it, and back.
#[test]
fn llama_out_of_gguf_is_hugging_faces_again() {
    let user = User::new();
    let model = fixture("llama");
    let config = std::fs::read(model.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let size = |key: &str| config[key].as_u64().unwrap() as usize;
    let number = |value: usize| (value as u32).to_le_bytes().to_vec();
    let float = |value: &Value| (value.as_f64().unwrap() as f32).to_le_bytes().to_vec();
    let name = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let (heads, kv_heads) = (size("num_attention_heads"), size("num_key_value_heads"));
    let theta = [
        &config["rope_theta"],
        &config["rope_parameters"]["rope_theta"],
    ];
    let theta = theta.into_iter().find(|theta| theta.is_number()).unwrap();
    let pairs = [
        ("general.architecture", 8, name("llama")),
        ("llama.embedding_length", 4, number(size("hidden_size"))),
        (
            "llama.feed_forward_length",
            4,
            number(size("intermediate_size")),
        ),
        ("llama.block_count", 4, number(size("num_hidden_layers"))),
        (
            "llama.context_length",
            4,
            number(size("max_position_embeddings")),
        ),
        ("llama.attention.head_count", 4, number(heads)),
        ("llama.attention.head_count_kv", 4, number(kv_heads)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            6,
            float(&config["rms_norm_eps"]),
        ),
        ("llama.rope.freq_base", 6, float(theta)),
    ];
    let path = model.join("model.safetensors");
    let (checkpoint, files) = read(&path, |file| {
        pollster::block_on(safetensors::read_header(file)).unwrap()
    });
    let mut tensors = Vec::new();
    for (name, entry) in &checkpoint.tensors {
        let mut bytes = pollster::block_on(read_tensor(&files, entry)).unwrap();
        for (part, heads) in [("q_proj", heads), ("k_proj", kv_heads)] {
            if name.contains(part) {
                let half = entry.shape[0] / heads / 2;
                let row = bytes.len() / entry.shape[0];
                let rows: Vec<&[u8]> = bytes.chunks(row).collect();
                let at = |head: usize, j: usize, p: usize| rows[head * 2 * half + p * half + j];
                let order = (0..heads)
                    .flat_map(|head| (0..half).flat_map(move |j| [(head, j, 0), (head, j, 1)]));
                let permuted: Vec<&[u8]> = order.map(|(head, j, p)| at(head, j, p)).collect();
                bytes = permuted.concat();
            }
        }
        let mut name = name.replace("model.layers.", "blk.");
        for (from, to) in [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ] {
            name = name.replace(from, to);
        }
        tensors.push((name, entry.shape.clone(), bytes));
    }
    let source = user.path().join("llama.gguf");
    std::fs::write(&source, gguf(&pairs, &tensors)).unwrap();
    let out = user.path().join("llama");
    let converted = user.json(&[
        "convert",
        text(&source),
        text(&out),
        "--to",
        "safetensors",
        "--json",
    ]);
    assert_eq!(converted["verification"], "holds", "{converted}");
    let made = out.join("model.safetensors");
    let (new, new_files) = read(&made, |file| {
        pollster::block_on(safetensors::read_header(file)).unwrap()
    });
    assert_eq!(
        new.tensors.keys().collect::<Vec<_>>(),
        checkpoint.tensors.keys().collect::<Vec<_>>()
    );
    for (name, entry) in &checkpoint.tensors {
        let bytes = |files: &[Rc<dyn ByteSource>], entry| {
            pollster::block_on(read_tensor(files, entry)).unwrap()
        };
        assert!(
            bytes(&files, entry) == bytes(&new_files, &new.tensors[name]),
            "{name}"
        );
    }
    let report = user.json(&["models", "verify", text(&out), "--json"]);
    assert_eq!(outcome(&report, "shapes").0, "holds", "{report}");
}
