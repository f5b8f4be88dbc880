//! Memory that a kernel needs for the time of one call, kept by each thread for the next call.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::ptr::NonNull;

/// Cache-line aligned, zero-initialised bytes.
pub(crate) struct Aligned {
    data: NonNull<u8>,
    len: usize,
}

const LINE: usize = 64;

// It owns its bytes like a `Vec<u8>`.
unsafe impl Send for Aligned {}
unsafe impl Sync for Aligned {}

impl Aligned {
    /// `None` if memory does not suffice.
    pub(crate) fn new(len: usize) -> Option<Aligned> {
        let data = if len == 0 {
            NonNull::<u64>::dangling().cast()
        } else {
            let layout = Layout::from_size_align(len, LINE).ok()?;
            // The layout's size is not zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })?
        };
        Some(Aligned { data, len })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // `data` owns `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.as_mut_slice()[..])
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if self.len != 0 {
            // The layout is the one it was allocated with.
            unsafe {
                dealloc(
                    self.data.as_ptr(),
                    Layout::from_size_align_unchecked(self.len, LINE),
                );
            }
        }
    }
}

thread_local! {
    static SPARE: Cell<[Option<Aligned>; 4]> = const { Cell::new([const { None }; 4]) };
}

/// Calls `work` with at least `len` floats of this thread's scratch memory, whose content is
/// whatever the last user left. Calls may nest.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut spare = SPARE.take();
    let kept = spare.iter_mut().find_map(Option::take);
    SPARE.set(spare);
    let mut buffer = match kept {
        Some(buffer) if buffer.len >= len * 4 => buffer,
        // Rounded up so that slowly growing contexts do not allocate at every step.
        _ => Aligned::new((len * 4).next_power_of_two().max(4096))
            .expect("memory for a kernel's scratch space"),
    };
    let result = work(&mut buffer.floats_mut()[..len]);
    let mut spare = SPARE.take();
    if let Some(free) = spare.iter_mut().find(|slot| slot.is_none()) {
        *free = Some(buffer);
    }
    SPARE.set(spare);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_scratch_does_not_overlap() {
        with_scratch(100, |a| {
            a.fill(1.0);
            with_scratch(5000, |b| b.fill(2.0));
            assert!(a.iter().all(|&x| x == 1.0));
        });
        with_scratch(10, |a| assert_eq!(a.len(), 10));
    }

    #[test]
    fn aligned_bytes_start_at_a_line_and_hold_zeros() {
        for len in [0, 1, 64, 1000] {
            let bytes = Aligned::new(len).unwrap();
            assert_eq!(bytes.as_slice(), vec![0; len]);
            assert!(len == 0 || (bytes.as_slice().as_ptr() as usize).is_multiple_of(LINE));
        }
    }
}
