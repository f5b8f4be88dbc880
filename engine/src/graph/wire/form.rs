//! Numbers, texts and lists as bytes, and the two macros that make bytes of structs and enums.

use std::borrow::Cow;

use super::WireError;
use crate::tensor::{BlockFormat, DataType, ElementType, Tensor};

/// What can be bytes.
pub(crate) trait Wire: Sized {
    fn write(&self, out: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong>;
}

/// The bytes are wrong; the [`Reader`] knows how. Of no size, since errors that are handed on from read to read are most
/// of the code where they have one.
#[derive(Debug)]
pub(crate) struct Wrong;

/// A struct is its fields, in the order given; the compiler finds those that are not.
macro_rules! wire_struct {
    ($($type:ident { $($field:ident),* })*) => { $(
        impl $crate::graph::wire::Wire for $type {
            fn write(&self, out: &mut $crate::graph::wire::Writer) {
                let $type { $($field),* } = self;
                $($field.write(out);)*
            }
            fn read(
                from: &mut $crate::graph::wire::Reader<'_>,
            ) -> Result<Self, $crate::graph::wire::Wrong> {
                Ok($type { $($field: $crate::graph::wire::Wire::read(from)?),* })
            }
        }
    )* };
}
pub(crate) use wire_struct;

/// An enum is the number of its variant and that one's fields; the compiler finds variants that are not listed.
macro_rules! wire_enum {
    ($type:ident { $($tag:literal $variant:ident $(($($field:ident),*))? $({$($named:ident),*})?;)* }) => {
        impl $crate::graph::wire::Wire for $type {
            fn write(&self, out: &mut $crate::graph::wire::Writer) {
                match self {
                    $($type::$variant $(($($field),*))? $({$($named),*})? => {
                        out.byte($tag);
                        $($($field.write(out);)*)?
                        $($($named.write(out);)*)?
                    })*
                }
            }
            fn read(
                from: &mut $crate::graph::wire::Reader<'_>,
            ) -> Result<Self, $crate::graph::wire::Wrong> {
                Ok(match from.byte()? {
                    $($tag => {
                        $($(let $field = $crate::graph::wire::Wire::read(from)?;)*)?
                        $($(let $named = $crate::graph::wire::Wire::read(from)?;)*)?
                        $type::$variant $(($($field),*))? $({$($named),*})?
                    })*
                    _ => return Err(from.wrong(concat!("no ", stringify!($type)))),
                })
            }
        }
    };
}
pub(crate) use wire_enum;

/// An enum without fields is its number, as its list `ALL` has it.
macro_rules! wire_listed {
    ($($type:ident)*) => { $(
        impl $crate::graph::wire::Wire for $type {
            fn write(&self, out: &mut $crate::graph::wire::Writer) {
                out.byte(*self as u8);
            }
            fn read(
                from: &mut $crate::graph::wire::Reader<'_>,
            ) -> Result<Self, $crate::graph::wire::Wrong> {
                let number = from.byte()?;
                let known = $type::ALL.into_iter().find(|known| *known as u8 == number);
                known.ok_or_else(|| from.wrong(concat!("no ", stringify!($type))))
            }
        }
    )* };
}
pub(super) use wire_listed;

/// Bytes being made.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    fault: Option<WireError>,
}

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is written cannot be read again; the first such fault is told.
    pub(super) fn fail(&mut self, fault: WireError) {
        self.fault.get_or_insert(fault);
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, WireError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.bytes),
        }
    }
}

