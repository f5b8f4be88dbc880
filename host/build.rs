//! Puts DuckDB's shared library beside the executable and has the executable look for it there, so that
//! neither `target/release/fewbit` nor a test needs `LD_LIBRARY_PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if !has("RESULTS") || has("BUNDLED_DUCKDB") {
        return;
    }
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let (library, here) = match os.as_str() {
        "windows" => ("duckdb.dll", None),
        "macos" => ("libduckdb.dylib", Some("@loader_path")),
        _ => ("libduckdb.so", Some("$ORIGIN")),
    };
    if let Some(here) = here {
        // The command lies in the profile's folder, tests one below it.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{here}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{here}/..");
    }
    let Some(folder) = env::var_os("DUCKDB_LIB_DIR") else {
        return; // A library of the system's: its loader finds it.
    };
    let source = PathBuf::from(folder).join(library);
    if !source.is_file() {
        println!(
            "cargo:warning={} is missing: `cargo xtask setup` puts it there",
            source.display()
        );
        return;
    }
    println!("cargo:rerun-if-changed={}", source.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let Some(profile) = out.ancestors().nth(3) else {
        return;
    };
    if let Err(error) = place(&source, &profile.join(library)) {
        println!(
            "cargo:warning=cannot put {library} into {}: {error}",
            profile.display()
        );
    }
}

/// Links `source` to `destination`, or copies it where the file system cannot.
fn place(source: &Path, destination: &Path) -> std::io::Result<()> {
    if destination.exists() {
        fs::remove_file(destination)?;
    }
    fs::hard_link(source, destination).or_else(|_| fs::copy(source, destination).map(|_| ()))
}
