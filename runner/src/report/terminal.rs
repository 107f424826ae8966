//! The live report: ended steps scroll up, running steps keep a line that says what they do and wait for.

use std::time::Duration;

use super::{
    ReportError, Reporter, lines,
    live::Live,
    state::{RunState, StepState},
};
use crate::{
    event::{Event, Problem, StepOutcome},
    ids::StepId,
    text::{self, Mark, Style, Tone},
};

/// Columns of an elapsed time, with the spaces around it.
const TIME_WIDTH: usize = 10;

/// Lines that a waiting reason may fill; its end, where Kubernetes puts the cause, should be seen on 80 columns.
const REASON_LINES: usize = 3;

/// Redraws the lower end of a terminal.
pub(super) struct Terminal {
    style: Style,
    live: Live,
    state: RunState,
    /// Turns the spinner.
    ticks: usize,
    /// A blank line stands between the findings up front and what follows.
    after_findings: bool,
}

impl Terminal {
    pub(super) fn new(live: Live, style: Style) -> Self {
        Self { style, live, state: RunState::default(), ticks: 0, after_findings: false }
    }

    /// Prints above the live lines.
    fn print(&mut self, at: Duration, text: &str) {
        let lines = self.live_lines(at);
        self.live.draw(Some(text), &lines);
    }

    /// A line for each running step, with what it waits for below, and how far the run is.
    fn live_lines(&self, at: Duration) -> Vec<String> {
        if self.state.steps.is_empty() || self.state.ended {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for step in self.state.steps.iter().filter(|step| step.is_running()) {
            lines.push(format!("{}{}", self.live_head(at, step), self.doing(step)));
            let reason = step.running.iter().find_map(|run| run.reason.as_deref());
            for line in reason.into_iter().flat_map(|reason| self.reason_lines(reason).0) {
                lines.push(format!(
                    "{:indent$}{}",
                    "",
                    self.style.paint(Tone::Warn, line),
                    indent = self.indent()
                ));
            }
        }
        lines.push(self.footer(at));
        lines
    }

    /// Spinner, id and time of a running step, as wide as [`Self::head`].
    fn live_head(&self, at: Duration, step: &StepState) -> String {
        let frames: &[&str] = match self.style.unicode {
            true => &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
            false => &["|   ", "/   ", "-   ", "\\   "],
        };
        let frame = self.style.paint(Tone::Name, frames[self.ticks % frames.len()]);
        let time = running_time(at.saturating_sub(step.began));
        format!("{frame} {:<width$} {time:>7}  ", step.id, width = self.state.id_width())
    }

    /// What a running step does now.
    fn doing(&self, step: &StepState) -> String {
        let title = match step.running.as_slice() {
            [] if step.between_attempts => "waiting before the next attempt".to_owned(),
            [] if step.acted => "checking".to_owned(),
            [] => "planning".to_owned(),
            [only] => only.title.clone(),
            [first, others @ ..] => format!("{} (and {} more)", first.title, others.len()),
        };
        let line = self.style.cut(&title, self.room());
        if step.running.is_empty() { self.style.paint(Tone::Dim, line) } else { line }
    }

    /// A waiting reason in a few lines, and whether they hold all of it.
    fn reason_lines(&self, reason: &str) -> (Vec<String>, bool) {
        let room = Style { width: self.room(), ..self.style };
        let whole = room.hang("", &format!("waiting: {reason}"));
        let lines: Vec<&str> = whole.lines().collect();
        let (shown, rest) = lines.split_at(lines.len().min(REASON_LINES - 1));
        let mut shown: Vec<_> = shown.iter().map(|line| self.style.cut(line, room.width)).collect();
        let rest = rest.join(" ");
        let last = self.style.cut(&rest, room.width);
        let complete = last == rest;
        if !last.is_empty() {
            shown.push(last);
        }
        (shown, complete)
    }

    /// How far the run is, and what Ctrl-C does.
    fn footer(&self, at: Duration) -> String {
        let ended = self.state.steps.iter().filter(|step| step.outcome.is_some()).count();
        let keys = match self.state.interrupted {
            true => "stopping; Ctrl-C once more gives up the work in hand",
            false => "Ctrl-C stops after the work in hand",
        };
        let line = format!("{ended} of {} ended; {keys}", text::counted(self.state.steps.len(), "step"));
        let shown = self.style.paint(Tone::Dim, self.style.cut(&line, self.room()));
        format!("{:>width$}  {shown}", running_time(at), width = self.indent() - 2)
    }

    /// Where the text of a step's line begins.
    fn indent(&self) -> usize {
        let mark = if self.style.unicode { 1 } else { 4 };
        mark + 1 + self.state.id_width() + TIME_WIDTH
    }

    /// How wide the text of a live line may be; the last column stays free, or some terminals break the line.
    fn room(&self) -> usize {
        self.live.columns().saturating_sub(self.indent() + 1).max(10)
    }

    /// The head of an ended step's line: mark, id, time.
    fn head(&self, mark: Mark, step: &StepId, time: &str) -> String {
        let id = format!("{step:<width$}", width = self.state.id_width());
        format!("{} {} {time:>7}  ", self.style.mark(mark), self.style.paint(Tone::Name, id))
    }

    fn step_finished(&mut self, at: Duration, id: &StepId, outcome: &StepOutcome) {
        let Some(step) = self.state.steps.iter().find(|step| step.id == *id) else { return };
        let time = text::duration(step.elapsed);
        let style = &self.style;
        let mut text = match outcome {
            StepOutcome::Succeeded => {
                let mark = if lines::wants_a_look(step) { Mark::Warn } else { Mark::Good };
                style.hang(&self.head(mark, id, &time), &lines::accomplished(step))
            }
            StepOutcome::Failed { tolerated, .. } => {
                let so_far = lines::tally(&step.tally);
                let so_far = if so_far.is_empty() { so_far } else { format!(" after {so_far}") };
                let (mark, goes_on) = match tolerated {
                    true => (Mark::Warn, "; the run goes on (continue-on-error)"),
                    false => (Mark::Bad, ""),
                };
                style.hang(&self.head(mark, id, &time), &format!("failed{so_far}{goes_on}"))
            }
            StepOutcome::Skipped { reason } => {
                style.hang(&self.head(Mark::Skip, id, ""), &format!("skipped: {reason}"))
            }
            StepOutcome::Cancelled => style.hang(&self.head(Mark::Skip, id, &time), "stopped"),
        };
        if let StepOutcome::Failed { error, .. } = outcome {
            lines::add(&mut text, &lines::problem("    ", 4, error, style));
        }
        for error in &step.tolerated {
            let head = format!("    {} ", style.mark(Mark::Warn));
            lines::add(&mut text, &lines::problem(&head, console::measure_text_width(&head), error, style));
        }
        for told in lines::told_checks(step, style) {
            let head = format!("    {} ", style.mark(told.mark()));
            lines::add(&mut text, &told.text(&head, style));
        }
        self.print(at, &text);
    }

    fn retrying(&mut self, at: Duration, step: &StepId, what: &str, error: &Problem) {
        let mut text = self.style.hang(&self.head(Mark::Again, step, ""), what);
        lines::add(&mut text, &lines::problem("    ", 4, error, &self.style));
        self.print(at, &text);
    }
}

/// Whole seconds: a tenth of a second that runs is unrest, not information.
fn running_time(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        _ => text::duration(elapsed),
    }
}

