//! Weights and states on the device.
//!
//! A weight keeps its file's bytes (block formats, f16 and bf16 are decoded in the kernels). One that is
//! larger than a binding may be is cut into parts of whole rows, each a buffer of its own, and kernels
//! run once a part. Only small weights that are used element by element (norms' scales, biases) are
//! widened to the device's four bytes.

use fewbit_shaders::WeightFormat;

use super::device::Opened;
use super::element::{device_type, same_bytes, to_device};
use crate::backend::{BackendError, WeightUse};
use crate::tensor::{BlockFormat, DataType, ElementType};

/// Rows `first .. first + rows` of a weight.
pub(crate) struct Part {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) first: usize,
    pub(crate) rows: usize,
    /// Bytes of those rows, in whole words.
    bytes: u64,
}

/// How a weight's bytes lie on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As in the file, in this format.
    Stored(WeightFormat),
    /// Four bytes an element, converted from this type.
    Widened(DataType),
}

pub(crate) struct Weight {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) layout: Layout,
    pub(crate) parts: Vec<Part>,
    /// Bytes of all parts.
    pub(crate) bytes: u64,
    /// Bytes given so far, of those there must be.
    written: u64,
    expected: u64,
    /// Bytes given that do not fill an element or a word of the device yet.
    tail: Vec<u8>,
    /// Where on the device the next bytes go, counted over all parts.
    cursor: u64,
}

/// How the shaders call a weight's format; `None` for a type that no kernel decodes.
pub(crate) fn weight_format(element: ElementType) -> Option<WeightFormat> {
    Some(match element {
        ElementType::Plain(DataType::F32) => WeightFormat::F32,
        ElementType::Plain(DataType::F16) => WeightFormat::F16,
        ElementType::Plain(DataType::Bf16) => WeightFormat::Bf16,
        ElementType::Plain(_) => return None,
        ElementType::Block(format) => match format {
            BlockFormat::Q4_0 => WeightFormat::Q4_0,
            BlockFormat::Q4_1 => WeightFormat::Q4_1,
            BlockFormat::Q5_0 => WeightFormat::Q5_0,
            BlockFormat::Q5_1 => WeightFormat::Q5_1,
            BlockFormat::Q8_0 => WeightFormat::Q8_0,
            BlockFormat::Q2K => WeightFormat::Q2K,
            BlockFormat::Q3K => WeightFormat::Q3K,
            BlockFormat::Q4K => WeightFormat::Q4K,
            BlockFormat::Q5K => WeightFormat::Q5K,
            BlockFormat::Q6K => WeightFormat::Q6K,
            BlockFormat::Q2Z => WeightFormat::Q2Z,
            BlockFormat::Q4Z => WeightFormat::Q4Z,
            BlockFormat::Q8Z => WeightFormat::Q8Z,
        },
    })
}

impl Weight {
    pub(crate) fn create(
        opened: &Opened,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<Weight, BackendError> {
        let fail = |message: String| BackendError::Weight {
            name: name.to_owned(),
            message,
        };
        let expected = element.byte_len(shape).ok_or_else(|| {
            fail(format!(
                "a tensor of shape {shape:?} has no whole number of {element} blocks"
            ))
        })? as u64;
        let packed = usage.matmul || usage.gather || element.block().is_some();
        let layout = match (weight_format(element), element.plain()) {
            (Some(format), _) if packed || element == ElementType::F32 => Layout::Stored(format),
            (_, Some(data_type)) if device_type(data_type).is_some() => Layout::Widened(data_type),
            _ => {
                return Err(BackendError::Unsupported {
                    op: format!("weight {name}"),
                    reason: format!("{element} has no kernel on the GPU"),
                });
            }
        };
        let columns = shape.last().copied().unwrap_or(1);
        let rows: usize = shape[..shape.len().saturating_sub(1)].iter().product();
        let row_bytes = match layout {
            Layout::Stored(_) => element.byte_len(&[columns]).unwrap_or(0),
            Layout::Widened(_) => columns * 4,
        };
        let parts = cut(rows, row_bytes, opened.facts.max_binding)
            .ok_or_else(|| {
                fail(format!(
                    "four rows of {row_bytes} bytes are more than the device binds ({})",
                    opened.facts.max_binding
                ))
            })?
            .into_iter()
            .map(|(first, rows)| Part {
                buffer: storage(opened, name, (rows * row_bytes) as u64),
                first,
                rows,
                bytes: (rows * row_bytes).next_multiple_of(4) as u64,
            })
            .collect::<Vec<_>>();
        Ok(Weight {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            layout,
            bytes: parts.iter().map(|part| part.bytes).sum(),
            parts,
            written: 0,
            expected,
            tail: Vec::new(),
            cursor: 0,
        })
    }

    fn fail(&self, message: String) -> BackendError {
        BackendError::Weight {
            name: self.name.clone(),
            message,
        }
    }

    /// Writes the next bytes; `offset` must be where the last call ended.
    pub(crate) fn write(
        &mut self,
        opened: &Opened,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        if offset != self.written || bytes.len() as u64 > self.expected - self.written {
            return Err(self.fail(format!(
                "bytes {offset} to {} given where {} to {} are missing",
                offset.saturating_add(bytes.len() as u64),
                self.written,
                self.expected
            )));
        }
        self.written += bytes.len() as u64;
        let unit = match self.layout {
            Layout::Stored(_) => 4,
            Layout::Widened(data_type) => data_type.bytes(),
        };
        let mut rest = bytes;
        if !self.tail.is_empty() {
            let missing = (unit - self.tail.len()).min(rest.len());
            self.tail.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if self.tail.len() < unit {
                return Ok(());
            }
            let tail = std::mem::take(&mut self.tail);
            self.upload(opened, &tail)?;
        }
        let whole = rest.len() - rest.len() % unit;
        self.upload(opened, &rest[..whole])?;
        self.tail = rest[whole..].to_vec();
        Ok(())
    }

    /// Says that all bytes are there.
    pub(crate) fn finish(&mut self, opened: &Opened) -> Result<(), BackendError> {
        if self.written != self.expected {
            return Err(self.fail(format!(
                "{} of {} bytes were written",
                self.written, self.expected
            )));
        }
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            tail.resize(4, 0);
            self.upload(opened, &tail)?;
        }
        opened.check()
    }

