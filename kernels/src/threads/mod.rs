//! How CPU kernels spread their work: the [`Parallel`] trait, the serial form and the native pool.
//!
//! A kernel cuts its output into tasks that write disjoint parts and hands them to
//! [`Parallel::run`], which returns when all are done. Kernels never nest `run` inside a task.

#[cfg(not(target_arch = "wasm32"))]
mod pool;

#[cfg(not(target_arch = "wasm32"))]
pub use pool::ThreadPool;

/// Something that runs numbered tasks, possibly at the same time.
pub trait Parallel {
    /// How many tasks can run at the same time; at least 1.
    fn threads(&self) -> usize;

    /// Calls `task(i)` once for each `i` below `tasks`, in any order, on any thread, and returns
    /// when all calls have returned.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// One task after another on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in 0..tasks {
            task(i);
        }
    }
}

/// Cuts `0..items` into at most `parts` ranges of nearly equal length and returns the `part`-th.
pub(crate) fn share(items: usize, parts: usize, part: usize) -> std::ops::Range<usize> {
    let (each, more) = (items / parts, items % parts);
    let start = part * each + part.min(more);
    start..start + each + usize::from(part < more)
}

/// Runs `work` on ranges that together cover `0..items`, one range a thread.
pub(crate) fn split(
    parallel: &dyn Parallel,
    items: usize,
    work: &(dyn Fn(std::ops::Range<usize>) + Sync),
) {
    let parts = parallel.threads().min(items);
    match parts {
        0 => {}
        1 => work(0..items),
        _ => parallel.run(parts, &|part| work(share(items, parts, part))),
    }
}

/// A pointer that tasks share, each writing its own part of what it points to.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// Sound because whoever makes one promises that tasks touch disjoint parts (see `Shared::new`).
unsafe impl<T: Send> Sync for Shared<T> {}
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// `slice` stays borrowed by the caller for the whole `run`; tasks must write disjoint elements.
    pub(crate) fn new(slice: &mut [T]) -> Shared<T> {
        Shared(slice.as_mut_ptr())
    }

    pub(crate) fn at(self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_items_once() {
        for items in 0..40 {
            for parts in 1..9 {
                let mut next = 0;
                for part in 0..parts {
                    let range = share(items, parts, part);
                    assert_eq!(range.start, next);
                    assert!(range.len().abs_diff(items / parts) <= 1);
                    next = range.end;
                }
                assert_eq!(next, items);
            }
        }
    }
}
