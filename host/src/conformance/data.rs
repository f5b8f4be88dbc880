//! The data sets of a case: what goes into its model, and what must come out.

use std::collections::BTreeMap;

use fewbit_engine::tensor::Tensor;
use fewbit_onnx::{Interface, tensor_file};

use super::cases::Case;
use super::compare::Tolerance;
use super::verdict::{Failure, of_import, wrong};
use crate::job::Outcome;

/// One data set, in the order of the model's own lists.
pub(super) struct DataSet {
    /// Those that are given; others have their defaults.
    pub(super) inputs: BTreeMap<String, Tensor>,
    pub(super) expected: Vec<(String, Tensor)>,
}

/// How exact the case wants its outputs.
pub(super) fn tolerance(case: &Case) -> Result<Tolerance, Failure> {
    match case.files.get("tolerance.txt") {
        Some(text) => Tolerance::parse(&String::from_utf8_lossy(text)).map_err(wrong),
        None => Ok(Tolerance::default()),
    }
}

/// All data sets of a case; there is at least one.
pub(super) fn data_sets(case: &Case, interface: &Interface) -> Result<Vec<DataSet>, Failure> {
    let mut sets = Vec::new();
    loop {
        let folder = format!("test_data_set_{}/", sets.len());
        if !case.files.keys().any(|name| name.starts_with(&folder)) {
            break;
        }
        sets.push(data_set(case, &folder, interface)?);
    }
    match sets.len() {
        0 => Err(wrong("there is no test_data_set_0")),
        _ => Ok(sets),
    }
}

fn data_set(case: &Case, folder: &str, interface: &Interface) -> Result<DataSet, Failure> {
    let read = |kind: &str, at: usize| -> Result<Option<Tensor>, Failure> {
        let name = format!("{folder}{kind}_{at}.pb");
        let Some(bytes) = case.files.get(&name) else {
            return Ok(None);
        };
        let tensor = tensor_file(bytes, &format!("{}/{name}", case.name));
        tensor.map(Some).map_err(|e| of_import(&e))
    };
    let (mut inputs, mut expected) = (BTreeMap::new(), Vec::new());
    for (at, name) in interface.inputs.iter().enumerate() {
        inputs.extend(read("input", at)?.map(|tensor| (name.clone(), tensor)));
    }
    for (at, name) in interface.outputs.iter().enumerate() {
        // Without it a wrong output would pass.
        let Some(tensor) = read("output", at)? else {
            return Err(wrong(format!("{folder}output_{at}.pb is missing")));
        };
        expected.push((name.clone(), tensor));
    }
    match expected.is_empty() {
        true => Err(wrong("the model has no output")),
        false => Ok(DataSet { inputs, expected }),
    }
}

impl DataSet {
    /// Compares what came out with what must.
    pub(super) fn compare(&self, got: &[Tensor], tolerance: Tolerance) -> Result<(), Failure> {
        for ((name, expected), got) in self.expected.iter().zip(got) {
            if let Some(difference) = tolerance.difference(got, expected) {
                return Err((Outcome::Mismatch, format!("{name}: {difference}")));
            }
        }
        Ok(())
    }
}
