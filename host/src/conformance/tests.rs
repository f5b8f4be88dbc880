//! Cases made by hand, and ONNX's own where they lie beside the checkout.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, data_type_number,
};
use prost::Message;

use fewbit_native_backends::NativeTarget;

use super::{Case, Cases, Table, run};
use crate::job::Outcome;

fn value(name: &str) -> ValueInfoProto {
    value_of(DataType::F32, name)
}

fn value_of(data_type: DataType, name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(data_type)),
                shape: Some(TensorShapeProto {
                    dim: vec![Dimension {
                        dim_value: Some(2),
                        ..Dimension::default()
                    }],
                }),
            }),
        }),
    }
}

fn model(op_type: &str) -> Vec<u8> {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(13),
        }],
        graph: Some(GraphProto {
            node: vec![NodeProto {
                input: vec!["x".into()],
                output: vec!["y".into()],
                op_type: Some(op_type.into()),
                ..NodeProto::default()
            }],
            input: vec![value("x")],
            output: vec![value("y")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

fn tensor(values: [f32; 2]) -> Vec<u8> {
    TensorProto {
        dims: vec![2],
        data_type: Some(data_type_number(DataType::F32)),
        raw_data: Some(Tensor::from_f32(&[2], &values).unwrap().bytes().to_vec()),
        ..TensorProto::default()
    }
    .encode_to_vec()
}

/// Three cases of one input: right, wrong and of an operator that there is not; another of the right one's name, which does
/// not say what to expect, and a file that is no model.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("broken/model.onnx".to_owned(), b"no model".to_vec()),
        ("other/right/model.onnx".to_owned(), model("Relu")),
        (
            "other/right/test_data_set_0/input_0.pb".to_owned(),
            tensor([-1.0, 2.0]),
        ),
    ];
    let cases = [
        ("right", "Relu", 2.0),
        ("wrong", "Relu", 2.5),
        ("unknown", "Fold", 2.0),
    ];
    for (name, op_type, expected) in cases {
        for (file, bytes) in [
            ("model.onnx", model(op_type)),
            ("tolerance.txt", b"rtol 0.001\natol 1e-05\n".to_vec()),
            ("test_data_set_0/input_0.pb", tensor([-1.0, 2.0])),
            ("test_data_set_0/output_0.pb", tensor([0.0, expected])),
        ] {
            files.push((format!("node/{name}/{file}"), bytes));
        }
    }
    files
}

fn outcomes(path: &Path) -> BTreeMap<String, Outcome> {
    let mut cases = Cases::open(path).unwrap();
    let names = cases.names();
    let run = |name: String| {
        (
            name.clone(),
            run(cases.read(&name).unwrap(), NativeTarget::Cpu).outcome,
        )
    };
    names.into_iter().map(run).collect()
}

#[test]
fn a_folder_and_an_archive_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cases");
    let archive = dir.path().join("cases.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
    for (name, bytes) in files() {
        let path = folder.join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    let expected = BTreeMap::from([
        ("broken".to_owned(), Outcome::Error),
        ("other/right".to_owned(), Outcome::Error),
        ("right".to_owned(), Outcome::Pass),
        ("unknown".to_owned(), Outcome::Unsupported),
        ("wrong".to_owned(), Outcome::Mismatch),
    ]);
    assert_eq!(outcomes(&folder), expected);
    assert_eq!(outcomes(&archive), expected);
    let one = outcomes(&folder.join("node/right"));
    assert_eq!(one, BTreeMap::from([("right".to_owned(), Outcome::Pass)]));
}

#[test]
fn a_place_without_cases_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Cases::open(dir.path()).is_err());
    assert!(Cases::open(&dir.path().join("nothing")).is_err());
    let archive = dir.path().join("cases.zip");
    std::fs::write(&archive, b"no archive").unwrap();
    assert!(Cases::open(&archive).is_err());
}

/// A square of integers of 64 bits: `x · x`.
fn square(number: i64) -> Case {
    let whole = |name: &str| value_of(DataType::I64, name);
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(14),
        }],
        graph: Some(GraphProto {
            node: vec![NodeProto {
                input: vec!["x".into(), "x".into()],
                output: vec!["y".into()],
                op_type: Some("Mul".into()),
                ..NodeProto::default()
            }],
            input: vec![whole("x")],
            output: vec![whole("y")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let numbers = |numbers: [i64; 2]| {
        TensorProto {
            dims: vec![2],
            data_type: Some(data_type_number(DataType::I64)),
            raw_data: Some(Tensor::from_i64(&[2], &numbers).unwrap().bytes().to_vec()),
            ..TensorProto::default()
        }
        .encode_to_vec()
    };
    let files = [
        ("model.onnx", model.encode_to_vec()),
        ("test_data_set_0/input_0.pb", numbers([number, -3])),
        ("test_data_set_0/output_0.pb", numbers([number * number, 9])),
    ];
    Case {
        name: "square".into(),
        files: files
            .into_iter()
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .collect(),
    }
}

/// A device that keeps 32 bits computes what fits, and says of what does not which operator it is.
#[test]
fn integers_of_64_bits_are_right_or_refused() {
    for number in [7, 1 << 20] {
        let verdict = run(square(number), NativeTarget::Cpu);
        assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
        let verdict = run(square(number), NativeTarget::Wgpu);
        let reason = verdict.reason.unwrap_or_default();
        match verdict.outcome {
            Outcome::Unavailable => println!("skipped: {reason}"),
            Outcome::Pass => {}
            Outcome::Unsupported => assert!(number > 7 && reason.contains("mul"), "{reason}"),
            other => panic!("{other:?}: {reason}"),
        }
    }
}

/// What is not imported is said to be so; nothing is wrong.
#[test]
fn none_of_onnxs_own_cases_is_wrong() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/onnx-node-cases.zip");
    let path = std::env::var_os("FEWBIT_ONNX_CASES").map_or(own, Into::into);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return;
    }
    let mut cases = Cases::open(&path).unwrap();
    let (mut passed, mut wrong) = (0, Vec::new());
    let names = cases.names();
    let all = names.len();
    for name in names {
        let verdict = run(cases.read(&name).unwrap(), NativeTarget::Cpu);
        match verdict.outcome {
            Outcome::Pass => passed += 1,
            Outcome::Unsupported => {}
            _ => wrong.push(format!("{name}: {}", verdict.reason.unwrap_or_default())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What was imported once still is.
    assert!(passed * 100 >= all * 99, "{passed} of {all}");
}

#[test]
fn a_table_counts_by_operator_and_target() {
    let mut table = Table::default();
    table.begin("native:cpu");
    table.count(&["Add".to_owned(), "Mul".to_owned()], Outcome::Pass);
    table.count(&["Add".to_owned()], Outcome::Unsupported);
    table.begin("native:wgpu");
    table.count(&["Add".to_owned()], Outcome::Mismatch);
    let page = table.markdown("# Operators");
    for line in [
        "| operator | native:cpu | native:wgpu |",
        "| Add | 1 of 2 | 0 of 1, 1 failed |",
        "| Mul | 1 of 1 | 0 of 0 |",
        "| **all cases** | 1 of 2 | 0 of 1, 1 failed |",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    assert!(table.text().contains("Add"));
}
