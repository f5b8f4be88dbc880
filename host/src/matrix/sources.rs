//! Which source files a cell's numbers hang on, and a sum over them.
//!
//! Sums of the project's sources are kept when it is built: those of the native program in it, those of the wasm modules
//! beside them (`sources.json`). A file belongs to all cells unless the tables here say to which: to an architecture, a
//! back end, or the operators of a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::target::{BrowserBackend, NativeBackend, Target};

/// Path in the project to sum.
pub type Sources = BTreeMap<String, String>;

/// The sources that this program was built from.
pub fn native() -> Sources {
    serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/sources.json")))
        .unwrap_or_default()
}

/// The sources that the modules of the package in `web` were built from; nothing where it does not say.
pub fn of_package(web: &Path) -> Option<Sources> {
    let json = std::fs::read(web.parent()?.join("sources.json")).ok()?;
    serde_json::from_slice(&json).ok()
}

/// What computes in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computes {
    Cpu,
    Gpu,
    /// WebNN or ONNX Runtime: kernels that are not ours.
    Foreign,
}

fn computes(target: Target) -> Computes {
    match target {
        Target::Native(NativeBackend::Cpu) | Target::Browser(_, BrowserBackend::Wasm) => {
            Computes::Cpu
        }
        Target::Native(NativeBackend::Wgpu) | Target::Browser(_, BrowserBackend::Webgpu) => {
            Computes::Gpu
        }
        Target::Browser(_, BrowserBackend::Webnn) | Target::Native(_) => Computes::Foreign,
        // Which operators the browser leaves to it shows when it runs.
        Target::Browser(_, BrowserBackend::WebnnWasm) => Computes::Cpu,
    }
}

/// The operators that a model's graphs have on each kind of back end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    pub cpu: BTreeSet<String>,
    pub gpu: BTreeSet<String>,
}

/// Files that only some operators use, by the beginning of their path; an operator belongs if its name begins or ends with
/// one of the words (`^` marks a beginning, `$` an end, else it is the name).
const KERNELS: &[(&str, &[&str])] = &[
    ("shaders/wgsl/attention", &["attention"]),
    ("shaders/wgsl/conv2d", &["conv2d"]),
    ("shaders/wgsl/cumulative_sum", &["cumulative_sum"]),
    ("shaders/wgsl/gather", &["gather"]),
    ("shaders/wgsl/kv_append", &["kv_append"]),
    ("shaders/wgsl/linear", &["block_matmul"]),
    ("shaders/wgsl/matmul", &["matmul"]),
    (
        "shaders/wgsl/normalize",
        &["layer_normalization", "rms_normalization", "softmax"],
    ),
    ("shaders/wgsl/pad", &["pad"]),
    ("shaders/wgsl/pool2d", &["$pool2d"]),
    ("shaders/wgsl/reduce", &["^reduce", "^arg"]),
    ("shaders/wgsl/rotary_embedding", &["rotary_embedding"]),
    ("shaders/wgsl/scatter", &["scatter_nd"]),
    ("shaders/wgsl/top_k", &["top_k"]),
    ("kernels/src/attention.rs", &["attention"]),
    ("kernels/src/conv.rs", &["conv2d"]),
    (
        "kernels/src/norm.rs",
        &["layer_normalization", "rms_normalization", "softmax"],
    ),
    ("kernels/src/op/pad.rs", &["pad"]),
    ("kernels/src/pool.rs", &["$pool2d"]),
    ("kernels/src/rotary.rs", &["rotary_embedding"]),
    (
        "engine/src/backend/cpu/reference/rotary.rs",
        &["rotary_embedding"],
    ),
    (
        "engine/src/backend/cpu/reference/scatter.rs",
        &["scatter_nd"],
    ),
];

/// Whether a file's content can change what a target computes for an architecture with these operators.
fn belongs(
    path: &str,
    target: Target,
    architecture: Option<&str>,
    ops: Option<&Operators>,
) -> bool {
    let computes = computes(target);
    if let Some(name) = path.strip_prefix("engine/src/model/") {
        let name = name.trim_end_matches(".rs");
        let users = ARCHITECTURES.iter().find(|(file, _)| *file == name);
        let known = |a: &&str| ARCHITECTURES.iter().any(|(_, users)| users.contains(a));
        return match (users, architecture.filter(known)) {
            (Some((_, users)), Some(architecture)) => users.contains(&architecture),
            _ => true,
        };
    }
    let in_browser = matches!(target, Target::Browser(..));
    let is_webnn = matches!(target, Target::Browser(_, backend) if backend.uses_webnn());
    let is_ort = matches!(target, Target::Native(native) if native.is_onnx_runtime());
    if path.starts_with("runtime-wasm/src/webnn") && !is_webnn {
        return false;
    }
    if path.starts_with("native-backends/src/ort/") && !is_ort {
        return false;
    }
    let only = [
        ("kernels/", computes == Computes::Cpu),
        ("engine/src/backend/cpu/", computes == Computes::Cpu),
        ("shaders/", computes == Computes::Gpu),
        ("engine/src/backend/gpu/", computes == Computes::Gpu),
        ("runtime-wasm/", in_browser),
        ("wasm-boundary/", in_browser),
        ("web/", in_browser),
        ("www/", in_browser),
        ("native-backends/", !in_browser),
        ("onnx/", !in_browser),
    ];
    // Block formats and element types are of all back ends.
    let shared = path.starts_with("kernels/src/element/");
    if !shared
        && only
            .iter()
            .any(|(folder, is)| path.starts_with(folder) && !is)
    {
        return false;
    }
    let Some(ops) = ops else { return true };
    let ops = if computes == Computes::Gpu {
        &ops.gpu
    } else {
        &ops.cpu
    };
    let Some((_, words)) = KERNELS.iter().find(|(start, _)| path.starts_with(start)) else {
        return true;
    };
    let has = |word: &str| {
        ops.iter().any(
            |op| match (word.strip_prefix('^'), word.strip_prefix('$')) {
                (Some(start), _) => op.starts_with(start),
                (_, Some(end)) => op.ends_with(end),
                _ => op == word,
            },
        )
    };
    words.iter().any(|word| has(word))
}

