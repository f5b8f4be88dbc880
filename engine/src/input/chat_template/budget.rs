//! How much memory a template may take while it runs.
//!
//! Strings that it makes are counted when they are made, whether or not they are kept, and what could grow out of small
//! arguments (`~`, `*`, `join`, `replace`, …) is counted before. Values are trees of limited size and depth, so that writing one out ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Bytes of strings and lists that a template may make in all.
pub(super) const MAX_MADE_BYTES: usize = 32 << 20;
/// Values below one value; written out it is a tree, even where parts of it are the same.
const MAX_NODES: usize = 1 << 20;
/// Values looked at while sizes are measured, in all.
const MAX_STEPS: usize = 20_000_000;
/// Lists in lists.
const MAX_DEPTH: usize = 64;
/// Of a value in a list.
const NODE_BYTES: usize = 24;

/// What is left of one rendering's budget.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    made: Arc<AtomicUsize>,
    steps: Arc<AtomicUsize>,
}

/// A value's size when written out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    nodes: usize,
    pub(super) bytes: usize,
}

/// Marks an error as caused by too much memory.
#[derive(Debug)]
pub(super) struct TooMuch(pub(super) &'static str);

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for TooMuch {}

fn too_much(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what).with_source(TooMuch(what))
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget {
            made: Arc::new(AtomicUsize::new(MAX_MADE_BYTES)),
            steps: Arc::new(AtomicUsize::new(MAX_STEPS)),
        }
    }

    /// Counts `bytes` that are about to be made.
    pub(super) fn make(&self, bytes: usize) -> Result<(), Error> {
        let take = |left: usize| left.checked_sub(bytes);
        self.made
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map(|_| ())
            .map_err(|_| too_much("strings and lists"))
    }

    /// Counts a value that was just made. What a list holds was counted when that was made, but for the strings right
    /// in it: an operation such as `split` made them along with it.
    pub(super) fn made(&self, value: &Value) -> Result<(), Error> {
        if let Some(text) = value.as_str() {
            return self.make(text.len());
        }
        if !is_container(value) {
            return Ok(());
        }
        self.size(value)?;
        let mut bytes = 0usize;
        if value.kind() != ValueKind::Map {
            for item in value.try_iter()? {
                bytes += NODE_BYTES + item.as_str().map_or(0, str::len);
            }
        }
        self.make(bytes)
    }

    /// The size of `value` written out.
    ///
    /// # Errors
    /// It is too large or too deep.
    pub(super) fn size(&self, value: &Value) -> Result<Size, Error> {
        let mut size = Size::default();
        self.visit(value, 0, &mut size)?;
        Ok(size)
    }

    /// As [`Budget::size`], of several.
    pub(super) fn sizes(&self, values: &[Value]) -> Result<Size, Error> {
        let mut size = Size::default();
        for value in values {
            self.visit(value, 0, &mut size)?;
        }
        Ok(size)
    }

    fn visit(&self, value: &Value, depth: usize, size: &mut Size) -> Result<(), Error> {
        let step = |left: usize| left.checked_sub(1);
        self.steps
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .map_err(|_| too_much("values that hold values"))?;
        size.nodes += 1;
        // A number or a word, and what stands around it.
        size.bytes += value.as_str().map_or(NODE_BYTES, |text| text.len() + 4);
        if size.nodes > MAX_NODES || size.bytes > MAX_MADE_BYTES {
            return Err(too_much("a value"));
        }
        if !is_container(value) {
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            return Err(too_much("values in values"));
        }
        let is_map = value.kind() == ValueKind::Map;
        for item in value.try_iter()? {
            self.visit(&item, depth + 1, size)?;
            if is_map {
                self.visit(&value.get_item(&item)?, depth + 1, size)?;
            }
        }
        Ok(())
    }

    /// What goes into a namespace: never a namespace, as that would hold itself.
    pub(super) fn keep(&self, value: &Value) -> Result<(), Error> {
        if !is_container(value) {
            return Ok(());
        }
        self.size(value)?;
        if holds_namespace(value)? {
            let reason = "a namespace cannot hold a namespace";
            return Err(Error::new(ErrorKind::InvalidOperation, reason));
        }
        Ok(())
    }
}

fn is_container(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
    )
}

/// Of a value whose size was found to be limited.
fn holds_namespace(value: &Value) -> Result<bool, Error> {
    if let Some(object) = value.as_object()
        && object.type_name().ends_with("::Namespace")
    {
        return Ok(true);
    }
    if !is_container(value) {
        return Ok(false);
    }
    let is_map = value.kind() == ValueKind::Map;
    for item in value.try_iter()? {
        if holds_namespace(&item)? || is_map && holds_namespace(&value.get_item(&item)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}
