//! Where and how something runs: `native:cpu`, `chrome:webgpu`, and the rest of the design's targets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A target, printed and parsed as `native:BACKEND` or `BROWSER:BACKEND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    Native(NativeBackend),
    Browser(Browser, BrowserBackend),
}

/// The engine's own back ends, in this process, and ONNX Runtime's execution providers, each in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NativeBackend {
    Cpu,
    Wgpu,
    OrtCpu,
    OrtOpenVino,
    OrtCuda,
    OrtTensorRt,
    OrtMiGraphX,
    OrtCoreMl,
    OrtQnn,
    OrtDirectMl,
}

/// A browser family. On Linux `safari` is driven as WebKitGTK, and rows say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Browser {
    Chrome,
    /// Chromium's headless shell, in a build that has WebNN.
    Shell,
    Firefox,
    Safari,
    Edge,
}

/// What computes inside a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrowserBackend {
    Webgpu,
    Webnn,
    /// WebNN, and wasm for what the browser's refuses. Only who names it gets it.
    WebnnWasm,
    Wasm,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("`{0}` is no target: write PLACE:BACKEND, one of {known}", known = known())]
    Form(String),
    #[error(
        "`{place}` in `{target}` is no place to run: native, chrome, shell, firefox, safari or edge"
    )]
    Place { target: String, place: String },
    #[error("`{backend}` in `{target}` is no back end of `{place}`, which has {has}")]
    Backend {
        target: String,
        place: String,
        backend: String,
        has: &'static str,
    },
}

impl NativeBackend {
    pub const ALL: [NativeBackend; 10] = [
        NativeBackend::Cpu,
        NativeBackend::Wgpu,
        NativeBackend::OrtCpu,
        NativeBackend::OrtOpenVino,
        NativeBackend::OrtCuda,
        NativeBackend::OrtTensorRt,
        NativeBackend::OrtMiGraphX,
        NativeBackend::OrtCoreMl,
        NativeBackend::OrtQnn,
        NativeBackend::OrtDirectMl,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            NativeBackend::Cpu => "cpu",
            NativeBackend::Wgpu => "wgpu",
            NativeBackend::OrtCpu => "ort-cpu",
            NativeBackend::OrtOpenVino => "ort-openvino",
            NativeBackend::OrtCuda => "ort-cuda",
            NativeBackend::OrtTensorRt => "ort-tensorrt",
            NativeBackend::OrtMiGraphX => "ort-migraphx",
            NativeBackend::OrtCoreMl => "ort-coreml",
            NativeBackend::OrtQnn => "ort-qnn",
            NativeBackend::OrtDirectMl => "ort-directml",
        }
    }

    /// Whether ONNX Runtime computes.
    pub const fn is_onnx_runtime(self) -> bool {
        !matches!(self, NativeBackend::Cpu | NativeBackend::Wgpu)
    }
}

impl Browser {
    pub const ALL: [Browser; 5] = [
        Browser::Chrome,
        Browser::Shell,
        Browser::Firefox,
        Browser::Safari,
        Browser::Edge,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Browser::Chrome => "chrome",
            Browser::Shell => "shell",
            Browser::Firefox => "firefox",
            Browser::Safari => "safari",
            Browser::Edge => "edge",
        }
    }
}

impl BrowserBackend {
    /// Those that compute everything by themselves.
    pub const ALL: [BrowserBackend; 3] = [
        BrowserBackend::Webgpu,
        BrowserBackend::Webnn,
        BrowserBackend::Wasm,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            BrowserBackend::Webgpu => "webgpu",
            BrowserBackend::Webnn => "webnn",
            BrowserBackend::WebnnWasm => "webnn+wasm",
            BrowserBackend::Wasm => "wasm",
        }
    }

    /// Whether the browser needs WebNN.
    pub const fn uses_webnn(self) -> bool {
        matches!(self, BrowserBackend::Webnn | BrowserBackend::WebnnWasm)
    }
}

impl Target {
    /// Every target there is, native ones first, but for those that mix back ends.
    pub fn all() -> Vec<Target> {
        let native = NativeBackend::ALL.into_iter().map(Target::Native);
        let browsers = Browser::ALL.into_iter().flat_map(|browser| {
            BrowserBackend::ALL
                .into_iter()
                .map(move |backend| Target::Browser(browser, backend))
        });
        native.chain(browsers).collect()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let (place, backend) = text
            .split_once(':')
            .ok_or_else(|| TargetError::Form(text.to_string()))?;
        let no_backend = |has| TargetError::Backend {
            target: text.to_string(),
            place: place.to_string(),
            backend: backend.to_string(),
            has,
        };
        if place == "native" {
            return NativeBackend::ALL
                .into_iter()
                .find(|b| b.name() == backend)
                .map(Target::Native)
                .ok_or_else(|| no_backend(NATIVE));
        }
        let browser = Browser::ALL
            .into_iter()
            .find(|b| b.name() == place)
            .ok_or_else(|| TargetError::Place {
                target: text.to_string(),
                place: place.to_string(),
            })?;
        let mut backends = BrowserBackend::ALL
            .into_iter()
            .chain([BrowserBackend::WebnnWasm]);
        backends
            .find(|b| b.name() == backend)
            .map(|backend| Target::Browser(browser, backend))
            .ok_or_else(|| no_backend("webgpu, webnn, wasm and webnn+wasm"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Native(backend) => write!(f, "native:{}", backend.name()),
            Target::Browser(browser, backend) => {
                write!(f, "{}:{}", browser.name(), backend.name())
            }
        }
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Target, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

/// The native back ends in words.
const NATIVE: &str = "cpu, wgpu, and of ONNX Runtime ort-cpu, ort-openvino, ort-cuda, ort-tensorrt, ort-migraphx, ort-coreml, \
                      ort-qnn and ort-directml";

fn known() -> String {
    let names: Vec<String> = Target::all().iter().map(Target::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_parses_as_it_prints() {
        for target in Target::all() {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert_eq!(Target::all().len(), 25);
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let message = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert!(message("cpu").contains("native:cpu"));
        assert!(message("opera:wasm").contains("`opera`"));
        assert!(message("native:webgpu").contains("cpu, wgpu, and of ONNX Runtime"));
        let all = NativeBackend::ALL.into_iter();
        assert!(
            all.map(NativeBackend::name)
                .all(|name| NATIVE.contains(name))
        );
        assert!(message("chrome:wgpu").contains("webgpu, webnn, wasm and webnn+wasm"));
        assert!(message("Chrome:wasm").contains("`Chrome`"));
    }
}
