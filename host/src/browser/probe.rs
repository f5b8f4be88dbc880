//! Asks a browser what it can do. Each feature is tried by itself: none follows from another (WebKitGTK is cross-origin
//! isolated and has no SharedArrayBuffer).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::BrowserError;
use super::session::{Session, gpu_device};
use crate::job::AdapterInfo;

const LIMIT: Duration = Duration::from_secs(60);
const SCRIPT: &str = include_str!("probe.js");

/// What a browser can do.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// The WebGPU adapter.
    pub adapter: Option<Adapter>,
    /// Why there is none.
    pub no_adapter: Option<String>,
    /// Everything else.
    pub features: Features,
}

/// What a page of the host finds in a browser.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Features {
    /// As the browser calls itself.
    pub user_agent: String,
    /// Cores that it tells of, which need not be those that there are.
    pub cores: Option<u32>,
    /// Whether the page counts as secure.
    pub secure_context: bool,
    /// Whether the host's headers (COOP, COEP) took effect.
    pub cross_origin_isolated: bool,
    /// wasm `simd128`.
    pub simd: bool,
    /// wasm relaxed SIMD.
    pub relaxed_simd: bool,
    /// wasm atomics.
    pub atomics: bool,
    /// A shared wasm memory, really made.
    pub shared_memory: bool,
    /// Why it could not be.
    pub shared_memory_reason: Option<String>,
    /// The origin-private file system, really written to.
    pub opfs: bool,
    /// Why it could not be.
    pub opfs_reason: Option<String>,
    /// A WebNN context, with a graph really built in it.
    pub webnn: Webnn,
}

/// What WebNN gives a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webnn {
    /// Why there is none.
    pub reason: Option<String>,
    /// What graphs run on, in the browser's words.
    pub devices: Option<String>,
    /// How many operators `opSupportLimits()` lists.
    pub operators: Option<u32>,
}

/// A WebGPU adapter as the browser describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Adapter {
    /// What the browser tells of vendor, architecture, device and description, or `unnamed`.
    pub name: String,
    /// As the browser tells, possibly empty.
    pub vendor: String,
    /// Whether it computes on the CPU; `None` where nothing tells.
    pub software: Option<bool>,
    /// Optional features of WebGPU.
    pub features: Vec<String>,
    /// Features of the shading language.
    pub language_features: Vec<String>,
    /// Its limits.
    pub limits: BTreeMap<String, u64>,
    /// The first 16 digits of a SHA-256 over limits and features: tells adapters apart that have no name.
    pub fingerprint: String,
}

#[derive(Deserialize)]
struct Found {
    reason: Option<String>,
    #[serde(default)]
    vendor: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    description: String,
    fallback: Option<bool>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    language: Vec<String>,
    #[serde(default)]
    limits: BTreeMap<String, f64>,
}

impl Probe {
    /// Probes the page that `session` shows.
    pub async fn new(session: &mut Session) -> Result<Probe, BrowserError> {
        let found = session.work(SCRIPT, json!({}), LIMIT).await?;
        let features = serde_json::from_value(found.clone()).map_err(|error| strange(&error))?;
        let (adapter, no_adapter) = adapter(&found)?;
        Ok(Probe {
            adapter,
            no_adapter,
            features,
        })
    }

    /// Asks for a WebGPU adapter only: it, or why there is none.
    pub(super) async fn adapter(
        session: &mut Session,
    ) -> Result<(Option<Adapter>, Option<String>), BrowserError> {
        let found = session
            .work(SCRIPT, json!({ "only": "webgpu" }), LIMIT)
            .await?;
        adapter(&found)
    }

    /// Asks for WebNN only.
    pub(super) async fn webnn(session: &mut Session) -> Result<Webnn, BrowserError> {
        let found = session
            .work(SCRIPT, json!({ "only": "webnn" }), LIMIT)
            .await?;
        serde_json::from_value(found["webnn"].clone()).map_err(|error| strange(&error))
    }
}

