//! Keeps the text of a panic, since wasm itself only says `unreachable`.

use std::cell::RefCell;

use wasm_bindgen::prelude::*;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        LAST.with(|last| {
            // A panic inside of this very borrow must not become a second one.
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = Some(text);
            }
        });
    }));
}

/// Where and why the module panicked; `undefined` if it did not.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> Option<String> {
    LAST.with(|last| last.try_borrow().ok().and_then(|text| text.clone()))
}
