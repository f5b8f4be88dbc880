//! Cases of WebNN's operators drawn at random, held against the one real WebNN that Linux has, Chromium's in the headless
//! shell, and in Chromium against fewbit's back ends there. What the shell computes otherwise is explained, case by case.
#![cfg(all(feature = "native", feature = "webdriver"))]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fewbit_host::browser::find;
use fewbit_host::target::Browser;
use fewbit_webnn::{DataType, Value};
use fewbit_webnn_cases::{Arg, CASES, Drawn, OPERATORS};

/// So many cases are drawn: more of operators of which the shell takes few of the types and attributes.
fn drawn(operator: &str) -> usize {
    match operator {
        "averagePool2d" | "maxPool2d" | "scatterElements" => 640,
        "scatterND" => 320,
        "l2Pool2d" | "gatherElements" | "pad" | "prelu" | "notEqual" => 160,
        _ => 96,
    }
}

/// So many of an operator must be right in the shell.
const RIGHT: usize = 40;

/// How a case went, as `fewbit conformance --json` tells it.
struct Went {
    operator: String,
    case: Drawn,
    outcome: String,
    reason: String,
}

impl Went {
    fn option(&self, name: &str) -> Option<&Value> {
        let option = self.case.options.iter().find(|(n, _)| *n == name);
        option.and_then(|(_, arg)| match arg {
            Arg::Value(value) => Some(value),
            Arg::Tensor(_) => None,
        })
    }

    /// What was computed, and what had to be.
    fn numbers(&self) -> Option<(f64, f64)> {
        let (_, told) = self.reason.split_once(" is ")?;
        let (got, told) = told.split_once(", ")?;
        let (wanted, _) = told.split_once(" expected")?;
        Some((got.parse().ok()?, wanted.parse().ok()?))
    }

    /// Whether an input has a number as large, infinities not counted.
    fn reaches(&self, size: f64) -> bool {
        let tensors = self.case.arguments.iter().filter_map(|arg| match arg {
            Arg::Tensor(tensor) => Some(tensor),
            Arg::Value(_) => None,
        });
        tensors
            .flat_map(|tensor| &tensor.values)
            .any(|x| x.is_finite() && x.abs() >= size)
    }

    fn within(&self, absolute: f64, relative: f64) -> bool {
        let near =
            |(got, wanted): (f64, f64)| (got - wanted).abs() <= absolute + relative * wanted.abs();
        self.numbers().is_some_and(near)
    }

    /// Why the shell differs here, where that is known.
    fn explained(&self) -> Option<&'static str> {
        let padded = || {
            let padding = self.option("padding").cloned();
            let none = Value::from([0usize; 4]);
            padding.is_some_and(|padding| padding != none)
                || self.option("outputShapeRounding") == Some(&"ceil".into())
        };
        let is = |holds: bool, why| holds.then_some(why);
        match self.operator.as_str() {
            "cos" | "sin" | "tan" => is(
                self.within(4e-7, 0.0) || self.reaches(1e9),
                "is off by more than two units in the last place, and lost in arguments from 10⁹ on",
            ),
            "averagePool2d" | "l2Pool2d" => is(padded(), "counts padding as elements"),
            "prelu" => is(
                self.reason.contains("not broadcastable"),
                "broadcasts the slope to the input only, as an older draft had it",
            ),
            "quantizeLinear" => is(
                self.case.expected[0].data_type == DataType::Int32
                    && self.within(0.0, 2f64.powi(-23)),
                "adds a zero point of 32 bits in f32",
            ),
            "resample2d" if self.option("mode") == Some(&"linear".into()) => is(
                self.within(0.0, 1e-4),
                "tells places between elements in f32",
            ),
            "resample2d" => Some(
                "rounds a place between two elements up, and goes by the sizes where scales are given",
            ),
            "scatterND" | "scatterElements" => is(
                self.reason.contains("rank 0")
                    || (self.reason.contains("tensor layouts")
                        && self.case.expected[0].data_type == DataType::Uint32),
                "takes no scalar as an update, and builds no graph for uint32 though its limits say so",
            ),
            "softplus" if self.reason.contains("NaN expected") => Some("gives 0 for NaN"),
            "softplus" => is(
                self.within(2.4e-7, 0.0) || self.numbers().is_some_and(|(_, wanted)| wanted > 88.3),
                "computes ln(1 + eˣ) as it stands, without the digits that 1 takes, and no more than 88.4",
            ),
            _ => None,
        }
    }
}

fn run(folder: &Path, target: &str) -> Vec<Went> {
    let output = Command::new(env!("CARGO_BIN_EXE_fewbit"))
        .args(["conformance", "webnn", "--json", "--target", target])
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let answer: serde_json::Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let mut drawn_already = BTreeMap::new();
    let cases = answer["cases"].as_array().unwrap().iter();
    cases
        .map(|case| {
            let name = case["name"].as_str().unwrap();
            let (operator, rest) = name.split_once('/').unwrap();
            let mut words = rest.split(' ');
            let at: usize = words.nth(1).unwrap().parse().unwrap();
            let all = drawn_already.entry(operator.to_owned()).or_insert_with(|| {
                let this = OPERATORS.iter().find(|o| o.name == operator).unwrap();
                this.cases(drawn(operator))
            });
            Went {
                operator: operator.to_owned(),
                case: all[at].clone(),
                outcome: case["outcome"].as_str().unwrap().to_owned(),
                reason: case["reason"].as_str().unwrap_or_default().to_owned(),
            }
        })
        .collect()
}

fn write(folder: &Path, count: fn(&str) -> usize) {
    for operator in OPERATORS {
        let text = operator.json(count(operator.name)).to_string();
        std::fs::write(folder.join(format!("{}.json", operator.name)), text).unwrap();
    }
}

#[test]
#[ignore = "needs browsers and the built package: the browsers tier runs it"]
fn the_shell_computes_the_same() {
    if let Err(error) = find(Browser::Shell) {
        println!("the_shell_computes_the_same: skipped: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), drawn);
    let mut right: BTreeMap<String, usize> = BTreeMap::new();
    let mut different: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for went in run(folder.path(), "shell:webnn") {
        let right = right.entry(went.operator.clone()).or_default();
        match (went.outcome.as_str(), went.explained()) {
            ("pass", _) => *right += 1,
            ("unsupported", _) => {}
            (_, Some(why)) => *different.entry((went.operator, why)).or_default() += 1,
            (outcome, None) => wrong.push(format!(
                "{} {}: {outcome}: {}",
                went.operator,
                went.case.told(),
                went.reason
            )),
        }
    }
    for ((operator, why), count) in different {
        println!("{operator}: {count} cases differ, the shell {why}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(right.len(), OPERATORS.len());
    let few: Vec<_> = right.iter().filter(|(_, count)| **count < RIGHT).collect();
    assert!(few.is_empty(), "too few cases ran: {few:?}");
}

#[test]
#[ignore = "needs browsers and the built package: the browsers tier runs it"]
fn fewbit_computes_the_same_in_a_browser() {
    if let Err(error) = find(Browser::Chrome) {
        println!("fewbit_computes_the_same_in_a_browser: skipped: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), |_| CASES);
    for target in ["chrome:wasm", "chrome:webgpu"] {
        let all = run(folder.path(), target);
        assert_eq!(all.len(), CASES * OPERATORS.len());
        let wrong = all.iter().filter(|went| went.outcome != "pass");
        let wrong: Vec<String> = wrong
            .map(|went| format!("{} {}: {}", went.operator, went.case.told(), went.reason))
            .collect();
        assert!(wrong.is_empty(), "{target}:\n{}", wrong.join("\n"));
    }
}
