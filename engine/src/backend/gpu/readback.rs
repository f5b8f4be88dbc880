//! Bytes from the device: the one thing that waits.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::device::Opened;
use crate::backend::BackendError;

#[derive(Default)]
struct Mapped {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

/// Waits until `buffer`'s first `bytes` bytes can be read, and hands them to `take`.
///
/// Natively the device is driven from here, so that the caller needs no event loop.
pub(crate) async fn read<T>(
    opened: &Opened,
    buffer: &wgpu::Buffer,
    bytes: u64,
    take: impl FnOnce(&[u8]) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let slice = buffer.slice(..bytes);
    let mapped = Arc::new(Mutex::new(Mapped::default()));
    let to = mapped.clone();
    slice.map_async(wgpu::MapMode::Read, move |result| {
        let mut mapped = to.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.result = Some(result);
        if let Some(waker) = mapped.waker.take() {
            waker.wake();
        }
    });
    #[cfg(not(target_arch = "wasm32"))]
    if let Err(error) = opened.device.poll(wgpu::PollType::wait_indefinitely()) {
        opened.check()?;
        return Err(opened.faults.lost(&format!("waiting for it: {error}")));
    }
    let result = poll_fn(|context| {
        let mut mapped = mapped.lock().unwrap_or_else(PoisonError::into_inner);
        match mapped.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                mapped.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await;
    opened.check()?;
    // A buffer of ours that cannot be mapped, without an error told, is one of a device that is gone.
    result.map_err(|error| opened.faults.lost(&format!("reading back: {error}")))?;
    let view = slice
        .get_mapped_range()
        .map_err(|error| opened.faults.lost(&format!("reading back: {error}")))?;
    let taken = take(&view);
    drop(view);
    buffer.unmap();
    taken
}
