//! Where the elements of large tensors are: in the model's file, or in one beside it ("External Data" in ONNX's
//! `ExternalData.md`).

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

use super::ImportError;
use super::tensor::shape_of;
use super::walk::LARGE;
use crate::proto::{GraphProto, TensorProto, data_type_of};

/// A range of one of the files, of the length that its tensor's type and shape ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The model's file, and those beside it that its tensors are in.
pub(super) struct Files {
    /// The model's own is the first.
    pub(super) sources: Vec<Rc<dyn ByteSource>>,
    /// What the tensors call them.
    locations: Vec<String>,
    /// Bytes of tensors that were read.
    read: u64,
}

impl Files {
    pub(super) fn new(model: Rc<dyn ByteSource>) -> Files {
        Files {
            sources: vec![model],
            locations: vec![String::new()],
            read: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.sources[0].name()
    }

    /// Finds every file that a tensor of the graph names, checks every range, and reads what is small or of a type that
    /// stays no weight as it is: afterwards only elements of large tensors are outside of the messages.
    ///
    /// # Errors
    /// [`ImportError::Tensor`]: a name that is no file beside the model or leaves its folder, a file that is missing, a range
    /// beyond the file, a length that is not the tensor's.
    pub(super) async fn settle(
        &mut self,
        graph: &mut GraphProto,
        beside: &ModelFiles,
    ) -> Result<(), ImportError> {
        let mut open = Vec::new();
        collect(graph, &mut open);
        for tensor in open.into_iter().filter(|tensor| is_outside(tensor)) {
            self.find(tensor, beside)?;
            let range = self.range(tensor)?;
            let stays = data_type_of(tensor.data_type.unwrap_or(0))
                .is_some_and(|t| !matches!(t, DataType::Bool | DataType::I4 | DataType::U4));
            if stays && range.bytes > LARGE {
                self.place(tensor)?;
                continue;
            }
            self.count(tensor, range.bytes)?;
            let mut bytes = Vec::new();
            let wanted = usize::try_from(range.bytes).unwrap_or(usize::MAX);
            if bytes.try_reserve_exact(wanted).is_err() {
                let reason = format!("{wanted} bytes do not fit into memory");
                return Err(self.fault(tensor, reason));
            }
            bytes.resize(wanted, 0);
            let read = self.sources[range.file].read_at(range.offset, &mut bytes);
            read.await.map_err(ImportError::Source)?;
            tensor.raw_data = Some(bytes);
            tensor.data_location = None;
            tensor.external_data.clear();
        }
        Ok(())
    }

    /// Where a tensor's elements are, which the messages do not have.
    ///
    /// # Errors
    /// As [`Files::settle`].
    pub(super) fn place(&self, tensor: &TensorProto) -> Result<Place, ImportError> {
        let place = self.range(tensor)?;
        let shape = shape_of(&tensor.dims).map_err(|e| self.fault(tensor, e.to_string()))?;
        let data_type = data_type_of(tensor.data_type.unwrap_or(0));
        let wanted = data_type.and_then(|t| ElementType::Plain(t).byte_len(&shape));
        if wanted.and_then(|bytes| u64::try_from(bytes).ok()) != Some(place.bytes) {
            let reason = format!("{} bytes for a shape of {shape:?}", place.bytes);
            return Err(self.fault(tensor, reason));
        }
        Ok(place)
    }

    /// Many tensors may be in the same bytes: what is read of them stays in proportion to the files.
    fn count(&mut self, tensor: &TensorProto, bytes: u64) -> Result<(), ImportError> {
        self.read = self.read.saturating_add(bytes);
        let most: u64 = self.sources.iter().map(|file| file.len()).sum();
        if self.read > most {
            let reason = "what is read of such tensors is more than the files have".to_owned();
            return Err(self.fault(tensor, reason));
        }
        Ok(())
    }

    fn find(&mut self, tensor: &TensorProto, beside: &ModelFiles) -> Result<(), ImportError> {
        let location = location(tensor);
        if self.locations.iter().any(|known| known == location) {
            return Ok(());
        }
        let parts = || location.split('/');
        let leaves = |part: &str| part.is_empty() || part == "." || part == "..";
        if parts().any(leaves) || location.contains(['\\', ':', '\0']) {
            let reason = format!("{location:?} is no file in the model's folder");
            return Err(self.fault(tensor, reason));
        }
        let folder = self.name().rsplit_once('/').map(|(folder, _)| folder);
        let name = match folder {
            Some(folder) => format!("{folder}/{location}"),
            None => location.to_owned(),
        };
        let Some(file) = beside.find(&name) else {
            let reason = format!("its elements are in {name}, which is not among the files");
            return Err(self.fault(tensor, reason));
        };
        self.sources.push(file.clone());
        self.locations.push(location.to_owned());
        Ok(())
    }

    /// The range that a tensor tells, inside of its file.
    fn range(&self, tensor: &TensorProto) -> Result<Place, ImportError> {
        let has_more = tensor.raw_data.is_some()
            || !tensor.float_data.is_empty()
            || !tensor.double_data.is_empty()
            || !tensor.int32_data.is_empty()
            || !tensor.int64_data.is_empty()
            || !tensor.uint64_data.is_empty();
        if has_more {
            return Err(self.fault(tensor, "its elements are there twice".to_owned()));
        }
        let location = location(tensor);
        let file = self.locations.iter().position(|known| known == location);
        let Some(file) = file else {
            return Err(self.fault(tensor, format!("a file {location:?}")));
        };
        let length = self.sources[file].len();
        let offset = self.number(tensor, "offset")?.unwrap_or(0);
        let rest = match self.number(tensor, "length")? {
            Some(bytes) => Some(bytes),
            // To what the shape asks for, or to the file's end where only reading tells.
            None => shape_of(&tensor.dims)
                .ok()
                .zip(data_type_of(tensor.data_type.unwrap_or(0)))
                .and_then(|(shape, t)| ElementType::Plain(t).byte_len(&shape))
                .and_then(|bytes| u64::try_from(bytes).ok()),
        };
        let bytes = rest.unwrap_or(length.saturating_sub(offset));
        let end = offset.checked_add(bytes);
        if end.is_none_or(|end| end > length) {
            let name = self.sources[file].name();
            let reason = format!("{bytes} bytes at {offset} of {name}, which has {length}");
            return Err(self.fault(tensor, reason));
        }
        Ok(Place {
            file,
            offset,
            bytes,
        })
    }

    fn number(&self, tensor: &TensorProto, key: &str) -> Result<Option<u64>, ImportError> {
        let Some(value) = entry(tensor, key) else {
            return Ok(None);
        };
        let number = value.parse().map(Some);
        number.map_err(|_| self.fault(tensor, format!("{key} {value:?}")))
    }

    fn fault(&self, tensor: &TensorProto, reason: String) -> ImportError {
        ImportError::Tensor {
            file: self.name().to_owned(),
            tensor: tensor.name.clone().unwrap_or_default(),
            reason,
        }
    }
}

/// Whether a tensor's elements are not in its message.
pub(super) fn is_outside(tensor: &TensorProto) -> bool {
    tensor.data_location.unwrap_or(0) != 0
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let mut entries = tensor.external_data.iter();
    let found = entries.find(|entry| entry.key.as_deref() == Some(key))?;
    Some(found.value.as_deref().unwrap_or_default())
}

fn location(tensor: &TensorProto) -> &str {
    entry(tensor, "location").unwrap_or_default()
}

/// Every tensor of a graph: initializers, and those of attributes.
fn collect<'a>(graph: &'a mut GraphProto, tensors: &mut Vec<&'a mut TensorProto>) {
    tensors.extend(graph.initializer.iter_mut());
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        tensors.extend(&mut attribute.t);
        if let Some(body) = &mut attribute.g {
            collect(body, tensors);
        }
    }
}

/// A tensor in memory as a file.
pub(super) struct TensorSource {
    name: String,
    tensor: Rc<Tensor>,
}

impl TensorSource {
    pub(super) fn new(name: &str, tensor: Rc<Tensor>) -> TensorSource {
        TensorSource {
            name: name.to_owned(),
            tensor,
        }
    }
}

impl ByteSource for TensorSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.tensor.bytes().len() as u64
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let end = self.end_of(offset, buffer.len())?;
            buffer.copy_from_slice(&self.tensor.bytes()[offset as usize..end as usize]);
            Ok(())
        })
    }
}
