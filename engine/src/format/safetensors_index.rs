//! Sharded checkpoints: `model.safetensors.index.json` (or `pytorch_model.bin.index.json`), which says what tensor is
//! in which file.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;

use super::checkpoint::Checkpoint;
use super::error::{Fault, FormatError};
use super::metadata::Metadata;
use super::{pytorch, safetensors};
use crate::source::ByteSource;

/// A checked index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    /// The index's own name, for errors.
    pub name: String,
    /// The shards' file names, sorted; each is a plain name, to be looked for beside the index.
    pub files: Vec<String>,
    /// For every tensor the number of its file in `files`.
    pub tensors: BTreeMap<String, usize>,
}

impl ShardIndex {
    /// Parses the JSON of an index file that errors call `name`.
    ///
    /// # Errors
    /// Malformed JSON, or a shard whose name is not a plain file name (it could point anywhere).
    pub fn parse(json: &[u8], name: &str) -> Result<ShardIndex, FormatError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = serde_json::from_slice(json)
            .map_err(|error| FormatError::new(name, Fault::json(&error)))?;
        for (tensor, file) in &index.weight_map {
            if !is_plain_name(file) {
                let fault = Fault::ShardName(file.clone());
                return Err(FormatError::new(name, fault).tensor(tensor));
            }
        }
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        let files: Vec<String> = files.into_iter().cloned().collect();
        let number = |file: &String| files.binary_search(file).unwrap_or(usize::MAX);
        let tensors = index
            .weight_map
            .iter()
            .map(|(tensor, file)| (tensor.clone(), number(file)))
            .collect();
        Ok(ShardIndex {
            name: name.to_owned(),
            files,
            tensors,
        })
    }

    /// Reads the headers of the shards, given in the order of `files`. What a shard holds and the
    /// index does not name is left out.
    ///
    /// # Errors
    /// A shard's own, another number of shards than `files` has, or a tensor that is not where the
    /// index says.
    pub async fn read_headers(
        &self,
        shards: &[Rc<dyn ByteSource>],
    ) -> Result<Checkpoint, FormatError> {
        let (expected, got) = (self.files.len(), shards.len());
        if expected != got {
            let fault = Fault::ShardCount { expected, got };
            return Err(FormatError::new(&self.name, fault));
        }
        let mut headers = Vec::with_capacity(shards.len());
        for shard in shards {
            headers.push(match pytorch::is_named(shard.name()) {
                true => pytorch::read_header(shard.as_ref()).await?,
                false => safetensors::read_header(shard.as_ref()).await?,
            });
        }
        let mut checkpoint = Checkpoint {
            file: self.name.clone(),
            ..Checkpoint::default()
        };
        for (name, &file) in &self.tensors {
            let entry = headers[file].tensors.remove(name).ok_or_else(|| {
                let shard = self.files[file].clone();
                FormatError::new(&self.name, Fault::NotInShard { shard }).tensor(name)
            })?;
            let entry = super::TensorEntry { file, ..entry };
            let failed = |fault| FormatError::new(&self.name, fault).tensor(name);
            checkpoint.add(entry).map_err(failed)?;
        }
        checkpoint.metadata = headers
            .into_iter()
            .next()
            .map_or_else(Metadata::default, |first| first.metadata);
        Ok(checkpoint)
    }
}

/// Whether `name` is one component of a path on any system, and not a special one.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

#[cfg(test)]
mod tests;