    /// Whole elements or words of the file to the device.
    fn upload(&mut self, opened: &Opened, bytes: &[u8]) -> Result<(), BackendError> {
        match self.layout {
            Layout::Stored(_) => self.put(opened, bytes),
            Layout::Widened(data_type) if same_bytes(data_type) => self.put(opened, bytes),
            Layout::Widened(data_type) => {
                // Converted in pieces: such weights are small, but nothing says so.
                for piece in bytes.chunks(data_type.bytes() << 16) {
                    let words = to_device(data_type, piece);
                    let words = words.ok_or_else(|| BackendError::Unsupported {
                        op: format!("weight {}", self.name),
                        reason: format!("{data_type} beyond the GPU's 32 bits"),
                    })?;
                    self.put(opened, bytemuck::cast_slice(&words))?;
                }
                Ok(())
            }
        }
    }

    /// Words to where they belong, which may be more than one part.
    fn put(&mut self, opened: &Opened, mut bytes: &[u8]) -> Result<(), BackendError> {
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.bytes;
            if bytes.is_empty() {
                break;
            }
            if self.cursor < end {
                let room = (end - self.cursor).min(bytes.len() as u64);
                let (now, later) = bytes.split_at(room as usize);
                opened
                    .queue
                    .write_buffer(&part.buffer, self.cursor - start, now);
                self.cursor += room;
                bytes = later;
            }
            start = end;
        }
        Ok(())
    }
}

/// Whole rows into parts of at most `limit` bytes; all parts but the last have a multiple of four rows,
/// so that each begins at a whole word of the file. `None` if four rows are too many.
fn cut(rows: usize, row_bytes: usize, limit: u64) -> Option<Vec<(usize, usize)>> {
    let fits = usize::try_from(limit).unwrap_or(usize::MAX) / row_bytes.max(1);
    if rows <= fits {
        return Some(vec![(0, rows)]);
    }
    let each = fits - fits % 4;
    if each == 0 {
        return None;
    }
    Some(
        (0..rows)
            .step_by(each)
            .map(|first| (first, each.min(rows - first)))
            .collect(),
    )
}

/// A buffer of at least `bytes` bytes, in whole words, for anything a kernel binds.
pub(crate) fn storage(opened: &Opened, label: &str, bytes: u64) -> wgpu::Buffer {
    opened.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.next_multiple_of(4).max(16),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// A state that outlives runs: dense, four bytes an element, zero at first.
pub(crate) struct State {
    pub(crate) data_type: DataType,
    pub(crate) shape: Vec<usize>,
    pub(crate) buffer: wgpu::Buffer,
}

impl State {
    pub(crate) fn create(
        opened: &Opened,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<State, BackendError> {
        let unsupported = |reason: String| BackendError::Unsupported {
            op: "state".to_owned(),
            reason,
        };
        if device_type(data_type).is_none() {
            return Err(unsupported(format!("{data_type} on the GPU")));
        }
        let bytes = ElementType::F32
            .byte_len(shape)
            .map(|bytes| bytes as u64)
            .filter(|&bytes| bytes <= opened.facts.max_binding)
            .ok_or_else(|| {
                BackendError::OutOfMemory(format!(
                    "a state of shape {shape:?} is larger than the device binds ({} bytes)",
                    opened.facts.max_binding
                ))
            })?;
        Ok(State {
            data_type,
            shape: shape.to_vec(),
            buffer: storage(opened, "state", bytes),
        })
    }

    /// The state with a larger `axis`, its elements where they were.
    pub(crate) fn grown(
        &self,
        opened: &Opened,
        axis: usize,
        size: usize,
    ) -> Result<State, BackendError> {
        let Some(&old) = self.shape.get(axis).filter(|&&old| old <= size) else {
            return Err(BackendError::Internal(format!(
                "a state of shape {:?} cannot get axis {axis} of {size}",
                self.shape
            )));
        };
        let mut shape = self.shape.clone();
        shape[axis] = size;
        let new = State::create(opened, self.data_type, &shape)?;
        let inner = 4 * self.shape[axis + 1..].iter().product::<usize>() as u64;
        let outer = self.shape[..axis].iter().product::<usize>() as u64;
        if inner * old as u64 > 0 {
            let mut encoder = opened.device.create_command_encoder(&Default::default());
            for i in 0..outer {
                let (from, to) = (i * inner * old as u64, i * inner * size as u64);
                encoder.copy_buffer_to_buffer(
                    &self.buffer,
                    from,
                    &new.buffer,
                    to,
                    inner * old as u64,
                );
            }
            opened.queue.submit([encoder.finish()]);
        }
        opened.check()?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn parts_cover_all_rows_and_begin_at_words() {
        assert_eq!(cut(10, 18, 1 << 20), Some(vec![(0, 10)]));
        assert_eq!(cut(10, 18, 18 * 5), Some(vec![(0, 4), (4, 4), (8, 2)]));
        assert_eq!(cut(10, 18, 18 * 3), None);
        assert_eq!(cut(0, 18, 1), Some(vec![(0, 0)]));
    }
}
