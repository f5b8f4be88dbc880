//! What the user sees while something runs: a spinner with the last line of output on a terminal,
//! a line at the start and at the end elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
        }
    }

    /// Starts a step. It ends by [`Step::done`]; dropped without, it failed.
    pub(crate) fn step(&self, what: impl Into<String>) -> Step<'_> {
        let what = what.into();
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}")
                .expect("the template is constant"),
        );
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        if bar.is_hidden() {
            eprintln!("… {what}");
        }
        Step {
            progress: self,
            bar,
            what,
            started: Instant::now(),
            ended: false,
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        self.bars.suspend(|| eprintln!("{line}"));
    }
}

pub(crate) struct Step<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    what: String,
    started: Instant,
    ended: bool,
}

impl Step<'_> {
    /// Shows what is being done within the step.
    pub(crate) fn now(&self, message: &str) {
        self.bar.set_message(message.trim().to_owned());
    }

    pub(crate) fn done(self) {
        self.done_with("");
    }

    pub(crate) fn done_with(self, note: &str) {
        let seconds = self.started.elapsed().as_secs_f32();
        let note = if note.is_empty() {
            String::new()
        } else {
            format!(": {note}")
        };
        let line = format!("✓ {}{note} ({seconds:.1} s)", self.what);
        self.end(&line);
    }

    fn end(mut self, line: &str) {
        self.ended = true;
        self.bar.finish_and_clear();
        self.progress.say(line);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.bar.finish_and_clear();
            self.progress.say(format!(
                "✗ {} ({:.1} s)",
                self.what,
                self.started.elapsed().as_secs_f32()
            ));
        }
    }
}
