//! Weights as initializers, written piece by piece.

use std::io::Write;
use std::ops::ControlFlow;

use fewbit_engine::format::{CHUNK_BYTES, read_chunk};
use fewbit_engine::graph::{Graph, Source, ValueId};
use fewbit_engine::session::{UploadProgress, WeightSource};
use fewbit_engine::tensor::{DataType, ElementType, decode};

use super::ExportError;

/// Whether a weight's initializer has the element type that the graph says: 16-bit floats and block formats become f32.
pub(super) fn keeps_type(element: ElementType) -> bool {
    match element {
        ElementType::Plain(DataType::F16 | DataType::Bf16) | ElementType::Block(_) => false,
        ElementType::Plain(_) => true,
    }
}

/// A weight that becomes an initializer.
#[derive(Clone, Debug)]
pub struct Initializer {
    /// Its name in the file.
    pub(super) name: String,
    /// Its name in the checkpoint.
    weight: String,
    element: ElementType,
    pub(super) data_type: DataType,
    pub(super) shape: Vec<usize>,
    /// How many bytes it has in the file.
    pub(super) bytes: u64,
}

impl Initializer {
    /// Its name in the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the graph's weight.
    pub fn weight(&self) -> &str {
        &self.weight
    }

    /// The type of its elements in the model; where the weight has another, they are decoded.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn new(graph: &Graph, id: ValueId, name: String) -> Result<Self, ExportError> {
        let value = graph.value(id);
        let weight = match &value.source {
            Source::Weight(weight) => weight.clone(),
            _ => name.clone(),
        };
        let data_type = match value.element {
            ElementType::Plain(data_type) if keeps_type(value.element) => data_type,
            _ => DataType::F32,
        };
        let shape = value.fixed_shape()?;
        let sizes = shape.iter().map(|&size| size as u64);
        let bytes = sizes.fold(data_type.bytes() as u64, u64::saturating_mul);
        Ok(Initializer {
            name,
            weight,
            element: value.element,
            data_type,
            shape,
            bytes,
        })
    }

    /// Writes its bytes, no more than a chunk of them in memory at a time.
    pub(super) async fn write(
        &self,
        source: &WeightSource,
        out: &mut dyn Write,
        done: &mut Done<'_>,
    ) -> Result<(), ExportError> {
        let entry = source.checkpoint.get(&self.weight)?;
        // The graph is the checkpoint's, but nothing else holds them together.
        let elements: usize = self.shape.iter().product();
        if entry.element != self.element || entry.elements() != elements {
            return Err(ExportError::WeightShape {
                name: self.weight.clone(),
                wanted: self.shape.clone(),
                got: entry.shape.clone(),
            });
        }
        let mut buffer = Vec::new();
        let mut values: Vec<f32> = Vec::new();
        // What is decoded becomes up to a dozen times larger.
        let most = if keeps_type(self.element) {
            CHUNK_BYTES
        } else {
            CHUNK_BYTES / 8
        };
        for chunk in entry.chunks(most) {
            read_chunk(&source.files, entry, chunk, &mut buffer).await?;
            if keeps_type(self.element) {
                out.write_all(&buffer)?;
                done.add(buffer.len())?;
                continue;
            }
            let count = match self.element {
                ElementType::Block(format) => buffer.len() / format.bytes() * format.elements(),
                ElementType::Plain(data_type) => buffer.len() / data_type.bytes(),
            };
            values.resize(count, 0.0);
            decode(self.element, &buffer, &mut values).map_err(|error| ExportError::Decode {
                name: self.weight.clone(),
                error,
            })?;
            buffer.clear();
            buffer.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            out.write_all(&buffer)?;
            done.add(buffer.len())?;
        }
        Ok(())
    }
}

/// Told how many bytes of weights are written; breaks to abort.
pub type OnExport<'a> = &'a mut dyn FnMut(UploadProgress) -> ControlFlow<()>;

/// How far the writing has come.
pub(super) struct Done<'a> {
    pub(super) progress: UploadProgress,
    pub(super) tell: OnExport<'a>,
}

impl Done<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), ExportError> {
        self.progress.done += bytes as u64;
        match (self.tell)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ExportError::Aborted),
        }
    }
}
