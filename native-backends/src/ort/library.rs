//! ONNX Runtime's library. A process can hold one: which, is said once, before a device of it is opened.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::provider::Provider;

/// Where a library was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// ONNX Runtime itself.
    pub runtime: PathBuf,
    /// The provider, where that is a library of its own.
    pub plug_in: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The loader's words.
    #[error("{path} cannot be loaded: {message}")]
    Load { path: PathBuf, message: String },
    #[error("this process holds {held} already, and can hold no other")]
    Another { held: PathBuf },
    #[error("{0}")]
    Runtime(#[from] ort::Error),
}

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Library {
    pub(super) environment: Environment,
    found: Found,
    version: String,
}

static HELD: Mutex<Option<Library>> = Mutex::new(None);

impl Library {
    /// Loads ONNX Runtime, and the plug-in. The same one again is no work.
    ///
    /// A library that is not what it says may end the process: call this in one that may end.
    ///
    /// # Errors
    /// What the loader says; another library that this process holds already.
    pub fn load(found: &Found) -> Result<Library, LibraryError> {
        let mut held = HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(library) = &*held {
            return match library.found == *found {
                true => Ok(library.clone()),
                false => Err(LibraryError::Another {
                    held: library.found.runtime.clone(),
                }),
            };
        }
        let refused = |message: String| LibraryError::Load {
            path: found.runtime.clone(),
            message,
        };
        let version = version(&found.runtime).map_err(refused)?;
        let builder = ort::init_from(&found.runtime).map_err(|error| refused(error.to_string()))?;
        let environment = builder.build()?;
        environment.set_log_level(LogLevel::Error);
        if let Some(plug_in) = &found.plug_in {
            let registered = environment.register_ep_library("fewbit", plug_in);
            registered.map_err(|error| LibraryError::Load {
                path: plug_in.clone(),
                message: error.to_string(),
            })?;
        }
        let library = Library {
            environment,
            found: found.clone(),
            version,
        };
        *held = Some(library.clone());
        Ok(library)
    }

    /// The one that this process holds.
    pub fn held() -> Option<Library> {
        let held = HELD.lock();
        held.unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// As the library tells it: `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The devices that ONNX Runtime lists for a provider. Only plug-ins must list theirs.
    pub fn devices(&self, provider: Provider) -> Vec<String> {
        let devices = self.environment.devices();
        let own = devices.filter(|device| device.ep().ok() == Some(provider.identifier()));
        own.map(|device| {
            let hardware = device.hardware_device();
            let vendor = hardware.vendor().unwrap_or_default();
            format!("{vendor} {:?} {:#x}", hardware.ty(), hardware.id())
                .trim()
                .to_owned()
        })
        .collect()
    }
}

/// What `OrtApiBase::GetVersionString` says.
fn version(path: &Path) -> Result<String, String> {
    // SAFETY: running a library's initializers is what loading ONNX Runtime means; it is not unloaded, as `ort` loads
    // the same file right after.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| told(&error))?;
    // SAFETY: the signature is that of onnxruntime_c_api.h, unchanged since 1.0.
    let base = unsafe {
        library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase")
    };
    let base = base.map_err(|_| "it exports no `OrtGetApiBase`".to_owned())?;
    // SAFETY: both give pointers to static data of the library.
    let version = unsafe {
        let base = base();
        if base.is_null() {
            return Err("`OrtGetApiBase` gives nothing".into());
        }
        CStr::from_ptr(((*base).GetVersionString)())
    };
    let version = version.to_string_lossy().into_owned();
    std::mem::forget(library);
    Ok(version)
}

/// An error with what it says of its cause.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
