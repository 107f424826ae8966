//! The reasons of waits that run side by side, told as one text whenever it changes.

use std::sync::{Mutex, PoisonError};

use super::WaitSink;

/// One place per condition.
pub(super) struct Board<'a> {
    sink: &'a dyn WaitSink,
    state: Mutex<State>,
}

struct State {
    reasons: Vec<Option<String>>,
    told: String,
}

/// The place of one condition.
pub(super) struct Slot<'a> {
    board: &'a Board<'a>,
    index: usize,
}

impl<'a> Board<'a> {
    pub(super) fn new(conditions: usize, sink: &'a dyn WaitSink) -> Self {
        Self { sink, state: Mutex::new(State { reasons: vec![None; conditions], told: String::new() }) }
    }

    pub(super) fn slot(&'a self, index: usize) -> Slot<'a> {
        Slot { board: self, index }
    }

    fn set(&self, index: usize, reason: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.reasons.get_mut(index) {
            *place = reason;
        }
        let open: Vec<&String> = state.reasons.iter().flatten().collect();
        let text = match open.as_slice() {
            [] => return,
            [only] => (*only).clone(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
        };
        if text != state.told {
            self.sink.waiting(&text);
            state.told = text;
        }
    }
}

impl Slot<'_> {
    /// Says why the condition does not hold yet.
    pub(super) fn waiting(&self, reason: impl Into<String>) {
        self.board.set(self.index, Some(reason.into()));
    }

    /// Says that the condition holds.
    pub(super) fn done(&self) {
        self.board.set(self.index, None);
    }
}
