//! Keeps the text of a panic, since wasm itself only says `unreachable`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use wasm_bindgen::prelude::*;

static LAST: Mutex<Option<String>> = Mutex::new(None);
static PANICKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        // A panic inside of this very lock must not become a second one.
        if let Ok(mut last) = LAST.try_lock() {
            last.get_or_insert(text);
        }
        PANICKED.store(true, Ordering::Release);
    }));
}

/// Whether any thread of the module has panicked.
#[cfg(target_feature = "atomics")]
pub(crate) fn has_panicked() -> bool {
    PANICKED.load(Ordering::Acquire)
}

/// Where and why the module panicked first; `undefined` if it did not.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> Option<String> {
    LAST.try_lock().ok().and_then(|text| text.clone())
}
