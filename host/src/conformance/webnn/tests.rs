//! A selection of the W3C's cases that the project carries, and all of them where they lie beside it.

use std::path::{Path, PathBuf};

use fewbit_native_backends::NativeTarget;

use super::{Family, read, run};
use crate::job::Outcome;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance/webnn/fixtures/w3c.json")
}

/// How many passed, and what the others said; `None` where the target is not to be had.
fn held(families: &[Family], target: NativeTarget) -> Option<(usize, Vec<String>)> {
    let (mut passed, mut others) = (0, Vec::new());
    for family in families {
        for (case, verdict) in family.cases.iter().zip(run(family, target)) {
            match verdict.outcome {
                Outcome::Pass => passed += 1,
                Outcome::Unavailable => {
                    println!("skipped: {}", verdict.reason.unwrap_or_default());
                    return None;
                }
                _ => others.push(format!("{}: {:?}", case.name, verdict.reason)),
            }
        }
    }
    Some((passed, others))
}

#[test]
fn the_selection_passes_on_the_cpu() {
    let families = read(&fixture()).unwrap();
    let (passed, others) = held(&families, NativeTarget::Cpu).unwrap();
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(passed > 150, "{passed}");
}

#[test]
fn the_selection_passes_on_the_gpu() {
    let families = read(&fixture()).unwrap();
    if let Some((_, others)) = held(&families, NativeTarget::Wgpu) {
        assert!(others.is_empty(), "{}", others.join("\n"));
    }
}

#[test]
fn all_cases_pass_where_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/webnn-cases");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let families = read(&folder).unwrap();
    let (passed, others) = held(&families, NativeTarget::Cpu).unwrap();
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(passed >= 1037, "{passed}");
}

#[test]
fn a_wrong_expectation_is_a_mismatch_and_a_wrong_call_an_error() {
    let mut families = read(&fixture()).unwrap();
    let family = &mut families[0];
    family.cases.retain(|case| case.operators() == ["add"]);
    family.cases.truncate(1);
    let mut other = family.cases[0].clone();
    for data in other.graph.expected_outputs.values_mut() {
        data.data = serde_json::json!(12345.0);
    }
    let mut broken = other.clone();
    broken.graph.operators[0].arguments.pop();
    family.cases.extend([other, broken]);
    let verdicts = run(family, NativeTarget::Cpu);
    let outcomes: Vec<Outcome> = verdicts.iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Mismatch, Outcome::Error]);
    let reason = verdicts[2].reason.clone().unwrap();
    assert!(reason.contains("TypeError: add(): 1 arguments"), "{reason}");
}

#[test]
fn a_file_that_holds_no_cases_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no file of cases"), "{error}");
    let path = folder.path().join("wrong.json");
    std::fs::write(&path, "{\"tests\": [{}]}").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("wrong.json"), "{error}");
}
