//! An opened model as bytes: what a module that reads a format of its own hands to the module that runs models.
//!
//! In them are the graphs, what kind of model they are, and where each weight is: in one of the model's files, by its
//! name, or among the bytes themselves, at their end, if the format's reader made it.

use std::rc::Rc;

use super::checkpoint::{ModelFiles, OpenModel};
use crate::format::{Checkpoint, TensorEntry};
use crate::graph::Graph;
use crate::graph::wire::{Reader, Wire, WireError, Writer, Wrong, wire_enum, wire_struct};
use crate::model::{
    BuiltModel, CausalLm, Count, Encoder, EncoderDecoder, Feedforward, GRAPH, KNOWN, ModelKind,
    ONNX, Room, SourceKind, TextHead,
};
use crate::session::WeightSource;
use crate::source::{ByteSource, LocalFuture, SourceError};

/// What the bytes begin with; the last one is the version.
const MAGIC: [u8; 4] = *b"fbm\x02";

/// Why bytes are no opened model, or a model cannot be bytes.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{file} is not among the model's files")]
    MissingFile { file: String },
    #[error("weight {name}: {reason}")]
    Weight { name: String, reason: String },
    #[error("a model of a GGUF file is not handed over")]
    Gguf,
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl OpenModel {
    /// As bytes for [`OpenModel::from_bytes`]. Weights that are in `files` stay there; others are read.
    pub async fn to_bytes(&self, files: &ModelFiles) -> Result<Vec<u8>, HandoverError> {
        if self.gguf.is_some() {
            return Err(HandoverError::Gguf);
        }
        let mut out = Writer::default();
        out.bytes(&MAGIC);
        self.built.architecture.to_owned().write(&mut out);
        self.built.graph.write(&mut out);
        self.built.kind.write(&mut out);
        let WeightSource {
            checkpoint,
            files: sources,
        } = &self.source;
        checkpoint.file.write(&mut out);
        sources.len().write(&mut out);
        let mut made = Vec::new();
        for source in sources {
            let own = files.find(source.name());
            let own = own.is_some_and(|file| Rc::ptr_eq(file, source));
            own.write(&mut out);
            source.name().to_owned().write(&mut out);
            if !own {
                source.len().write(&mut out);
                made.push(source);
            }
        }
        checkpoint.tensors.len().write(&mut out);
        for (name, entry) in &checkpoint.tensors {
            name.write(&mut out);
            entry.element.write(&mut out);
            entry.shape.write(&mut out);
            entry.file.write(&mut out);
            entry.offset.write(&mut out);
        }
        let mut bytes = out.finish()?;
        for source in made {
            let start = bytes.len();
            bytes.resize(start + source.len() as usize, 0);
            source.read_at(0, &mut bytes[start..]).await?;
        }
        Ok(bytes)
    }

    /// The model that [`OpenModel::to_bytes`] made bytes of, over the same files. Weights among `bytes` are read from
    /// there as long as it lives.
    ///
    /// # Errors
    /// Anything else than such bytes; a weight that is not inside of its file, or not what the graph wants.
    pub fn from_bytes(bytes: Vec<u8>, files: &ModelFiles) -> Result<OpenModel, HandoverError> {
        let bytes = Rc::new(bytes);
        let table = Reader::new(&bytes).run(Table::read)?;
        let mut sources: Vec<Rc<dyn ByteSource>> = Vec::new();
        for place in table.places {
            sources.push(match place {
                Place::Own(name) => match files.find(&name) {
                    Some(file) => file.clone(),
                    None => return Err(HandoverError::MissingFile { file: name }),
                },
                Place::Made {
                    name,
                    start,
                    length,
                } => Rc::new(Part {
                    name,
                    bytes: bytes.clone(),
                    start,
                    length,
                }),
            });
        }
        let mut source = WeightSource {
            checkpoint: Checkpoint {
                file: table.file,
                ..Checkpoint::default()
            },
            files: sources,
        };
        for entry in table.entries {
            add(&mut source, entry)?;
        }
        let built = table.built;
        check(&built.graph, &source.checkpoint)?;
        if let ModelKind::EncoderDecoder(model) = &built.kind {
            check(&model.encoder, &source.checkpoint)?;
        }
        Ok(OpenModel {
            built,
            source,
            gguf: None,
        })
    }
}

/// What the bytes say, before it is held against the files.
struct Table {
    built: BuiltModel,
    file: String,
    places: Vec<Place>,
    entries: Vec<TensorEntry>,
}

