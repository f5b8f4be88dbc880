//! The importer of ONNX files on any bytes: a graph that its weights fit, or an error.
#![no_main]

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_onnx::{ImportOptions, OnnxFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = |name: &str| -> Rc<dyn ByteSource> {
        Rc::new(MemorySource::new(name, bytes.to_vec()))
    };
    let files = ModelFiles::new(vec![file("model.onnx"), file("model.onnx_data")]);
    pollster::block_on(async {
        let imported = match OnnxFile::open(&files, "model.onnx").await {
            Ok(file) => file.import(&ImportOptions::default()).await,
            Err(error) => Err(error),
        };
        match imported {
            Ok(imported) => {
                for entry in imported.source.checkpoint.tensors.values() {
                    let file = &imported.source.files[entry.file];
                    assert!(entry.offset + entry.bytes <= file.len());
                    let bytes = entry.element.byte_len(&entry.shape);
                    assert_eq!(bytes, Some(entry.bytes as usize));
                }
            }
            Err(error) => {
                let _ = error.to_string();
            }
        }
        let _ = fewbit_onnx::open(&files, &ImportOptions::default()).await;
    });
});
