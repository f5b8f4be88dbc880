//! Reading a header whose length is not known beforehand: a prefix of the file that grows until it holds it.

use super::error::{Fault, FormatError};
use crate::source::ByteSource;

/// What a parser makes of a prefix of a file.
#[derive(Debug)]
pub enum Parsed<T> {
    Done(T),
    /// The header goes on: the prefix must have at least this many bytes (never more than the file has).
    NeedMore(u64),
}

/// Why a parser stopped before the header's end; [`Parsed`] without its good case, for use with `?`.
#[derive(Debug)]
pub enum Stop {
    NeedMore(u64),
    Fault(Box<FormatError>),
}

impl From<FormatError> for Stop {
    fn from(error: FormatError) -> Stop {
        Stop::Fault(Box::new(error))
    }
}

impl Stop {
    /// Splits the outcome of a parse into what is an answer and what is an error.
    pub(crate) fn settle<T>(outcome: Result<T, Stop>) -> Result<Parsed<T>, FormatError> {
        match outcome {
            Ok(done) => Ok(Parsed::Done(done)),
            Err(Stop::NeedMore(bytes)) => Ok(Parsed::NeedMore(bytes)),
            Err(Stop::Fault(error)) => Err(*error),
        }
    }
}

/// The first read, and the factor by which the prefix grows at least: parsing it again each time then
/// costs a third of one parse more.
const FIRST_READ: u64 = 64 << 10;
const GROWTH: u64 = 4;

/// Reads a growing prefix of `source` until `parse` is done with it. Never holds more than `limit` bytes.
pub(crate) async fn read_header<T>(
    source: &dyn ByteSource,
    limit: u64,
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, FormatError>,
) -> Result<T, FormatError> {
    let most = source.len().min(limit);
    let mut prefix = Vec::new();
    let mut want = FIRST_READ.min(most);
    loop {
        let have = prefix.len();
        // `want` is at most `limit`, which every address space holds.
        prefix.resize(want as usize, 0);
        source
            .read_at(have as u64, &mut prefix[have..])
            .await
            .map_err(|error| FormatError::source(source.name(), error))?;
        match parse(&prefix)? {
            Parsed::Done(done) => return Ok(done),
            Parsed::NeedMore(bytes) if bytes > most => {
                let fault = Fault::HeaderTooLarge { bytes, limit };
                return Err(FormatError::new(source.name(), fault));
            }
            Parsed::NeedMore(bytes) => want = bytes.max(want.saturating_mul(GROWTH)).min(most),
        }
    }
}
