//! NaN and infinities among weights, read chunk by chunk.

use fewbit_engine::format::{FormatError, TensorEntry, read_chunk};
use fewbit_engine::session::WeightSource;
use fewbit_engine::tensor::{DataType, ElementType, decode};

/// Of a tensor's bytes, so many are in memory at a time.
const CHUNK: usize = 4 << 20;

/// What a tensor has that is no number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NotFinite {
    pub(super) nan: u64,
    pub(super) infinite: u64,
}

impl NotFinite {
    pub(super) fn is_none(&self) -> bool {
        self.nan == 0 && self.infinite == 0
    }

    fn take(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value.is_infinite() {
            self.infinite += 1;
        }
    }
}

/// Looks at every element of a tensor; integers are always finite and are not read.
///
/// # Errors
/// A part of the file that cannot be read, or blocks that cannot be decoded.
pub(super) async fn look(source: &WeightSource, entry: &TensorEntry) -> Result<NotFinite, String> {
    let mut found = NotFinite::default();
    if matches!(entry.element, ElementType::Plain(data_type) if !data_type.is_float()) {
        return Ok(found);
    }
    let mut buffer = Vec::new();
    let mut values: Vec<f32> = Vec::new();
    for chunk in entry.chunks(CHUNK) {
        let read = read_chunk(&source.files, entry, chunk, &mut buffer).await;
        read.map_err(|error: FormatError| error.to_string())?;
        if entry.element == ElementType::Plain(DataType::F64) {
            for bytes in buffer.as_chunks::<8>().0 {
                found.take(f64::from_le_bytes(*bytes));
            }
            continue;
        }
        let count = match entry.element {
            ElementType::Block(format) => buffer.len() / format.bytes() * format.elements(),
            ElementType::Plain(data_type) => buffer.len() / data_type.bytes(),
        };
        values.resize(count, 0.0);
        decode(entry.element, &buffer, &mut values)
            .map_err(|error| format!("{}: {error}", entry.name))?;
        for &value in values.iter().filter(|value| !value.is_finite()) {
            found.take(f64::from(value));
        }
    }
    Ok(found)
}
