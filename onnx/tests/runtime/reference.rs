//! What a folder's reference.json says, and its tensors.

use std::collections::BTreeMap;

use fewbit_engine::tensor::Tensor;
use serde_json::Value;

use crate::files;

pub(crate) type Named = BTreeMap<String, Tensor>;

pub(crate) struct Reference {
    atol: f64,
    rtol: f64,
    pub(crate) inputs: Named,
    pub(crate) outputs: Named,
    /// Of an output, the input that masks it and the value with which it counts.
    masks: BTreeMap<String, (String, f64)>,
}

impl Reference {
    pub(crate) fn read(model: &str) -> Reference {
        let folder = files::folder(model);
        let json = std::fs::read(folder.join("reference.json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let (mut inputs, mut outputs) = (Named::new(), Named::new());
        for (name, tensor) in files::tensors(&folder.join("reference.safetensors")) {
            match name.split_once('.') {
                Some(("in", name)) => inputs.insert(name.to_owned(), tensor),
                // Belongs to the generated ids.
                Some(("out", name)) if name != "logits_full" => {
                    outputs.insert(name.to_owned(), tensor)
                }
                _ => None,
            };
        }
        let rules = json["compare"].as_object().cloned().unwrap_or_default();
        let masks = rules.into_iter().map(|(name, rule)| {
            let words: Vec<&str> = rule.as_str().unwrap().split(' ').collect();
            let ["where", mask, "is", value] = words[..] else {
                panic!("{rule}");
            };
            let mask = mask.strip_prefix("in.").unwrap().to_owned();
            (name, (mask, value.parse().unwrap()))
        });
        Reference {
            atol: json["atol"].as_f64().unwrap(),
            rtol: json["rtol"].as_f64().unwrap(),
            inputs,
            outputs,
            masks: masks.collect(),
        }
    }

    /// Fails where an output is out of the reference's tolerance.
    pub(crate) fn hold(&self, what: &str, name: &str, got: &Tensor) {
        let expected = &self.outputs[name];
        assert_eq!(got.elements(), expected.elements(), "{what}: {name}");
        let mask = self.masks.get(name).map(|(mask, value)| {
            let flags = self.inputs[mask].to_f64_vec();
            let each = expected.elements() / flags.len();
            (flags, each, *value)
        });
        let pairs = got.to_f64_vec().into_iter().zip(expected.to_f64_vec());
        let mut compared = 0;
        for (i, (got, expected)) in pairs.enumerate() {
            let counts = mask
                .as_ref()
                .is_none_or(|(flags, each, value)| flags[i / each] == *value);
            if !counts {
                continue;
            }
            compared += 1;
            let error = (got - expected).abs();
            assert!(
                error <= self.atol + self.rtol * expected.abs(),
                "{what}: {name}[{i}]: {got}, expected {expected}"
            );
        }
        assert!(compared > 0, "{what}: {name}");
    }
}
