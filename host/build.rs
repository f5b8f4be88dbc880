//! Keeps the sums of the sources that the program is built from, for `fewbit matrix` ([`sources`]). Puts DuckDB's shared library beside the executable and has the executable look for it there, so that
//! neither `target/release/fewbit` nor a test needs `LD_LIBRARY_PATH`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    sources();
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

/// Folders of the project whose files decide what a native target computes.
const SOURCES: [&str; 6] = [
    "kernels/src",
    "engine/src",
    "shaders",
    "onnx/src",
    "native-backends/src",
    "media/src",
];

/// Writes `sources.json`: path in the project to SHA-256. Tests and what they read are left out.
fn sources() {
    let project = Path::new("..");
    let mut sums = BTreeMap::new();
    for folder in SOURCES {
        println!("cargo:rerun-if-changed=../{folder}");
        collect(project, &project.join(folder), &mut sums);
    }
    let lines: Vec<String> = sums
        .iter()
        .map(|(path, sum)| format!("\"{path}\": \"{sum}\""))
        .collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let json = format!("{{{}}}", lines.join(",\n"));
    fs::write(out.join("sources.json"), json).expect("OUT_DIR can be written");
}

fn collect(project: &Path, folder: &Path, sums: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "fixtures", "suite", "target", "benches"].contains(&name.as_str()) {
                collect(project, &path, sums);
            }
        } else if (name.ends_with(".rs") || name.ends_with(".wgsl")) && name != "tests.rs" {
            let inside = path.strip_prefix(project).unwrap_or(&path);
            let inside = inside.to_string_lossy().replace('\\', "/");
            let bytes = fs::read(&path).unwrap_or_default();
            let sum = Sha256::digest(&bytes);
            let sum = sum.iter().take(8).map(|b| format!("{b:02x}")).collect();
            sums.insert(inside, sum);
        }
    }
}
