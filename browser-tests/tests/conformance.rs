//! ONNX's cases in a page: one that does not end is an error, one that is too large is refused, and both leave the next alone.

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

/// Long enough for a small case on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&size| size as i64).collect(),
        data_type: Some(data_type_number(tensor.data_type())),
        name: Some(name.into()),
        raw_data: Some(tensor.bytes().to_vec()),
        ..TensorProto::default()
    }
}

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dims = shape.iter().map(|&size| Dimension {
        dim_value: Some(size),
        ..Dimension::default()
    });
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(DataType::F32)),
                shape: Some(TensorShapeProto {
                    dim: dims.collect(),
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

/// `y` is the mean over a square of `side²` numbers `x`, multiplied by itself so often: the mean is `x · (side · x)^times`.
fn case(side: usize, times: usize) -> Case {
    let mut nodes = vec![node("Expand", &["x", "shape"], "square")];
    let mut last = "square".to_owned();
    for at in 0..times {
        let next = format!("product{at}");
        nodes.push(node("MatMul", &[&last, "square"], &next));
        last = next;
    }
    nodes.push(node("ReduceMean", &[&last], "y"));
    let shape = Tensor::from_i64(&[2], &[side as i64; 2]).unwrap();
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(13),
        }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: vec![tensor("shape", &shape)],
            input: vec![value("x", &[1, 1])],
            output: vec![value("y", &[1, 1])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let x = 1.0 / side as f32;
    let number = |value: f32| {
        let number = Tensor::from_f32(&[1, 1], &[value]).unwrap();
        tensor("", &number).encode_to_vec()
    };
    let files = [
        ("model.onnx", model.encode_to_vec()),
        ("test_data_set_0/input_0.pb", number(x)),
        ("test_data_set_0/output_0.pb", number(x)),
    ];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes));
    Case {
        name: format!("{times} products of {side}"),
        files: BTreeMap::from(files),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_does_not_end_is_an_error_and_the_next_one_passes() -> Result<()> {
    const TEST: &str = "a_case_that_does_not_end_is_an_error_and_the_next_one_passes";
    if package(TEST).is_none() {
        return Ok(());
    }
    let store = Store::at(fixtures().join("none"), Manifest::built_in()?);
    let mut config = Config::new(store);
    config.folders = Some(Folders::find()?);
    let pages = start(config).await?;
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let cases = BrowserCases::new(browser, BrowserBackend::Wasm, &pages);
        let mut cases = cases.with_limit(LIMIT);
        let small = case(8, 3);
        let before = cases.run(&small).await;
        ensure!(before.outcome == Outcome::Pass, "{browser:?}: {before:?}");
        // 2 · 4096³ · 200 operations.
        let endless = cases.run(&case(4096, 200)).await;
        let told = endless.reason.unwrap_or_default();
        ensure!(
            endless.outcome == Outcome::Error && told.contains("took more than"),
            "{browser:?}: {told}"
        );
        let after = cases.run(&small).await;
        ensure!(after.outcome == Outcome::Pass, "{browser:?}: {after:?}");
        // 7.2 GB of values, more than a module has room for.
        let large = cases.run(&case(30_000, 1)).await;
        let refused = [Outcome::Error, Outcome::Unsupported].contains(&large.outcome);
        ensure!(refused, "{browser:?}: {large:?}");
        println!("{}: {:?}", browser.name(), large.reason);
        let after = cases.run(&small).await;
        ensure!(after.outcome == Outcome::Pass, "{browser:?}: {after:?}");
        cases.close().await;
    }
    pages.stop(Duration::from_secs(1)).await;
    Ok(())
}
