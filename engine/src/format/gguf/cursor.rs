//! Little-endian values out of a prefix of a file whose whole length is known.

use crate::format::error::{Fault, FormatError};
use crate::format::header::Stop;

/// Keys and tensor names; the specification's limit for keys.
const NAME_LIMIT: u64 = 65535;

pub(super) struct Cursor<'a> {
    prefix: &'a [u8],
    file_len: u64,
    file: &'a str,
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(prefix: &'a [u8], file_len: u64, file: &'a str) -> Cursor<'a> {
        // A prefix cannot be longer than its file.
        let most = usize::try_from(file_len).unwrap_or(usize::MAX);
        Cursor {
            prefix: &prefix[..prefix.len().min(most)],
            file_len,
            file,
            position: 0,
        }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Where the next value begins, from the file's start.
    pub(super) fn position(&self) -> u64 {
        self.position as u64
    }

    pub(super) fn error(&self, fault: Fault) -> FormatError {
        FormatError::new(self.file, fault)
    }

    /// An error at the next value.
    pub(super) fn error_here(&self, fault: Fault) -> FormatError {
        self.error(fault).at(self.position())
    }

    /// The next `bytes` bytes, which are `what`.
    pub(super) fn take(&mut self, bytes: u64, what: &'static str) -> Result<&'a [u8], Stop> {
        let needed = self.position().saturating_add(bytes);
        if needed > self.file_len {
            let len = self.file_len;
            let fault = Fault::Truncated { what, needed, len };
            return Err(self.error_here(fault).into());
        }
        match usize::try_from(needed) {
            Ok(end) if end <= self.prefix.len() => {
                let taken = &self.prefix[self.position..end];
                self.position = end;
                Ok(taken)
            }
            _ => Err(Stop::NeedMore(needed)),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Stop> {
        let taken = self.take(N as u64, what)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A u64 number of things of which each takes at least `least` bytes of the rest of the file.
    pub(super) fn count(&mut self, what: &'static str, least: u64) -> Result<usize, Stop> {
        let at = self.position();
        let count = self.u64(what)?;
        self.fits(count, what, least, at)
    }

    /// `count`, if the rest of the file has room for so many things of at least `least` bytes.
    pub(super) fn fits(
        &self,
        count: u64,
        what: &'static str,
        least: u64,
        at: u64,
    ) -> Result<usize, Stop> {
        let room = self.file_len - self.position();
        match usize::try_from(count) {
            Ok(fits) if count <= room / least => Ok(fits),
            _ => Err(self.error(Fault::Count { what, count, room }).at(at).into()),
        }
    }

    /// Room for `count` values of type `T`, each of at least `least` bytes in the file: no more is
    /// reserved than what has been read could fill.
    pub(super) fn reserve<T>(&self, count: usize, least: u64) -> Vec<T> {
        let here = (self.prefix.len() - self.position) as u64 / least;
        Vec::with_capacity(usize::try_from(here).map_or(count, |here| here.min(count)))
    }

    /// A string: u64 length, UTF-8 bytes.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a str, Stop> {
        let bytes = self.u64(what)?;
        self.utf8(bytes, what)
    }

    /// A string that names something: not empty, and of bounded length.
    pub(super) fn name(&mut self, what: &'static str) -> Result<&'a str, Stop> {
        let at = self.position();
        let bytes = self.u64(what)?;
        let limit = NAME_LIMIT;
        if bytes == 0 {
            return Err(self.error(Fault::EmptyName(what)).at(at).into());
        }
        if bytes > limit {
            let fault = Fault::NameTooLong { what, bytes, limit };
            return Err(self.error(fault).at(at).into());
        }
        self.utf8(bytes, what)
    }

    fn utf8(&mut self, bytes: u64, what: &'static str) -> Result<&'a str, Stop> {
        let at = self.position();
        let taken = self.take(bytes, what)?;
        std::str::from_utf8(taken).map_err(|_| self.error(Fault::Utf8(what)).at(at).into())
    }
}
