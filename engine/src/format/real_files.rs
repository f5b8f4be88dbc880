//! Reads whatever model files lie in the folder that `FEWBIT_TEST_MODELS` names, and decodes some of each.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Checkpoint, gguf, read_chunk, safetensors};
use crate::source::{ByteSource, LocalFuture, SourceError};
use crate::tensor::decode;

struct FileSource {
    name: String,
    len: u64,
    file: RefCell<File>,
}

impl FileSource {
    fn open(path: &Path) -> FileSource {
        let file = File::open(path).unwrap();
        FileSource {
            name: path.display().to_string(),
            len: file.metadata().unwrap().len(),
            file: RefCell::new(file),
        }
    }
}

impl ByteSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut file = self.file.borrow_mut();
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(buffer))
                .map_err(|error| SourceError::Read {
                    file: self.name.clone(),
                    message: error.to_string(),
                })
        })
    }
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, found);
        } else if matches!(extension, Some("gguf" | "safetensors")) {
            found.push(path);
        }
    }
}

#[test]
fn real_files_are_read() {
    let Some(folder) = std::env::var_os("FEWBIT_TEST_MODELS") else {
        println!("skipped: FEWBIT_TEST_MODELS names no folder of model files");
        return;
    };
    let mut files = Vec::new();
    find(Path::new(&folder), 4, &mut files);
    assert!(
        !files.is_empty(),
        "no .gguf or .safetensors under {folder:?}"
    );
    for path in files {
        let source: Rc<dyn ByteSource> = Rc::new(FileSource::open(&path));
        let checkpoint = if path.extension().is_some_and(|e| e == "gguf") {
            pollster::block_on(gguf::read_header(source.as_ref()))
                .unwrap()
                .checkpoint
        } else {
            pollster::block_on(safetensors::read_header(source.as_ref())).unwrap()
        };
        println!(
            "{}: {} tensors, {} bytes, {} metadata keys",
            path.display(),
            checkpoint.tensors.len(),
            checkpoint.total_bytes(),
            checkpoint.metadata.len()
        );
        assert!(!checkpoint.tensors.is_empty());
        decode_beginnings(&checkpoint, &[source]);
    }
}

/// The first piece of every tensor decodes; weights in block formats are finite.
fn decode_beginnings(checkpoint: &Checkpoint, sources: &[Rc<dyn ByteSource>]) {
    let mut buffer = Vec::new();
    for entry in checkpoint.tensors.values() {
        let Some(chunk) = entry.chunks(4096).next() else {
            continue;
        };
        pollster::block_on(read_chunk(sources, entry, chunk, &mut buffer)).unwrap();
        let elements = match entry.element.block() {
            Some(format) => buffer.len() / format.bytes() * format.elements(),
            None => buffer.len() / entry.element.byte_len(&[1]).unwrap(),
        };
        let mut values = vec![0.0; elements];
        decode(entry.element, &buffer, &mut values).unwrap();
        // A reference file may well mask with minus infinity.
        if entry.element.block().is_some() {
            assert!(values.iter().all(|x| x.is_finite()), "{}", entry.name);
        }
    }
}
