//! `xtask-bindgen IN.wasm OUT_DIR NAME`: writes `NAME.js`, `NAME.d.ts` and `NAME_bg.wasm` for `<script type="module">`.
//!
//! The same library as the `wasm-bindgen` command, locked to the version of the `wasm-bindgen` crate by
//! the workspace's `Cargo.lock`, so that the two can never disagree.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir, name] = args.as_slice() else {
        bail!("usage: xtask-bindgen IN.wasm OUT_DIR NAME");
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name(name)
        .typescript(true)
        // Several copies of the glue live beside one another; each names its wasm explicitly.
        .omit_default_module_path(true)
        // Names of functions are a tenth of the module; a page has no use for them.
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen.web(true)?;
    bindgen
        .generate(out_dir)
        .with_context(|| format!("bindings for {input}"))?;
    let glue = Path::new(out_dir).join(format!("{name}.js"));
    let text =
        std::fs::read_to_string(&glue).with_context(|| format!("read {}", glue.display()))?;
    std::fs::write(&glue, without_docs(&text)).with_context(|| format!("write {}", glue.display()))
}

/// The glue without its doc comments, which the types beside it carry too; a page need not download them.
fn without_docs(glue: &str) -> String {
    let mut inside = false;
    let mut kept = String::with_capacity(glue.len());
    for line in glue.split_inclusive('\n') {
        let trimmed = line.trim();
        inside |= trimmed.starts_with("/**");
        if !inside {
            kept.push_str(line);
        }
        inside &= !trimmed.ends_with("*/");
    }
    kept
}