/// Where some of the weights are.
enum Place {
    /// In a file of the model.
    Own(String),
    /// Among the bytes.
    Made {
        name: String,
        start: usize,
        length: usize,
    },
}

impl Table {
    fn read(from: &mut Reader<'_>) -> Result<Table, Wrong> {
        from.magic(MAGIC)?;
        let architecture = String::read(from)?;
        let mut known = KNOWN.iter().chain([&ONNX, &GRAPH]);
        let Some(architecture) = known.find(|name| **name == architecture) else {
            return Err(from.wrong("an architecture that is not known"));
        };
        let built = BuiltModel {
            architecture,
            graph: Wire::read(from)?,
            kind: Wire::read(from)?,
        };
        let file = String::read(from)?;
        let mut places = Vec::new();
        for _ in 0..from.count()? {
            let own = bool::read(from)?;
            let name = String::read(from)?;
            places.push(match own {
                true => Place::Own(name),
                false => Place::Made {
                    name,
                    start: 0,
                    length: Wire::read(from)?,
                },
            });
        }
        let mut entries = Vec::new();
        for _ in 0..from.count()? {
            entries.push(read_entry(from)?);
        }
        for place in &mut places {
            if let Place::Made { start, length, .. } = place {
                *start = from.at();
                from.take(*length)?;
            }
        }
        from.end()?;
        Ok(Table {
            built,
            file,
            places,
            entries,
        })
    }
}

fn read_entry(from: &mut Reader<'_>) -> Result<TensorEntry, Wrong> {
    let mut entry = TensorEntry {
        name: Wire::read(from)?,
        element: Wire::read(from)?,
        shape: Wire::read(from)?,
        file: Wire::read(from)?,
        offset: Wire::read(from)?,
        bytes: 0,
    };
    match entry.element.byte_len(&entry.shape) {
        Some(bytes) => entry.bytes = bytes as u64,
        None => return Err(from.wrong("a weight of a shape that there is not")),
    }
    Ok(entry)
}

fn weight_fault(name: &str, reason: impl Into<String>) -> HandoverError {
    HandoverError::Weight {
        name: name.to_owned(),
        reason: reason.into(),
    }
}

fn add(source: &mut WeightSource, entry: TensorEntry) -> Result<(), HandoverError> {
    let Some(file) = source.files.get(entry.file) else {
        return Err(weight_fault(&entry.name, "it is in no file"));
    };
    let end = entry.offset.checked_add(entry.bytes);
    if end.is_none_or(|end| end > file.len()) {
        let reason = format!("it is not inside of {}", file.name());
        return Err(weight_fault(&entry.name, reason));
    }
    let name = entry.name.clone();
    let added = source.checkpoint.add(entry);
    added.map_err(|_| weight_fault(&name, "it comes twice"))
}

/// Whether the weights are as the graph wants them; it may group a weight's elements in another shape.
fn check(graph: &Graph, checkpoint: &Checkpoint) -> Result<(), HandoverError> {
    for (_, name, value) in graph.weights() {
        let Some(entry) = checkpoint.find(name) else {
            return Err(weight_fault(name, "it is nowhere"));
        };
        let shape = crate::graph::fixed_shape(&value.shape);
        let bytes = shape.and_then(|shape| value.element.byte_len(&shape));
        if entry.element != value.element || bytes.map(|n| n as u64) != Some(entry.bytes) {
            let (got, wanted) = ((entry.element, &entry.shape), (value.element, &value.shape));
            let reason = format!("{} {:?}, {} {:?} wanted", got.0, got.1, wanted.0, wanted.1);
            return Err(weight_fault(name, reason));
        }
    }
    Ok(())
}

/// A piece of bytes in memory as a file.
struct Part {
    name: String,
    bytes: Rc<Vec<u8>>,
    start: usize,
    length: usize,
}

impl ByteSource for Part {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.length as u64
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.end_of(offset, buffer.len())?;
            let start = self.start + offset as usize;
            buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
            Ok(())
        })
    }
}

wire_enum! { ModelKind {
    0 CausalLm(model);
    1 Encoder(model);
    2 Feedforward(model);
    3 EncoderDecoder(model);
} }

wire_enum! { TextHead {
    0 Text;
    1 Tokens;
    2 Masked;
} }

wire_enum! { SourceKind {
    0 Tokens { max_tokens };
    1 Features { channels, frames };
} }

