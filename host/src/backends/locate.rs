//! Where the library of a provider is.

use std::path::{Path, PathBuf};

use fewbit_native_backends::ort::Provider;

use crate::job::RunError;

/// A provider's library on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// ONNX Runtime itself.
    pub runtime: PathBuf,
    /// The provider, where that is a library of its own.
    pub plug_in: Option<PathBuf>,
}

/// Whoever keeps libraries elsewhere names a folder here: of a library, or of folders named as those that `fewbit backends
/// install` takes.
const FOLDER: &str = "FEWBIT_ORT_DIR";

/// Looks in `FEWBIT_ORT_DIR`, then in the store's folder.
///
/// # Errors
/// `unavailable`, with what to type.
pub fn locate(provider: Provider, home: &Path) -> Result<Located, RunError> {
    if let Some(system) = only_on(provider) {
        return Err(RunError::unavailable(
            "no_library",
            format!("{} is there on {system} only", provider.name()),
        ));
    }
    let name = package_of(provider);
    let mut folders = Vec::new();
    if let Some(own) = std::env::var_os(FOLDER).filter(|own| !own.is_empty()) {
        let own = PathBuf::from(own);
        folders.push(own.join(name));
        folders.push(own);
    }
    folders.push(crate::store::backends(home).join(name));
    let found = folders
        .iter()
        .find_map(|folder| in_folder(folder, provider));
    found.ok_or_else(|| {
        RunError::unavailable(
            "no_library",
            format!(
                "the library of {} is not here; type: fewbit backends install {name}",
                provider.name()
            ),
        )
    })
}

/// The system that has a provider, where it is not this one.
fn only_on(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::CoreMl if !cfg!(target_os = "macos") => Some("macOS"),
        Provider::DirectMl if !cfg!(windows) => Some("Windows"),
        _ => None,
    }
}

/// The name of the package that has a provider's library.
pub fn package_of(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "cpu",
        Provider::OpenVino => "openvino",
        Provider::Cuda | Provider::TensorRt => "cuda",
        Provider::MiGraphX => "migraphx",
        Provider::CoreMl => "coreml",
        Provider::Qnn => "qnn",
        Provider::DirectMl => "directml",
    }
}

/// The libraries in a folder by their names: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.dylib`,
/// `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`.
fn in_folder(folder: &Path, provider: Provider) -> Option<Located> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let runtime = |name: &&String| {
        let rest = name.trim_start_matches("lib").strip_prefix("onnxruntime.");
        rest.is_some_and(|rest| {
            let mut parts = rest.split('.');
            parts.all(|part| {
                matches!(part, "so" | "dylib" | "dll") || part.bytes().all(|b| b.is_ascii_digit())
            })
        }) && is_library(name)
    };
    let plug_in = |name: &&String| name.contains("providers_qnn") && is_library(name);
    let own = match provider.is_plug_in() {
        // Its package keeps it in a folder, which its own libraries are found from.
        true => match names.iter().find(plug_in) {
            Some(name) => Some(folder.join(name)),
            None => Some(in_package(&folder.join("onnxruntime_qnn"), plug_in)?),
        },
        false => None,
    };
    Some(Located {
        runtime: folder.join(names.iter().find(runtime)?),
        plug_in: own,
    })
}

fn in_package(folder: &Path, wanted: impl Fn(&&String) -> bool) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let name = names.find(|name| wanted(&name))?;
    Some(folder.join(name))
}

fn is_library(name: &str) -> bool {
    let mut parts = name.split('.').skip(1);
    parts.any(|part| part == std::env::consts::DLL_EXTENSION)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("libonnxruntime_providers_shared.so"), "").unwrap();
        std::fs::write(at("onnxruntime_pybind11_state.so"), "").unwrap();
        std::fs::write(at("libonnxruntime.so.txt"), "").unwrap();
        assert_eq!(in_folder(folder.path(), Provider::Cpu), None);
        std::fs::write(at("libonnxruntime.so.1.32.0"), "").unwrap();
        let found = in_folder(folder.path(), Provider::OpenVino).unwrap();
        assert_eq!(found.runtime, at("libonnxruntime.so.1.32.0"));
        assert_eq!(in_folder(folder.path(), Provider::Qnn), None);
        std::fs::write(at("libonnxruntime_providers_qnn.so"), "").unwrap();
        let found = in_folder(folder.path(), Provider::Qnn).unwrap();
        assert_eq!(found.plug_in, Some(at("libonnxruntime_providers_qnn.so")));
    }

    #[test]
    fn what_is_not_here_says_what_to_type() {
        let home = tempfile::tempdir().unwrap();
        let error = locate(Provider::MiGraphX, home.path()).unwrap_err();
        assert_eq!(error.outcome, crate::job::Outcome::Unavailable);
        assert!(error.message.contains("fewbit backends install migraphx"));
    }
}
