//! Progress on standard error: bars on a terminal, plain lines elsewhere, nothing on standard output.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::{PullEvent, StoreError};

/// Shows the events of one pull.
pub(crate) struct PullProgress {
    name: String,
    bar: RefCell<Option<(String, ProgressBar)>>,
}

impl PullProgress {
    pub(crate) fn new(name: &str) -> PullProgress {
        PullProgress {
            name: name.to_string(),
            bar: RefCell::new(None),
        }
    }

    /// To be handed to [`crate::store::Store::pull`].
    pub(crate) fn on(&self, event: PullEvent) -> Result<(), StoreError> {
        match event {
            PullEvent::Waiting => self.spin("waiting for another pull", "another fewbit pulls it"),
            PullEvent::Source { source } => self.line(&format!("{}: {source}", self.name)),
            PullEvent::Failed { why, .. } => self.line(&format!("  {why}")),
            PullEvent::Bytes { file, done, of } => {
                self.with_bar(file, || byte_bar(file, of), |bar| bar.set_position(done));
            }
            PullEvent::Client { what, bytes } => self.with_bar(
                what,
                || spinner(what),
                |bar| {
                    bar.set_message(format!("{what}  {}", indicatif::HumanBytes(bytes)));
                    bar.tick();
                },
            ),
            PullEvent::File { file } => {
                self.finish();
                self.line(&format!("  {file}: sha256 holds"));
            }
        }
        Ok(())
    }

    fn spin(&self, key: &str, message: &str) {
        self.with_bar(key, || spinner(message), ProgressBar::tick);
    }

    fn with_bar(&self, key: &str, new: impl Fn() -> ProgressBar, then: impl Fn(&ProgressBar)) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        if !matches!(&*self.bar.borrow(), Some((k, _)) if k == key) {
            self.finish();
            *self.bar.borrow_mut() = Some((key.to_string(), new()));
        }
        if let Some((_, bar)) = &*self.bar.borrow() {
            then(bar);
        }
    }

    fn line(&self, text: &str) {
        self.finish();
        eprintln!("{text}");
    }

    fn finish(&self) {
        if let Some((_, bar)) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for PullProgress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn byte_bar(message: &str, of: u64) -> ProgressBar {
    let bar = ProgressBar::new(of).with_message(message.to_string());
    let template = "  {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message.to_string());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Shows how far something is that goes through files: its name, and the bytes where they are known.
#[cfg(feature = "native")]
pub(crate) struct LookProgress {
    bar: RefCell<Option<(String, ProgressBar)>>,
}

#[cfg(feature = "native")]
impl LookProgress {
    pub(crate) fn new() -> LookProgress {
        LookProgress {
            bar: RefCell::new(None),
        }
    }

    pub(crate) fn on(&self, what: &str, done: u64, of: u64) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        let key = format!("{what} {of}");
        if !matches!(&*bar, Some((known, _)) if *known == key) {
            if let Some((_, old)) = bar.take() {
                old.finish_and_clear();
            }
            let new = if of == 0 {
                spinner(what)
            } else {
                byte_bar(what, of)
            };
            *bar = Some((key, new));
        }
        if let Some((_, bar)) = &*bar {
            bar.set_position(done);
        }
    }
}

#[cfg(feature = "native")]
impl Drop for LookProgress {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