wire_struct! {
    CausalLm { vocabulary, context_length, layers, eos_ids }
    Encoder { hidden, max_tokens, head }
    Feedforward { defaults, limits, counts, rooms, assumed }
    Count { symbol, input, at }
    Room { symbol, of, most }
    EncoderDecoder { encoder, decoder, source, start_id }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pollster::block_on;

    use super::*;
    use crate::model::BuildOptions;
    use crate::source::MemorySource;
    use crate::task::checkpoint;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/reference");

    fn folder(name: &str) -> ModelFiles {
        let entries = std::fs::read_dir(Path::new(FIXTURES).join(name)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file()).map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Rc::new(MemorySource::new(name, std::fs::read(path).unwrap())) as Rc<dyn ByteSource>
        });
        ModelFiles::new(files.collect())
    }

    fn open(files: &ModelFiles) -> OpenModel {
        block_on(checkpoint::open(files, BuildOptions::default())).unwrap()
    }

    fn same(a: &OpenModel, b: &OpenModel) {
        assert_eq!(format!("{:?}", a.built), format!("{:?}", b.built));
        assert_eq!(a.source.checkpoint.tensors, b.source.checkpoint.tensors);
        assert_eq!(a.source.checkpoint.file, b.source.checkpoint.file);
    }

    #[test]
    fn every_architecture_is_handed_over() {
        for entry in std::fs::read_dir(FIXTURES).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let files = folder(&name);
            let opened = open(&files);
            let bytes = block_on(opened.to_bytes(&files)).unwrap();
            // The weights stay where they are.
            assert!(
                (bytes.len() as u64) < opened.source.checkpoint.total_bytes(),
                "{name}"
            );
            same(&opened, &OpenModel::from_bytes(bytes, &files).unwrap());
        }
    }

    #[test]
    fn weights_in_no_file_go_along() {
        let files = folder("bert");
        let opened = open(&files);
        let bytes = block_on(opened.to_bytes(&ModelFiles::default())).unwrap();
        let handed = OpenModel::from_bytes(bytes.clone(), &ModelFiles::default()).unwrap();
        same(&opened, &handed);
        let read = |model: &OpenModel| {
            let entry = model.source.checkpoint.tensors.values().last().unwrap();
            block_on(crate::format::read_tensor(&model.source.files, entry)).unwrap()
        };
        assert_eq!(read(&opened), read(&handed));
        let none = ModelFiles::default();
        for length in (0..bytes.len()).rev().step_by(997) {
            assert!(OpenModel::from_bytes(bytes[..length].to_vec(), &none).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let files = folder("bert");
        let mut opened = open(&files);
        let without = block_on(opened.to_bytes(&files)).unwrap();
        let missing = OpenModel::from_bytes(without, &ModelFiles::default());
        assert!(
            matches!(missing, Err(HandoverError::MissingFile { file }) if file == "model.safetensors")
        );
        let told = |opened: &OpenModel| {
            let bytes = block_on(opened.to_bytes(&files)).unwrap();
            OpenModel::from_bytes(bytes, &files)
                .err()
                .map(|e| e.to_string())
        };
        let name = "embeddings.word_embeddings.weight";
        let tensors = &mut opened.source.checkpoint.tensors;
        let right = tensors.get(name).unwrap().clone();
        tensors.get_mut(name).unwrap().offset = u64::MAX;
        assert!(
            told(&opened)
                .unwrap()
                .contains("not inside of model.safetensors")
        );
        let tensors = &mut opened.source.checkpoint.tensors;
        *tensors.get_mut(name).unwrap() = right.clone();
        tensors.get_mut(name).unwrap().shape.pop();
        assert!(told(&opened).unwrap().contains("wanted"));
        opened.source.checkpoint.tensors.remove(name);
        assert!(told(&opened).unwrap().contains("nowhere"));
        opened.source.checkpoint.tensors.insert(name.into(), right);
        assert_eq!(told(&opened), None);
    }

    proptest::proptest! {
        #[test]
        fn changed_bytes_are_a_model_or_an_error(
            changes in proptest::collection::vec((proptest::prelude::any::<u32>(), proptest::prelude::any::<u8>()), 1..4),
        ) {
            let files = folder("bert");
            let mut bytes = block_on(open(&files).to_bytes(&files)).unwrap();
            for (at, byte) in changes {
                let at = at as usize % bytes.len();
                bytes[at] = byte;
            }
            let _ = OpenModel::from_bytes(bytes, &files);
        }
    }
}
