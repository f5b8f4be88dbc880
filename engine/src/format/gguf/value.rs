//! GGUF's metadata pairs: a key, a value type, a value.

use super::cursor::Cursor;
use crate::format::error::Fault;
use crate::format::header::Stop;
use crate::format::metadata::{MetaArray, MetaValue, Metadata};

/// A pair has at least a key's length, one byte of key, a type and one byte of value.
pub(super) const LEAST_PAIR_BYTES: u64 = 8 + 1 + 4 + 1;

/// How deep arrays may be nested. No known file nests them at all.
const NESTING_LIMIT: usize = 4;

pub(super) fn read_pairs(cursor: &mut Cursor<'_>, pairs: usize) -> Result<Metadata, Stop> {
    let mut metadata = Metadata::default();
    for _ in 0..pairs {
        let at = cursor.position();
        let key = cursor.name("a metadata key")?;
        let type_at = cursor.position();
        let number = cursor.u32("a metadata value's type")?;
        let value = Reader { cursor, key }.value(number, type_at)?;
        if let Err(key) = metadata.insert(key.to_owned(), value) {
            return Err(cursor.error(Fault::DuplicateKey(key)).at(at).into());
        }
    }
    Ok(metadata)
}

/// Reads the value of one key.
struct Reader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    key: &'a str,
}

impl Reader<'_, '_> {
    fn value(&mut self, number: u32, type_at: u64) -> Result<MetaValue, Stop> {
        const WHAT: &str = "a metadata value";
        let cursor = &mut *self.cursor;
        Ok(match number {
            0 => MetaValue::U8(u8::from_le_bytes(cursor.array(WHAT)?)),
            1 => MetaValue::I8(i8::from_le_bytes(cursor.array(WHAT)?)),
            2 => MetaValue::U16(u16::from_le_bytes(cursor.array(WHAT)?)),
            3 => MetaValue::I16(i16::from_le_bytes(cursor.array(WHAT)?)),
            4 => MetaValue::U32(u32::from_le_bytes(cursor.array(WHAT)?)),
            5 => MetaValue::I32(i32::from_le_bytes(cursor.array(WHAT)?)),
            6 => MetaValue::F32(f32::from_le_bytes(cursor.array(WHAT)?)),
            7 => MetaValue::Bool(self.bool()?),
            8 => MetaValue::String(cursor.string(WHAT)?.to_owned()),
            9 => MetaValue::Array(self.array(1)?),
            10 => MetaValue::U64(u64::from_le_bytes(cursor.array(WHAT)?)),
            11 => MetaValue::I64(i64::from_le_bytes(cursor.array(WHAT)?)),
            12 => MetaValue::F64(f64::from_le_bytes(cursor.array(WHAT)?)),
            _ => return Err(self.unknown_type(number, type_at)),
        })
    }

    /// An array: u32 element type, u64 count, elements. `depth` counts from 1.
    fn array(&mut self, depth: usize) -> Result<MetaArray, Stop> {
        if depth > NESTING_LIMIT {
            let fault = Fault::NestedTooDeep {
                key: self.key.to_owned(),
                limit: NESTING_LIMIT,
            };
            return Err(self.cursor.error_here(fault).into());
        }
        let type_at = self.cursor.position();
        let number = self.cursor.u32("an array's element type")?;
        Ok(match number {
            0 => MetaArray::U8(self.numbers(u8::from_le_bytes)?),
            1 => MetaArray::I8(self.numbers(i8::from_le_bytes)?),
            2 => MetaArray::U16(self.numbers(u16::from_le_bytes)?),
            3 => MetaArray::I16(self.numbers(i16::from_le_bytes)?),
            4 => MetaArray::U32(self.numbers(u32::from_le_bytes)?),
            5 => MetaArray::I32(self.numbers(i32::from_le_bytes)?),
            6 => MetaArray::F32(self.numbers(f32::from_le_bytes)?),
            7 => MetaArray::Bool(self.each(1, |reader| reader.bool())?),
            8 => MetaArray::String(self.each(8, |reader| {
                Ok(reader.cursor.string("a string of an array")?.to_owned())
            })?),
            9 => MetaArray::Array(self.each(12, |reader| reader.array(depth + 1))?),
            10 => MetaArray::U64(self.numbers(u64::from_le_bytes)?),
            11 => MetaArray::I64(self.numbers(i64::from_le_bytes)?),
            12 => MetaArray::F64(self.numbers(f64::from_le_bytes)?),
            _ => return Err(self.unknown_type(number, type_at)),
        })
    }

    fn numbers<T, const N: usize>(&mut self, from: fn([u8; N]) -> T) -> Result<Vec<T>, Stop> {
        let count = self.cursor.count("array elements", N as u64)?;
        // `count` elements fit into the file, so the product does not overflow.
        let bytes = self.cursor.take((count * N) as u64, "an array")?;
        let (elements, _) = bytes.as_chunks::<N>();
        Ok(elements.iter().map(|&element| from(element)).collect())
    }

    /// Elements of which each takes at least `least` bytes.
    fn each<T>(
        &mut self,
        least: u64,
        mut element: impl FnMut(&mut Self) -> Result<T, Stop>,
    ) -> Result<Vec<T>, Stop> {
        let count = self.cursor.count("array elements", least)?;
        let mut elements = self.cursor.reserve(count, least);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn bool(&mut self) -> Result<bool, Stop> {
        let at = self.cursor.position();
        let [value] = self.cursor.array("a boolean")?;
        match value {
            0 | 1 => Ok(value == 1),
            _ => {
                let key = self.key.to_owned();
                let fault = Fault::NotBool { key, value };
                Err(self.cursor.error(fault).at(at).into())
            }
        }
    }

    fn unknown_type(&self, number: u32, type_at: u64) -> Stop {
        let key = self.key.to_owned();
        let fault = Fault::UnknownValueType { key, number };
        self.cursor.error(fault).at(type_at).into()
    }
}
