//! Exported files in ONNX Runtime.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fewbit_engine::tensor::{DataType, Tensor};
use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType};

use crate::reference::Named;

/// ONNX Runtime, if it is here: `ORT_DYLIB_PATH`, else where setup puts it.
fn library() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnxruntime");
    let given = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let name = format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    given
        .or_else(|| Some(own.join(name)))
        .filter(|path| path.is_file())
}

/// ONNX Runtime; says so where it is not here.
pub(crate) fn environment(what: &str) -> Option<&'static Environment> {
    static ENVIRONMENT: OnceLock<Option<Environment>> = OnceLock::new();
    let made = ENVIRONMENT.get_or_init(|| {
        let library = library()?;
        Some(ort::init_from(library).unwrap().build().unwrap())
    });
    if made.is_none() {
        println!(
            "{what}: skipped: no ONNX Runtime; `cargo xtask setup` puts it in target/onnxruntime"
        );
    }
    made.as_ref()
}

/// Computes all outputs of the file for the inputs of it that are among `given`.
pub(crate) fn run(environment: &Environment, file: &Path, given: &Named) -> Named {
    let shown = file.display();
    let mut session = Session::builder(environment)
        .and_then(|mut builder| builder.commit_from_file(file))
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let names: Vec<String> = session
        .inputs()
        .iter()
        .map(|input| input.name().to_owned())
        .collect();
    let mut inputs: Vec<(String, SessionInputValue<'_>)> = Vec::new();
    for name in names {
        let tensor = given
            .get(&name)
            .unwrap_or_else(|| panic!("{shown}: {name} is not given"));
        inputs.push((name, value(tensor).into()));
    }
    let outputs = session
        .run(inputs)
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    outputs
        .iter()
        .map(|(name, value)| (name.to_owned(), tensor(&value)))
        .collect()
}

fn value(tensor: &Tensor) -> DynValue {
    let shape: Vec<i64> = tensor.shape().iter().map(|&size| size as i64).collect();
    match tensor.data_type() {
        DataType::F32 => {
            let values = tensor.as_f32().unwrap().to_vec();
            ort::value::Tensor::from_array((shape, values))
                .unwrap()
                .into_dyn()
        }
        DataType::I64 => {
            let (values, _) = tensor.bytes().as_chunks();
            let values: Vec<i64> = values.iter().map(|b| i64::from_le_bytes(*b)).collect();
            ort::value::Tensor::from_array((shape, values))
                .unwrap()
                .into_dyn()
        }
        other => panic!("{other}"),
    }
}

fn tensor(value: &DynValue) -> Tensor {
    assert_eq!(
        value.dtype().tensor_type(),
        Some(TensorElementType::Float32)
    );
    let (shape, values) = value.try_extract_tensor::<f32>().unwrap();
    let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    Tensor::from_f32(&shape, values).unwrap()
}
