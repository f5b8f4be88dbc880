//! A model's messages, read from a file of any size; the elements of large tensors stay where they are.
//!
//! The file is walked field by field ("Message Structure" in <https://protobuf.dev/programming-guides/encoding/>). What this
//! crate's messages have is copied, what they have not is passed over, and in the place of a large tensor's elements goes
//! what ONNX has for elements in another file: `external_data`, with an empty location, which stands for the model's own file.

use fewbit_engine::source::{ByteSource, LocalFuture};
use prost::Message;
use prost::encoding::{encode_key, encode_varint};

use super::ImportError;
use crate::proto::{ModelProto, StringStringEntryProto};

/// Elements of more bytes stay in the file.
pub(super) const LARGE: u64 = 4096;

/// What is not elements of large tensors has at most so many bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Messages lie in one another at most so deep; a subgraph is three deeper than its node's graph.
const MOST_DEPTH: usize = 48;

/// There are at most so many nodes, attributes and tensors, whatever the file's size.
const MOST_MESSAGES: u64 = 1 << 22;

/// What a message takes in memory at most, and what of that a file may ask for: so many bytes a byte of it.
const MESSAGE_BYTES: u64 = 512;
const GROWTH: u64 = 64;
const FREE_MESSAGES: u64 = 1 << 15;

/// How much of the file is read at a time.
const WINDOW: u64 = 64 << 10;

/// Wire types.
const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED_32: u32 = 5;

/// The messages that are walked into.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

/// What is done with a field.
enum Field {
    Copy,
    Enter(Kind),
    /// Of the field only stays that there is one.
    Mark,
    /// A tensor's elements, as little-endian numbers.
    Elements,
    Skip,
}

impl Kind {
    fn field(self, number: u32) -> Field {
        match (self, number) {
            (Kind::Model, 7) => Field::Enter(Kind::Graph),
            (Kind::Model, 1 | 2 | 3 | 8) => Field::Copy,
            (Kind::Graph, 1) => Field::Enter(Kind::Node),
            (Kind::Graph, 5) => Field::Enter(Kind::Tensor),
            (Kind::Graph, 2 | 11 | 12) => Field::Copy,
            (Kind::Graph, 15) => Field::Mark,
            (Kind::Node, 5) => Field::Enter(Kind::Attribute),
            (Kind::Node, 1 | 2 | 3 | 4 | 7) => Field::Copy,
            (Kind::Attribute, 5 | 10) => Field::Enter(Kind::Tensor),
            (Kind::Attribute, 6 | 11) => Field::Enter(Kind::Graph),
            (Kind::Attribute, 1..=9 | 20) => Field::Copy,
            // `float_data` and `double_data` are packed numbers, which is what `raw_data` has.
            (Kind::Tensor, 4 | 9 | 10) => Field::Elements,
            (Kind::Tensor, 1 | 2 | 5..=8 | 11 | 13 | 14) => Field::Copy,
            _ => Field::Skip,
        }
    }
}

/// The bytes of a file that one message has left.
#[derive(Clone, Copy)]
struct Span {
    at: u64,
    end: u64,
}

/// Reads the model in `source`.
///
/// # Errors
/// [`ImportError::File`]: bytes that are no `ModelProto`, more messages or bytes beside the tensors than there may be.
pub(super) async fn read_model(source: &dyn ByteSource) -> Result<ModelProto, ImportError> {
    let mut walk = Walk {
        source,
        start: 0,
        window: Vec::new(),
        copied: 0,
        messages: 0,
    };
    let whole = Span {
        at: 0,
        end: source.len(),
    };
    let bytes = walk.message(Kind::Model, whole, 0).await?;
    let model = ModelProto::decode(bytes.as_slice());
    model.map_err(|e| walk.fault(0, &format!("no ONNX model: {e}")))
}

struct Walk<'a> {
    source: &'a dyn ByteSource,
    /// Where in the file `window` begins.
    start: u64,
    window: Vec<u8>,
    copied: u64,
    messages: u64,
}

