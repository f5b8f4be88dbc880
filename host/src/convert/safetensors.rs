//! A checkpoint as one safetensors file (<https://huggingface.co/docs/safetensors/index#format>): the length of the header,
//! the header as JSON, the tensors' bytes without gaps.

use std::io::Write;

use fewbit_engine::format::{CHUNK_BYTES, TensorChunk, TensorEntry, read_chunk};
use fewbit_engine::session::WeightSource;
use fewbit_engine::tensor::{DataType, ElementType, decode};
use serde_json::{Map, Value, json};

use super::staged::Writing;
use super::{ConvertError, OnConvert};

/// What the reference implementation reads at most.
const MOST_HEADER: usize = 100_000_000;

/// A tensor to be written.
pub(super) struct Tensor<'a> {
    pub(super) name: String,
    pub(super) entry: &'a TensorEntry,
    /// Its rows are so many heads, whose pairs of rows are neighbours and shall lie half a head apart.
    pub(super) heads: Option<usize>,
}

/// The tensors of a checkpoint as they are.
pub(super) fn all(source: &WeightSource) -> Vec<Tensor<'_>> {
    let entries = source.checkpoint.tensors.values();
    entries
        .map(|entry| Tensor {
            name: entry.name.clone(),
            entry,
            heads: None,
        })
        .collect()
}

/// Writes tensors in their types; block formats, which safetensors has not, become f32.
pub(super) async fn write(
    source: &WeightSource,
    mut tensors: Vec<Tensor<'_>>,
    out: &mut Writing,
    on: OnConvert<'_>,
) -> Result<(), ConvertError> {
    // Wide elements first, so that each begins at a multiple of its size; then in the order of the names.
    tensors.sort_by(|a, b| {
        let size = |tensor: &Tensor<'_>| data_type(tensor.entry).bytes();
        size(b).cmp(&size(a)).then_with(|| a.name.cmp(&b.name))
    });
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut end: u64 = 0;
    for Tensor { name, entry, .. } in &tensors {
        let begin = end;
        end += bytes(entry);
        let described = json!({
            "dtype": code(data_type(entry)),
            "shape": entry.shape,
            "data_offsets": [begin, end],
        });
        header.insert(name.clone(), described);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MOST_HEADER {
        return Err(ConvertError::Header(header.len()));
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut done = 0;
    for tensor in &tensors {
        match tensor.heads {
            None => whole(source, tensor.entry, out).await?,
            Some(heads) => by_head(source, tensor.entry, heads, out).await?,
        }
        done += bytes(tensor.entry);
        on(done, end);
    }
    Ok(())
}

/// A tensor, chunk by chunk.
async fn whole(
    source: &WeightSource,
    entry: &TensorEntry,
    out: &mut Writing,
) -> Result<(), ConvertError> {
    let mut buffer = Vec::new();
    let most = match entry.element {
        ElementType::Plain(_) => CHUNK_BYTES,
        // What is decoded becomes up to a dozen times larger.
        ElementType::Block(_) => CHUNK_BYTES / 8,
    };
    for chunk in entry.chunks(most) {
        read_chunk(&source.files, entry, chunk, &mut buffer).await?;
        plain(entry, &mut buffer)?;
        out.write_all(&buffer)?;
    }
    Ok(())
}

/// A matrix or vector, head by head: of each the even rows, then the odd ones.
async fn by_head(
    source: &WeightSource,
    entry: &TensorEntry,
    heads: usize,
    out: &mut Writing,
) -> Result<(), ConvertError> {
    let bytes = (entry.bytes / heads.max(1) as u64) as usize;
    let rows = entry.shape.first().map_or(0, |rows| rows / heads.max(1));
    let mut buffer = Vec::new();
    for head in 0..heads {
        let offset = (head * bytes) as u64;
        read_chunk(
            &source.files,
            entry,
            TensorChunk { offset, bytes },
            &mut buffer,
        )
        .await?;
        plain(entry, &mut buffer)?;
        let row = (buffer.len() / rows.max(1)).max(1);
        for first in 0..2 {
            for bytes in buffer.chunks(row).skip(first).step_by(2) {
                out.write_all(bytes)?;
            }
        }
    }
    Ok(())
}

/// Decodes whole blocks into f32; other elements stay as they are.
fn plain(entry: &TensorEntry, buffer: &mut Vec<u8>) -> Result<(), ConvertError> {
    let ElementType::Block(format) = entry.element else {
        return Ok(());
    };
    let mut values = vec![0.0f32; buffer.len() / format.bytes() * format.elements()];
    decode(entry.element, buffer, &mut values).map_err(|error| ConvertError::Decode {
        name: entry.name.clone(),
        error,
    })?;
    buffer.clear();
    buffer.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    Ok(())
}

fn data_type(entry: &TensorEntry) -> DataType {
    entry.element.plain().unwrap_or(DataType::F32)
}

fn bytes(entry: &TensorEntry) -> u64 {
    entry.elements() as u64 * data_type(entry).bytes() as u64
}

fn code(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F64 => "F64",
        DataType::F32 => "F32",
        DataType::F16 => "F16",
        DataType::Bf16 => "BF16",
        DataType::I64 => "I64",
        DataType::I32 => "I32",
        DataType::I16 => "I16",
        // A checkpoint's 4-bit integers lie one a byte.
        DataType::I8 | DataType::I4 => "I8",
        DataType::U64 => "U64",
        DataType::U32 => "U32",
        DataType::U16 => "U16",
        DataType::U8 | DataType::U4 => "U8",
        DataType::Bool => "BOOL",
    }
}
