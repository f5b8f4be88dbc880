//! Cases that do not end as a case may: they are errors, and those after them run as if nothing had been.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use fewbit_browser_tests::{browsers, fixtures, package};
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_host::conformance::{BrowserCases, Case};
use fewbit_host::job::Outcome;
use fewbit_host::serve::{Config, Folders, start};
use fewbit_host::store::{Manifest, Store};
use fewbit_host::target::BrowserBackend;
use fewbit_onnx::proto::{
    Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, data_type_number,
};
use prost::Message;

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension {
        dim_value: Some(size),
        dim_param: None,
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(DataType::F32)),
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

fn node(op_type: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        op_type: Some(op_type.into()),
        ..NodeProto::default()
    }
}

fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&size| size as i64).collect(),
        data_type: Some(data_type_number(tensor.data_type())),
        name: Some(name.into()),
        raw_data: Some(tensor.bytes().to_vec()),
        ..TensorProto::default()
    }
}

/// A case whose input is 1 and whose output `y` is to be 1.
fn case(name: &str, nodes: Vec<NodeProto>, shape: &[i64]) -> Case {
    let shapes = [("shape", shape), ("one", &[1][..])];
    let initializers = shapes.map(|(name, values)| {
        let values = Tensor::from_i64(&[values.len()], values).expect("a list");
        tensor(name, &values)
    });
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(18),
        }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: initializers.into(),
            input: vec![value("x", &[1])],
            output: vec![value("y", &[1])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let one = Tensor::from_f32(&[1], &[1.0]).expect("one");
    let set = |file: &str, name: &str| {
        let file = format!("test_data_set_0/{file}.pb");
        (file, tensor(name, &one).encode_to_vec())
    };
    Case {
        name: name.into(),
        files: BTreeMap::from([
            ("model.onnx".to_owned(), model.encode_to_vec()),
            set("input_0", "x"),
            set("output_0", "y"),
        ]),
    }
}

/// A product of 3.6 GB, which no wasm memory has room for.
fn too_large() -> Case {
    let nodes = vec![
        node("Expand", &["x", "shape"], "a"),
        node("Transpose", &["a"], "b"),
        node("MatMul", &["a", "b"], "c"),
        node("ReduceMax", &["c"], "m"),
        node("Reshape", &["m", "one"], "y"),
    ];
    case("too_large", nodes, &[30_000, 1])
}

/// Products of 137 billion operations each.
fn too_slow() -> Case {
    let mut nodes = vec![node("Expand", &["x", "shape"], "p0")];
    for at in 0..60 {
        let (from, to) = (format!("p{at}"), format!("p{}", at + 1));
        nodes.push(node("MatMul", &[&from, &from], &to));
    }
    nodes.push(node("ReduceMax", &["p60"], "m"));
    nodes.push(node("Reshape", &["m", "one"], "y"));
    case("too_slow", nodes, &[4096, 4096])
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_that_trap_or_hang_are_errors_and_the_next_one_runs() -> Result<()> {
    const TEST: &str = "cases_that_trap_or_hang_are_errors_and_the_next_one_runs";
    if package(TEST).is_none() {
        return Ok(());
    }
    let store = Store::at(fixtures().join("none"), Manifest::built_in()?);
    let mut config = Config::new(store);
    config.folders = Some(Folders::find()?);
    let pages = start(config).await?;
    let right = || case("right", vec![node("Abs", &["x"], "y")], &[1]);
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let limit = Duration::from_secs(20);
        let mut cases = BrowserCases::new(browser, BrowserBackend::Wasm, &pages).with_limit(limit);
        for (case, wanted) in [
            (right(), Outcome::Pass),
            (too_large(), Outcome::Error),
            (right(), Outcome::Pass),
            (too_slow(), Outcome::Error),
            (right(), Outcome::Pass),
        ] {
            let verdict = cases.run(&case).await;
            println!("{}: {}: {verdict:?}", browser.name(), case.name);
            ensure!(
                verdict.outcome == wanted,
                "{}: {}: {verdict:?}",
                browser.name(),
                case.name
            );
        }
        cases.close().await;
    }
    Ok(())
}