impl Walk<'_> {
    fn fault(&self, at: u64, reason: &str) -> ImportError {
        ImportError::File {
            file: self.source.name().to_owned(),
            reason: format!("at byte {at}: {reason}"),
        }
    }

    /// The message's bytes without what is passed over, and with places instead of large elements.
    fn message<'a>(
        &'a mut self,
        kind: Kind,
        mut span: Span,
        depth: usize,
    ) -> LocalFuture<'a, Result<Vec<u8>, ImportError>> {
        Box::pin(async move {
            if depth > MOST_DEPTH {
                return Err(self.fault(span.at, "no ONNX model: messages nested too deep"));
            }
            self.count(span.at)?;
            let mut out = Vec::new();
            let mut kept: Option<(u32, Span)> = None;
            let (mut data_type, mut is_outside) = (0, false);
            while span.at < span.end {
                let begin = span.at;
                let key = self.varint(&mut span).await?;
                let Ok(key) = u32::try_from(key) else {
                    return Err(self.fault(begin, "no ONNX model: a field number out of range"));
                };
                let (number, wire) = (key >> 3, key & 7);
                let field = kind.field(number);
                if wire != LENGTH {
                    let end = match wire {
                        VARINT => {
                            let value = self.varint(&mut span).await?;
                            match (kind, number) {
                                (Kind::Tensor, 2) => data_type = value,
                                (Kind::Tensor, 14) => is_outside = value != 0,
                                _ => {}
                            }
                            span.at
                        }
                        FIXED_64 => span.at + 8,
                        FIXED_32 => span.at + 4,
                        _ => return Err(self.fault(begin, "no ONNX model: an unknown wire type")),
                    };
                    if end > span.end {
                        return Err(self.short(begin, span.end));
                    }
                    span.at = end;
                    if !matches!(field, Field::Skip) {
                        let bytes = self.copy(begin, span.at).await?;
                        out.extend_from_slice(bytes);
                    }
                    continue;
                }
                let length = self.varint(&mut span).await?;
                let inside = span.at..span.at.saturating_add(length);
                if inside.end > span.end {
                    return Err(self.short(begin, span.end));
                }
                span.at = inside.end;
                is_outside |= (kind, number) == (Kind::Tensor, 13);
                match field {
                    Field::Skip => {}
                    Field::Mark => put(&mut out, number, &[]),
                    Field::Enter(kind) => {
                        let span = Span {
                            at: inside.start,
                            end: inside.end,
                        };
                        let message = self.message(kind, span, depth + 1).await?;
                        put(&mut out, number, &message);
                    }
                    Field::Elements if length > LARGE => {
                        if kept.is_some() {
                            return Err(self.fault(begin, "a tensor has its elements twice"));
                        }
                        let span = Span {
                            at: inside.start,
                            end: inside.end,
                        };
                        kept = Some((number, span));
                    }
                    Field::Copy | Field::Elements => {
                        let bytes = self.copy(begin, inside.end).await?;
                        out.extend_from_slice(bytes);
                    }
                }
            }
            if let Some((number, elements)) = kept {
                if is_outside {
                    let reason = "a tensor has its elements here and in another file";
                    return Err(self.fault(elements.at, reason));
                }
                // `float_data` is of float and complex64, `double_data` of double and complex128.
                if !matches!((number, data_type), (9, _) | (4, 1 | 14) | (10, 11 | 15)) {
                    let reason = format!("field {number} has no elements of type {data_type}");
                    return Err(self.fault(elements.at, &reason));
                }
                put_place(&mut out, elements);
            }
            Ok(out)
        })
    }

    fn count(&mut self, at: u64) -> Result<(), ImportError> {
        self.messages += 1;
        let most = FREE_MESSAGES.max(self.source.len().saturating_mul(GROWTH) / MESSAGE_BYTES);
        if self.messages > most.min(MOST_MESSAGES) {
            let reason = format!("no ONNX model: more than {} messages", self.messages - 1);
            return Err(self.fault(at, &reason));
        }
        Ok(())
    }

    fn short(&self, at: u64, end: u64) -> ImportError {
        self.fault(
            at,
            &format!("no ONNX model: a field goes beyond its message, which ends at byte {end}"),
        )
    }

    async fn varint(&mut self, span: &mut Span) -> Result<u64, ImportError> {
        let begin = span.at;
        let most = (span.end - begin).min(10);
        let bytes = self.bytes(begin, most).await?;
        let mut value = 0u64;
        for (place, &byte) in bytes.iter().enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place as u32);
            if byte < 0x80 {
                span.at = begin + place as u64 + 1;
                return Ok(value);
            }
        }
        Err(self.fault(begin, "no ONNX model: a number that does not end"))
    }

    /// Bytes that stay in memory.
    async fn copy(&mut self, begin: u64, end: u64) -> Result<&[u8], ImportError> {
        self.copied += end - begin;
        if self.copied > MOST_BYTES {
            let reason = format!("more than {MOST_BYTES} bytes beside the weights");
            return Err(self.fault(begin, &reason));
        }
        self.bytes(begin, end - begin).await
    }

    /// `length` bytes, which are in the file.
    async fn bytes(&mut self, at: u64, length: u64) -> Result<&[u8], ImportError> {
        let held = self.start + self.window.len() as u64;
        if at < self.start || at + length > held {
            let size = length.max(WINDOW).min(self.source.len() - at);
            self.window.resize(size as usize, 0);
            self.start = at;
            let read = self.source.read_at(at, &mut self.window).await;
            read.map_err(ImportError::Source)?;
        }
        let first = (at - self.start) as usize;
        Ok(&self.window[first..first + length as usize])
    }
}

fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Says of a tensor that its elements are in the model's own file.
fn put_place(out: &mut Vec<u8>, elements: Span) {
    let entries = [
        ("location", String::new()),
        ("offset", elements.at.to_string()),
        ("length", (elements.end - elements.at).to_string()),
    ];
    for (key, value) in entries {
        let entry = StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        put(out, 13, &entry.encode_to_vec());
    }
    encode_key(14, prost::encoding::WireType::Varint, out);
    encode_varint(1, out);
}
