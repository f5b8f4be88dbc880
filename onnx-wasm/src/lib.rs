//! ONNX files behind a JavaScript boundary, for a worker of the npm package `fewbit`.
//!
//! A module of its own, loaded when a model comes as an ONNX file. It reads the model's files, makes graphs of them, and
//! gives these as bytes ([`OpenModel::to_bytes`](fewbit_engine::task::checkpoint::OpenModel::to_bytes)), which the module
//! that runs models takes; weights stay in their files. Errors are `Error` objects with a `code`, as those of the other
//! modules; where the numbers in inputs decide a shape, `details.inputs` has their names as JSON.
//!
//! No panic is meant to be reachable. Should one be, the module is poisoned and can be made again: it holds nothing
//! between calls.
#![cfg(target_arch = "wasm32")]

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, SourceError};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::handover::HandoverError;
use fewbit_onnx::{ImportError, ImportOptions, OpenError};
use fewbit_wasm_boundary::file::{FileSource, JsFile};
use fewbit_wasm_boundary::tensor::{self, JsTensor};
use fewbit_wasm_boundary::thrown::{error, set};
use js_sys::{Array, JSON, Object, Uint8Array};
use wasm_bindgen::prelude::*;

/// The model in the ONNX files among `files`, as bytes for the module that runs it. `sizes` are numbers for names of
/// dimensions; `values` are inputs that are known beforehand, and become constants. `as_it_is` leaves out what makes a graph a
/// model with a task.
#[wasm_bindgen(js_name = openModel)]
pub async fn open_model(
    files: Vec<JsFile>,
    sizes: Object,
    values: Vec<JsTensor>,
    as_it_is: bool,
) -> Result<Uint8Array, JsValue> {
    let files = files.into_iter().map(|file| {
        let file = FileSource::new(file).map_err(|e| source_fault(&e))?;
        Ok(Rc::new(file) as Rc<dyn ByteSource>)
    });
    let files = ModelFiles::new(files.collect::<Result<_, JsValue>>()?);
    let mut options = ImportOptions::default();
    for entry in Object::entries(&sizes).iter() {
        let entry: Array = entry.into();
        let name = entry.get(0).as_string().unwrap_or_default();
        let size = entry.get(1).as_f64().unwrap_or(-1.0);
        if size.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&size) {
            let told = format!("sizes: {name} is no count");
            return Err(error("bad_argument", &told).into());
        }
        options.sizes.insert(name, size as usize);
    }
    let values = tensor::from_js(values);
    options.values = values.map_err(|e| error("bad_argument", &e.to_string()))?;
    let open = match as_it_is {
        true => fewbit_onnx::open_as_it_is(&files, &options).await,
        false => fewbit_onnx::open(&files, &options).await,
    };
    let open = open.map_err(|e| open_fault(&e))?;
    let bytes = open.to_bytes(&files).await;
    let bytes = bytes.map_err(|e| handover_fault(&e))?;
    Ok(bytes.as_slice().into())
}

fn source_fault(fault: &SourceError) -> JsValue {
    let code = match fault {
        SourceError::Aborted => "aborted",
        SourceError::OutOfRange { .. } => "bad_model",
        SourceError::Read { .. } => "cache",
    };
    error(code, &fault.to_string()).into()
}

fn handover_fault(fault: &HandoverError) -> JsValue {
    match fault {
        HandoverError::Source(fault) => source_fault(fault),
        fault => error("internal", &fault.to_string()).into(),
    }
}

fn open_fault(fault: &OpenError) -> JsValue {
    let code = match fault {
        OpenError::Source(fault) | OpenError::Import(ImportError::Source(fault)) => {
            return source_fault(fault);
        }
        OpenError::Import(fault) if fault.is_unsupported() => "unsupported",
        _ => "bad_model",
    };
    let error = error(code, &fault.to_string());
    if let OpenError::Import(ImportError::ValueNeeded { inputs, .. }) = fault {
        let names: Array = inputs.iter().map(JsValue::from).collect();
        let details = Object::new();
        let names = JSON::stringify(&names).unwrap_or_else(|_| "[]".into());
        // Setting a property of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&details, &"inputs".into(), &names);
        set(&error, "details", details);
    }
    error.into()
}
