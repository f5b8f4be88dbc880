//! Rotary tables for a run that reaches beyond the context: a prefill's last run is filled up with tokens that nobody asks
//! for, and their positions have to be in the tables too.

use std::rc::Rc;

use fewbit_engine::model::MAX_CHUNK;
use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};

use crate::import::context::{Context, Made, Value};
use crate::import::error::wrong;
use crate::import::model::Stored;

impl Context {
    /// A table `[positions, width]` with zeros for as many positions as a run has at most; what is computed in a run stays as
    /// it is. Remembers how many positions there are at least.
    pub(crate) fn longer_table(&mut self, table: Value) -> Made {
        if let Some(&longer) = self.longer.get(&table.id) {
            return Ok(longer);
        }
        let sizes = self.of_rank::<2>(table)?;
        let [Some(rows), Some(width)] = sizes.clone().map(|size| size.fixed()) else {
            return wrong(format!("rotary tables of {sizes:?}"));
        };
        let (mut longer, mut all) = (table, rows);
        if let Some(stored) = self.stored(table)
            && let Some(more) = stored.element.byte_len(&[MAX_CHUNK, width])
            && let Some(sum) = rows.checked_add(MAX_CHUNK)
        {
            let source = Longer {
                zeros: more as u64,
                inner: stored.clone(),
            };
            let name = format!("longer:{}", self.longer.len());
            let stored = Stored {
                element: stored.element,
                shape: vec![sum, width],
                offset: 0,
                bytes: source.len(),
                source: Rc::new(source),
            };
            longer = self.weight(&name, stored, table.data_type)?;
            all = sum;
        }
        self.positions = Some(self.positions.map_or(all, |known| known.min(all)));
        self.longer.insert(table.id, longer);
        Ok(longer)
    }
}

/// A range of a file and zeros after it.
struct Longer {
    inner: Stored,
    zeros: u64,
}

impl ByteSource for Longer {
    fn name(&self) -> &str {
        self.inner.source.name()
    }

    fn len(&self) -> u64 {
        self.inner.bytes.saturating_add(self.zeros)
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.end_of(offset, buffer.len())?;
            let own = self
                .inner
                .bytes
                .saturating_sub(offset)
                .min(buffer.len() as u64);
            let (own, zeros) = buffer.split_at_mut(own as usize);
            zeros.fill(0);
            if own.is_empty() {
                return Ok(());
            }
            self.inner
                .source
                .read_at(self.inner.offset + offset, own)
                .await
        })
    }
}