impl Reporter for Terminal {
    fn event(&mut self, at: Duration, event: &Event) {
        self.state.take(at, event);
        if self.after_findings && !matches!(event, Event::Diagnosed { .. }) {
            self.after_findings = false;
            self.print(at, "");
        }
        match event {
            Event::RunStarted { .. } => {
                if let Some(header) = lines::header(event, &self.style) {
                    self.print(at, &format!("{header}\n"));
                }
            }
            Event::Diagnosed { step, diagnostic, place } => {
                if self.state.is_news(step.as_ref(), diagnostic) {
                    let name = step.as_ref().map(StepId::as_str);
                    let text = self.style.diagnostic(name, diagnostic, place.as_deref());
                    self.print(at, &text);
                    self.after_findings = !self.state.under_way();
                }
            }
            Event::ObjectDone { step, object, done, .. } => {
                if self.style.verbose {
                    let line = format!("{step}: {} {object}", lines::done_word(*done));
                    let text = self.style.hang("  ", &line);
                    self.print(at, &text);
                }
            }
            Event::StepRetrying { step, attempt, attempts, backoff, error } => {
                let next = text::duration(*backoff);
                let what = format!("attempt {attempt} of {attempts} failed, next in {next}");
                self.retrying(at, step, &what, error);
            }
            Event::StepFinished { step, outcome, .. } => self.step_finished(at, step, outcome),
            Event::Interrupted => {
                let text = self.style.hang("", lines::STOPPING);
                self.print(at, &text);
            }
            Event::RunFinished { outcome, elapsed, tally } => {
                let summary = lines::summary(&self.state, *outcome, *elapsed, tally, &self.style);
                self.print(at, &format!("\n{summary}"));
            }
            // Seen in the live lines with the next tick, or told when the step ends.
            Event::StepStarted { .. }
            | Event::ActionStarted { .. }
            | Event::Waiting { .. }
            | Event::ActionFinished { .. }
            | Event::ReleaseRecorded { .. }
            | Event::Checked { .. } => {}
        }
    }

    fn tick(&mut self, at: Duration) {
        self.ticks += 1;
        for (step, reason) in self.state.standing_reasons(at) {
            if !self.reason_lines(&reason).1 {
                let told = self.style.hang("  ", &format!("{step} is waiting: {reason}"));
                self.print(at, &told);
            }
        }
        let lines = self.live_lines(at);
        self.live.draw(None, &lines);
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.live.finish()
    }
}
