//! Results of older tools, from JSON.
//!
//! [`stream`] takes records out of a file one by one, [`fields`] reads one, and [`import`] hands them to the results in
//! batches. An attempt's id is made of its record's content and a batch's key of its attempts', so that importing the same
//! again adds nothing. What cannot be read is set aside with the reason.

mod fields;
mod python;
mod stream;

use std::io::BufRead;
use std::sync::mpsc;

use sha2::{Digest, Sha256};

use super::record::{Attempt, Record, Run, SetAside};
use super::{Results, ResultsError, objects};

pub use stream::Malformed;

/// Attempts of one batch where this process owns the results, and where another does.
const BATCH: usize = 50_000;
const BATCH_BY_WIRE: usize = 2_000;
/// Of a record that is set aside, so much is kept.
const KEPT: usize = 2_000;

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records in it.
    pub records: u64,
    /// Of them, those that were not in the results.
    pub new: u64,
    /// Of them, those that could not be read.
    pub set_aside: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Results(#[from] ResultsError),
}

/// Imports the records of `from`, called `source` in the results. `on` is told of how many there were so far.
///
/// # Errors
/// JSON that breaks off or is none (what came before it is kept), results that cannot be written.
pub fn import(
    results: &Results,
    source: &str,
    from: impl BufRead,
    on: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let count = || -> Result<u64, ResultsError> {
        let answer = results.query("SELECT count(*) AS n FROM attempts")?;
        Ok(objects(&answer)
            .first()
            .and_then(|row| row["n"].as_u64())
            .unwrap_or(0))
    };
    let before = count()?;
    let (full, to_write) = mpsc::sync_channel::<Record>(1);
    let mut batches = Batches {
        source,
        size: match results {
            Results::Own(_) => BATCH,
            Results::Other(_) => BATCH_BY_WIRE,
        },
        done: Imported::default(),
        waiting: Waiting::default(),
        full,
    };
    // One batch is written while the next is read.
    let (read, mut done) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            to_write
                .iter()
                .try_for_each(|record| results.append(&record))
        });
        let read = stream::records(from, &mut |position, record| {
            batches.take(position, record);
            let go_on = batches.waiting.len() < batches.size || batches.flush();
            if batches.waiting.len() == 0 {
                on(batches.done.records);
            }
            go_on
        });
        batches.flush();
        let done = std::mem::take(&mut batches.done);
        drop(batches);
        match writer.join() {
            Ok(written) => written.map(|()| (read, done)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    done.new = count()?.saturating_sub(before);
    read?;
    Ok(done)
}

#[derive(Default)]
struct Waiting {
    attempts: Vec<Attempt>,
    aside: Vec<SetAside>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.attempts.len() + self.aside.len()
    }
}

struct Batches<'a> {
    source: &'a str,
    size: usize,
    done: Imported,
    waiting: Waiting,
    full: mpsc::SyncSender<Record>,
}

impl Batches<'_> {
    fn take(&mut self, position: u64, record: Result<serde_json::Value, stream::Bad>) {
        self.done.records += 1;
        let read = match &record {
            Ok(value) => fields::attempt(value, self.source),
            Err(bad) => Err(bad.reason.clone()),
        };
        match read {
            Ok(attempt) => self.waiting.attempts.push(attempt),
            Err(reason) => {
                self.done.set_aside += 1;
                let mut text = match record {
                    Ok(value) => value.to_string(),
                    Err(bad) => bad.text,
                };
                if text.len() > KEPT {
                    text.truncate(text.floor_char_boundary(KEPT));
                    text.push('…');
                }
                self.waiting.aside.push(SetAside {
                    source: self.source.into(),
                    position,
                    reason,
                    record: text,
                });
            }
        }
    }

    /// Hands what waits to the writer; `false` where the writer has ended, of an error that it tells itself.
    fn flush(&mut self) -> bool {
        if self.waiting.len() == 0 {
            return true;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut hash = Sha256::new();
        hash.update(self.source);
        for attempt in &waiting.attempts {
            hash.update(&attempt.attempt);
        }
        for aside in &waiting.aside {
            hash.update(format!("{} {}", aside.position, aside.record));
        }
        let started = waiting.attempts.iter().map(|a| a.started_us).min();
        let run = Run {
            run: format!("import-{}", hex(&Sha256::digest(self.source), 8)),
            started_us: started.unwrap_or_default(),
            command: "import".into(),
            arguments: vec![self.source.into()],
            fewbit: env!("CARGO_PKG_VERSION").into(),
            // Whatever machine it was, it need not have been this one.
            ..Run::default()
        };
        let record = Record {
            batch: format!("import-{}", hex(&hash.finalize(), 16)),
            attempts: waiting.attempts,
            set_aside: waiting.aside,
            ..Record::new(&run)
        };
        self.full.send(record).is_ok()
    }
}

fn hex(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .map(|b| format!("{b:02x}"))
        .collect()
}
