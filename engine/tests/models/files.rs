//! Model folders as the engine takes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::format::{read_tensor, safetensors};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::Tensor;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/reference")
        .join(name)
}

pub(crate) fn folder(path: &Path) -> ModelFiles {
    folder_with(path, &[])
}

/// The folder's files and others by name, which go before its own of the same names.
pub(crate) fn folder_with(path: &Path, others: &[(&str, &[u8])]) -> ModelFiles {
    let others = others.iter().map(|&(name, bytes)| {
        let file = MemorySource::new(name, bytes.to_vec());
        Rc::new(file) as Rc<dyn ByteSource>
    });
    let mut files: Vec<Rc<dyn ByteSource>> = others.collect();
    collect(path, "", &mut files);
    ModelFiles::new(files)
}

fn collect(path: &Path, prefix: &str, files: &mut Vec<Rc<dyn ByteSource>>) {
    for entry in std::fs::read_dir(path).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else if name != "reference.safetensors" {
            files.push(Rc::new(MemorySource::new(
                name,
                std::fs::read(&path).expect("a file"),
            )));
        }
    }
}

/// What `transformers` was given (`in.`) and computed (`out.`), by name.
pub(crate) fn reference(path: &Path) -> BTreeMap<String, Tensor> {
    tensors(&path.join("reference.safetensors"))
}

/// Every tensor of a safetensors file.
pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).expect("a file of tensors");
    let file: Rc<dyn ByteSource> = Rc::new(MemorySource::new("model.safetensors", bytes));
    pollster::block_on(async {
        let checkpoint = safetensors::read_header(file.as_ref())
            .await
            .expect("a header");
        let files = [file];
        let mut tensors = BTreeMap::new();
        for (name, entry) in &checkpoint.tensors {
            let bytes = read_tensor(&files, entry).await.expect("a tensor");
            let data_type = entry.element.plain().expect("a plain type");
            let tensor = Tensor::from_bytes(data_type, &entry.shape, &bytes).expect("its bytes");
            tensors.insert(name.clone(), tensor);
        }
        tensors
    })
}
