//! Models of the engine's fixtures, and their exports on disk.

use std::fs::File;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::format::{read_tensor, safetensors};
use fewbit_engine::graph::Graph;
use fewbit_engine::model::BuildOptions;
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel, open};
use fewbit_engine::tensor::Tensor;
use fewbit_onnx::ExternalData;

pub(crate) fn folder(model: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/reference");
    root.join(model)
}

/// The models of the fixtures.
pub(crate) fn models() -> Vec<String> {
    let entries = std::fs::read_dir(folder("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

pub(crate) fn opened(model: &str) -> OpenModel {
    let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
    for entry in std::fs::read_dir(folder(model)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        files.push(Rc::new(MemorySource::new(name, bytes)));
    }
    pollster::block_on(open(&ModelFiles::new(files), BuildOptions::default())).unwrap()
}

/// The GGUF model in a folder under `FEWBIT_TEST_MODELS`, if that is there.
pub(crate) fn real_gguf(model: &str) -> Option<OpenModel> {
    let folder = PathBuf::from(std::env::var_os("FEWBIT_TEST_MODELS")?).join(model);
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    let path = entries.find_map(|entry| {
        let path = entry.path();
        path.extension()
            .is_some_and(|end| end == "gguf")
            .then_some(path)
    })?;
    let bytes = std::fs::read(path).unwrap();
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("model.gguf", bytes));
    let files = ModelFiles::new(vec![source]);
    Some(pollster::block_on(open(&files, BuildOptions::default())).unwrap())
}

pub(crate) fn tensors(path: &Path) -> Vec<(String, Tensor)> {
    let bytes = std::fs::read(path).unwrap();
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("reference", bytes));
    let header = pollster::block_on(safetensors::read_header(&*source)).unwrap();
    let tensors = header.tensors.iter().map(|(name, entry)| {
        let bytes = pollster::block_on(read_tensor(std::slice::from_ref(&source), entry)).unwrap();
        let data_type = entry.element.plain().unwrap();
        let tensor = Tensor::from_bytes(data_type, &entry.shape, &bytes).unwrap();
        (name.clone(), tensor)
    });
    tensors.collect()
}

/// Writes the graph's file, the weights in it or beside it.
pub(crate) fn export(graph: &Graph, source: &WeightSource, path: &Path, beside: bool) {
    let prepared = fewbit_onnx::prepare(graph).unwrap();
    let mut out = BufWriter::new(File::create(path).unwrap());
    let name = format!("{}.data", path.file_name().unwrap().to_str().unwrap());
    let mut data =
        beside.then(|| BufWriter::new(File::create(path.with_file_name(&name)).unwrap()));
    let external = data.as_mut().map(|out| ExternalData { name: &name, out });
    let mut done = 0;
    let mut on_progress = |progress: fewbit_engine::session::UploadProgress| {
        done = progress.done;
        ControlFlow::Continue(())
    };
    let written = prepared.write(source, &mut out, external, &mut on_progress);
    pollster::block_on(written).unwrap();
    assert_eq!(done, prepared.weight_bytes());
}