/// Files of `engine/src/model/` and the architectures that are built by them; the others are of all.
const ARCHITECTURES: &[(&str, &[&str])] = &[
    ("bert", &["bert", "clap", "distilbert", "roberta"]),
    ("clap", &["clap"]),
    ("clip", &["clip"]),
    ("detr", &["detr"]),
    ("distilbert", &["distilbert"]),
    ("gpt2", &["gpt2"]),
    ("llama", &["llama", "qwen2"]),
    ("qwen2", &["qwen2"]),
    ("roberta", &["roberta"]),
    ("swin", &["clap"]),
    ("t5", &["t5"]),
    ("vit", &["vit"]),
    ("wav2vec2", &["wav2vec2"]),
    ("whisper", &["whisper"]),
];

/// One sum over the files that a cell hangs on, 16 hexadecimal digits.
pub fn sum(
    sources: &Sources,
    target: Target,
    architecture: Option<&str>,
    ops: Option<&Operators>,
) -> String {
    let mut hash = Sha256::new();
    for (path, sum) in sources {
        if belongs(path, target, architecture, ops) {
            hash.update(format!("{path}\n{sum}\n"));
        }
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(names: &[&str]) -> Operators {
        let set: BTreeSet<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Operators {
            cpu: set.clone(),
            gpu: set,
        }
    }

    #[test]
    fn a_touched_kernel_is_of_the_cells_that_use_it() {
        let sources = native();
        assert!(sources.len() > 100, "{}", sources.len());
        let touched = |path: &str| {
            let mut other = sources.clone();
            assert!(other.contains_key(path), "{path}");
            other.insert(path.into(), "other".into());
            other
        };
        let changed = |path: &str, target: &str, architecture: &str, ops: &Operators| {
            let target = target.parse().unwrap();
            sum(&touched(path), target, Some(architecture), Some(ops))
                != sum(&sources, target, Some(architecture), Some(ops))
        };
        let vit = ops(&["conv2d", "block_matmul", "attention", "layer_normalization"]);
        let llama = ops(&[
            "block_matmul",
            "attention",
            "rms_normalization",
            "kv_append",
        ]);
        let conv = "shaders/wgsl/conv2d_tiled.wgsl";
        assert!(changed(conv, "chrome:webgpu", "vit", &vit));
        assert!(changed(conv, "native:wgpu", "vit", &vit));
        assert!(!changed(conv, "chrome:webgpu", "llama", &llama));
        assert!(!changed(conv, "chrome:wasm", "vit", &vit));
        assert!(!changed(conv, "shell:webnn", "vit", &vit));
        assert!(changed("kernels/src/conv.rs", "safari:wasm", "vit", &vit));
        assert!(!changed(
            "kernels/src/conv.rs",
            "native:cpu",
            "llama",
            &llama
        ));
        assert!(changed(
            "engine/src/model/llama.rs",
            "native:cpu",
            "llama",
            &llama
        ));
        assert!(changed(
            "engine/src/model/llama.rs",
            "native:cpu",
            "qwen2",
            &llama
        ));
        assert!(!changed(
            "engine/src/model/llama.rs",
            "native:cpu",
            "vit",
            &vit
        ));
        for target in ["native:cpu", "native:wgpu", "shell:webnn", "firefox:wasm"] {
            assert!(
                changed("engine/src/graph/mod.rs", target, "llama", &llama),
                "{target}"
            );
        }
    }

    #[test]
    fn the_tables_name_files_that_there_are() {
        let sources = native();
        for (start, _) in KERNELS {
            assert!(
                sources.keys().any(|path| path.starts_with(start)),
                "{start}"
            );
        }
        for (name, _) in ARCHITECTURES {
            let path = format!("engine/src/model/{name}.rs");
            assert!(sources.contains_key(&path), "{path}");
        }
    }
}