impl Adapter {
    /// As it goes into results.
    pub fn info(&self) -> AdapterInfo {
        AdapterInfo {
            name: self.name.clone(),
            vendor: (!self.vendor.is_empty()).then(|| self.vendor.clone()),
            driver: None,
            software: self.software,
            fingerprint: Some(self.fingerprint.clone()),
        }
    }
}

fn strange(error: &serde_json::Error) -> BrowserError {
    BrowserError::Page {
        code: "probe".into(),
        message: format!("the probe's answer could not be read: {error}"),
    }
}

fn adapter(found: &Value) -> Result<(Option<Adapter>, Option<String>), BrowserError> {
    let found: Found =
        serde_json::from_value(found["webgpu"].clone()).map_err(|error| strange(&error))?;
    if let Some(reason) = found.reason {
        return Ok((None, Some(reason)));
    }
    let limits: BTreeMap<String, u64> = found
        .limits
        .iter()
        .map(|(name, value)| (name.clone(), *value as u64))
        .collect();
    let mut hash = Sha256::new();
    for (name, value) in &limits {
        hash.update(format!("{name}={value};"));
    }
    for feature in &found.features {
        hash.update(format!("{feature};"));
    }
    let fingerprint = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut words: Vec<&str> = Vec::new();
    for word in [
        &found.vendor,
        &found.architecture,
        &found.device,
        &found.description,
    ] {
        if !word.is_empty() && !words.contains(&word.as_str()) {
            words.push(word);
        }
    }
    let name = if words.is_empty() {
        "unnamed".to_owned()
    } else {
        words.join(" ")
    };
    let software = is_software(&name, found.fallback, gpu_device().is_some());
    let adapter = Adapter {
        name,
        vendor: found.vendor,
        software,
        features: found.features,
        language_features: found.language,
        limits,
        fingerprint,
    };
    Ok((Some(adapter), None))
}

/// Whether an adapter computes on the CPU: it says so, its name does, or the machine has no GPU.
fn is_software(name: &str, fallback: Option<bool>, machine_has_gpu: bool) -> Option<bool> {
    let lower = name.to_lowercase();
    let software = [
        "swiftshader",
        "llvmpipe",
        "lavapipe",
        "basic render",
        "software",
    ];
    if fallback == Some(true)
        || software.iter().any(|word| lower.contains(word))
        || !machine_has_gpu
    {
        return Some(true);
    }
    // A browser that gives no name does not tell this either, whatever it answers.
    if name == "unnamed" { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_told_from_what_there_is_to_tell() {
        assert_eq!(
            is_software("google swiftshader", Some(false), true),
            Some(true)
        );
        assert_eq!(
            is_software("Microsoft Basic Render Driver", None, true),
            Some(true)
        );
        assert_eq!(is_software("nvidia hopper", Some(false), true), Some(false));
        assert_eq!(is_software("nvidia hopper", Some(true), true), Some(true));
        assert_eq!(is_software("unnamed", Some(false), true), None);
        assert_eq!(is_software("unnamed", None, false), Some(true));
    }

    #[test]
    fn an_adapter_without_name_has_a_fingerprint() {
        let found = |limit: u64| json!({ "webgpu": { "fallback": null, "features": ["shader-f16"], "limits": { "maxBufferSize": limit } } });
        let (one, none) = adapter(&found(1)).unwrap();
        let one = one.unwrap();
        assert_eq!((one.name.as_str(), none), ("unnamed", None));
        assert_eq!(one.fingerprint.len(), 16);
        assert_ne!(
            one.fingerprint,
            adapter(&found(2)).unwrap().0.unwrap().fingerprint
        );
        let (absent, reason) =
            adapter(&json!({ "webgpu": { "reason": "no navigator.gpu" } })).unwrap();
        assert_eq!(
            (absent, reason.as_deref()),
            (None, Some("no navigator.gpu"))
        );
        assert!(adapter(&json!({})).is_err());
    }
}
