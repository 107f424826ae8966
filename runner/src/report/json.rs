//! JSON lines: every event as `event.rs` describes it, with `time` in seconds since the start.

use std::time::Duration;

use serde::Serialize;

use super::{Output, ReportError, Reporter};
use crate::event::Event;

/// Writes one JSON object a line.
pub(super) struct Json {
    output: Output,
}

impl Json {
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Reporter for Json {
    fn event(&mut self, at: Duration, event: &Event) {
        let time = (at.as_secs_f64() * 1000.0).round() / 1000.0;
        let line = serde_json::to_string(&Line { time, event }).expect("events have text keys only");
        self.output.line(&line);
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.output.finish()
    }
}
