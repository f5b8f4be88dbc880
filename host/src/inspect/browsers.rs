//! What browsers have less of than the native back ends, whose operators are theirs too: memory, the size of what a shader
//! binds, WebGPU itself.
//!
//! No operator needs `shader-f16`: halves are kept as f32 on a GPU, and arithmetic in them is an option that falls back.

use fewbit_engine::graph::{Bindings, Graph, GraphError, Source};

use super::coverage::{Claim, Coverage};
use super::needs::Needs;
use crate::target::{Browser, BrowserBackend, Target};

/// What wasm of 32 bits addresses.
const WASM_BYTES: u64 = 4 << 30;

/// What every WebGPU binds as one buffer (`maxStorageBufferBindingSize`, <https://www.w3.org/TR/webgpu/#limits>), and all that
/// Firefox does.
const BINDING: u64 = 128 << 20;

/// What of a model's graphs may be too much.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// The largest value or state as a GPU keeps it, in bytes, and what it is.
    largest: Option<(u64, String)>,
    /// All that is in memory on the CPU, in bytes.
    memory: Option<u64>,
}

impl Wants {
    /// # Errors
    /// Sizes that the graphs do not take.
    pub(super) fn of(
        parts: &[(&Graph, Bindings)],
        needs: Option<&Needs>,
    ) -> Result<Wants, GraphError> {
        let mut largest = None;
        for (graph, sizes) in parts {
            let fixed = graph.specialize(sizes)?;
            for value in &fixed.values {
                let what = match &value.source {
                    // In parts of whole rows.
                    Source::Weight(_) => continue,
                    Source::Input(name) => format!("input {name}"),
                    Source::State(name) => format!("state {name}"),
                    Source::Constant(_) => "a constant".to_owned(),
                    Source::Node(node, _) => format!("{}'s result", fixed.node(*node).op.name()),
                };
                let shape = value.fixed_shape()?;
                // Four bytes an element, whatever its type.
                let elements = shape
                    .iter()
                    .fold(1u64, |n, &size| n.saturating_mul(size as u64));
                largest = largest.max(Some((elements.saturating_mul(4), what)));
            }
        }
        Ok(Wants {
            largest,
            memory: needs.map(|needs| needs.total),
        })
    }

    /// The claim of a browser's back end, from that of the native one that it is.
    pub(super) fn claim(
        &self,
        browser: Browser,
        backend: BrowserBackend,
        native: &Coverage,
    ) -> Coverage {
        let claim = Coverage {
            target: Target::Browser(browser, backend).to_string(),
            ..native.clone()
        };
        let lacks = |missing: String| Coverage {
            outcome: Claim::Unsupported,
            missing: [native.missing.clone(), vec![missing]].concat(),
            ..claim.clone()
        };
        match (backend, browser, &self.largest, self.memory) {
            (BrowserBackend::Webgpu, Browser::Safari, ..) if cfg!(target_os = "linux") => {
                Coverage {
                    outcome: Claim::Unavailable,
                    missing: vec!["WebGPU".to_owned()],
                    reason: Some("on Linux, safari is WebKitGTK, which has no WebGPU".to_owned()),
                    ..claim
                }
            }
            (
                BrowserBackend::Webnn | BrowserBackend::WebnnWasm,
                Browser::Firefox | Browser::Safari,
                ..,
            ) => Coverage {
                outcome: Claim::Unsupported,
                missing: vec!["WebNN".to_owned()],
                reason: Some("this browser has no WebNN".to_owned()),
                ..claim
            },
            (
                BrowserBackend::Webnn | BrowserBackend::WebnnWasm,
                Browser::Chrome | Browser::Edge,
                ..,
            ) if claim.outcome == Claim::Supported => {
                let told = "where the build has a back end for WebNN, as `fewbit doctor` tells";
                Coverage {
                    reason: Some(told.to_owned()),
                    ..claim
                }
            }
            (BrowserBackend::Webgpu, Browser::Firefox, Some((bytes, what)), _)
                if *bytes > BINDING =>
            {
                lacks(format!(
                    "a binding of {bytes} bytes for {what} (it has {BINDING})"
                ))
            }
            (BrowserBackend::Webgpu, _, Some((bytes, what)), _)
                if *bytes > BINDING && claim.outcome == Claim::Supported =>
            {
                let told = format!(
                    "where the adapter binds {bytes} bytes, for {what}: all bind {BINDING}"
                );
                Coverage {
                    reason: Some(told),
                    ..claim
                }
            }
            (BrowserBackend::Wasm, _, _, Some(bytes)) if bytes > WASM_BYTES => {
                lacks(format!("memory of {bytes} bytes (wasm has {WASM_BYTES})"))
            }
            _ => claim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbit_engine::graph::{Dim, GraphBuilder};
    use fewbit_engine::tensor::DataType;

    fn native() -> Coverage {
        Coverage {
            target: "native:wgpu".to_owned(),
            outcome: Claim::Supported,
            missing: Vec::new(),
            reason: None,
        }
    }

    /// A graph whose result has so many elements, and needs of so many bytes.
    fn wants(elements: usize, memory: u64) -> Wants {
        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::F16, vec![Dim::from(1)]).unwrap();
        let y = b.expand(x, vec![Dim::from(elements)]).unwrap();
        b.output("y", y).unwrap();
        let graph = b.finish();
        let wants = Wants::of(&[(&graph, Bindings::new())], None).unwrap();
        Wants {
            memory: Some(memory),
            ..wants
        }
    }

    #[test]
    fn firefox_binds_less_than_others_may() {
        let (small, large) = (wants(32 << 20, 0), wants((32 << 20) + 1, 0));
        let gpu = BrowserBackend::Webgpu;
        let claim = |wants: &Wants, browser| wants.claim(browser, gpu, &native());
        assert_eq!(claim(&small, Browser::Firefox).outcome, Claim::Supported);
        let told = claim(&large, Browser::Firefox);
        assert_eq!(told.outcome, Claim::Unsupported);
        assert!(
            told.missing[0].contains("binding of 134217732 bytes for expand"),
            "{told:?}"
        );
        let chrome = claim(&large, Browser::Chrome);
        assert_eq!(chrome.outcome, Claim::Supported);
        assert!(chrome.reason.unwrap().contains("where the adapter binds"));
        assert_eq!(claim(&small, Browser::Chrome).reason, None);
    }

    #[test]
    fn wasm_has_four_gibibytes() {
        for (memory, outcome) in [
            (4 << 30, Claim::Supported),
            ((4 << 30) + 1, Claim::Unsupported),
        ] {
            let told = wants(1, memory).claim(Browser::Edge, BrowserBackend::Wasm, &native());
            assert_eq!((told.outcome, told.target.as_str()), (outcome, "edge:wasm"));
            assert_eq!(told.missing.is_empty(), outcome == Claim::Supported);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_stands_for_safari_has_no_webgpu() {
        let told = wants(1, 0).claim(Browser::Safari, BrowserBackend::Webgpu, &native());
        assert_eq!(
            (told.outcome, &told.missing[0][..]),
            (Claim::Unavailable, "WebGPU")
        );
        let wasm = wants(1, 0).claim(Browser::Safari, BrowserBackend::Wasm, &native());
        assert_eq!(wasm.outcome, Claim::Supported);
    }
}