/// Bytes being read. Nothing is made of them before it is known that they are there.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    fault: Option<WireError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            bytes,
            at: 0,
            fault: None,
        }
    }

    /// Bytes that are not read yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// How many are read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Notes what is wrong here.
    #[cold]
    #[inline(never)]
    pub(crate) fn wrong(&mut self, what: &'static str) -> Wrong {
        let at = self.at;
        self.fail(WireError::Malformed { at, what })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&mut self, fault: WireError) -> Wrong {
        self.fault.get_or_insert(fault);
        Wrong
    }

    #[cold]
    #[inline(never)]
    pub(super) fn refused(&mut self, value: usize, error: crate::graph::GraphError) -> Wrong {
        let at = self.at;
        self.fail(WireError::Graph { at, value, error })
    }

    /// What `read` makes of the bytes, or how they are wrong.
    pub(crate) fn run<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Wrong>,
    ) -> Result<T, WireError> {
        match read(&mut self) {
            Ok(made) => Ok(made),
            Err(Wrong) => Err(self.fault.unwrap_or(WireError::Version)),
        }
    }

    /// Reads what the bytes begin with.
    pub(crate) fn magic(&mut self, magic: [u8; 4]) -> Result<(), Wrong> {
        match self.bytes.get(..4) == Some(&magic) {
            true => self.take(4).map(drop),
            false => Err(self.fail(WireError::Version)),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        if count > self.left() {
            return Err(self.wrong("the bytes end"));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Wrong> {
        Ok(self.take(1)?[0])
    }

    /// How many entries follow, each of at least a byte.
    #[inline(never)]
    pub(crate) fn count(&mut self) -> Result<usize, Wrong> {
        let count = usize::read(self)?;
        if count > self.left() {
            return Err(self.wrong("more entries than bytes"));
        }
        Ok(count)
    }

    /// Refuses what is left over.
    pub(crate) fn end(&mut self) -> Result<(), Wrong> {
        match self.left() {
            0 => Ok(()),
            _ => Err(self.wrong("bytes are left over")),
        }
    }
}

impl Wire for u64 {
    #[inline(never)]
    fn write(&self, out: &mut Writer) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.byte(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.byte(rest as u8);
    }

    #[inline(never)]
    fn read(from: &mut Reader<'_>) -> Result<u64, Wrong> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = from.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(from.wrong("a number of more than 64 bits"))
    }
}

/// Whole numbers by way of `u64`.
macro_rules! wire_unsigned {
    ($($type:ident)*) => { $(
        impl Wire for $type {
            fn write(&self, out: &mut Writer) {
                (*self as u64).write(out);
            }
            fn read(from: &mut Reader<'_>) -> Result<$type, Wrong> {
                let number = u64::read(from)?;
                $type::try_from(number).map_err(|_| from.wrong("a number that is too large"))
            }
        }
    )* };
}
wire_unsigned! { usize u32 }

impl Wire for i64 {
    fn write(&self, out: &mut Writer) {
        (((self << 1) ^ (self >> 63)) as u64).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<i64, Wrong> {
        let number = u64::read(from)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

impl Wire for i32 {
    fn write(&self, out: &mut Writer) {
        i64::from(*self).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<i32, Wrong> {
        i32::try_from(i64::read(from)?).map_err(|_| from.wrong("a number that is too large"))
    }
}

impl Wire for f32 {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.to_le_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<f32, Wrong> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(from.take(4)?);
        Ok(f32::from_le_bytes(bytes))
    }
}

impl Wire for bool {
    fn write(&self, out: &mut Writer) {
        out.byte(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Result<bool, Wrong> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(from.wrong("neither true nor false")),
        }
    }
}

impl Wire for String {
    fn write(&self, out: &mut Writer) {
        self.len().write(out);
        out.bytes(self.as_bytes());
    }

    #[inline(never)]
    fn read(from: &mut Reader<'_>) -> Result<String, Wrong> {
        let length = from.count()?;
        let text = std::str::from_utf8(from.take(length)?);
        text.map(str::to_owned)
            .map_err(|_| from.wrong("a text that is not UTF-8"))
    }
}

impl Wire for Cow<'static, str> {
    fn write(&self, out: &mut Writer) {
        self.clone().into_owned().write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Cow<'static, str>, Wrong> {
        Ok(Cow::Owned(String::read(from)?))
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<(A, B), Wrong> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, out: &mut Writer) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>, Wrong> {
        Ok(match bool::read(from)? {
            true => Some(T::read(from)?),
            false => None,
        })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, out: &mut Writer) {
        self.len().write(out);
        self.iter().for_each(|entry| entry.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<T>, Wrong> {
        // It grows with what is really there.
        let mut entries = Vec::new();
        for _ in 0..from.count()? {
            entries.push(T::read(from)?);
        }
        Ok(entries)
    }
}

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    fn write(&self, out: &mut Writer) {
        self.iter().for_each(|entry| entry.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<[T; N], Wrong> {
        let mut entries = [T::default(); N];
        for entry in &mut entries {
            *entry = T::read(from)?;
        }
        Ok(entries)
    }
}

wire_listed! { DataType BlockFormat }
wire_enum! { ElementType {
    0 Plain(data_type);
    1 Block(format);
} }

impl Wire for Tensor {
    fn write(&self, out: &mut Writer) {
        self.data_type().write(out);
        self.shape().to_vec().write(out);
        out.bytes(self.bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Tensor, Wrong> {
        let data_type = DataType::read(from)?;
        let shape = Vec::<usize>::read(from)?;
        let length = ElementType::Plain(data_type).byte_len(&shape);
        let length = length.filter(|&length| length <= from.left());
        let Some(length) = length else {
            return Err(from.wrong("a tensor larger than the bytes"));
        };
        let tensor = Tensor::from_bytes(data_type, &shape, from.take(length)?);
        let at = from.at;
        tensor.map_err(|error| from.fail(WireError::Tensor { at, error }))
    }
}
