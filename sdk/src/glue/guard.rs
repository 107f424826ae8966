//! Turns a panic of a plugin into a [`Failure`] that says where it was.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo},
};

use meshrun_protocol::Failure;

use crate::Error;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics under [`catch`] leave their message and place behind, instead of printing them.
///
/// A plugin library has a standard library of its own, so that the host's hook stays what it is.
pub(super) fn install() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let guarded = GUARDED.get();
        if guarded {
            LAST.replace(Some(text(panic)));
        }
        // Nobody will read `LAST` of another thread or of a process that ends here.
        if !guarded || cfg!(panic = "abort") || std::env::var_os("RUST_BACKTRACE").is_some() {
            previous(panic);
        }
    }));
}

/// Runs `body`; its panic becomes a failure of code `panicked`.
pub(super) fn catch<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    GUARDED.set(true);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(false);
    outcome.unwrap_or_else(|payload| {
        // Its destructor is the plugin's code and may panic in turn.
        std::mem::forget(payload);
        let message = LAST.take().unwrap_or_else(|| "no message".into());
        Err(Failure { code: "panicked".into(), ..Error::new(message).0 })
    })
}

fn text(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => format!("{message} at {}:{}", place.file(), place.line()),
        None => message.to_owned(),
    }
}
