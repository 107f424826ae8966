//! The plain report: one line for each thing that matters, for CI logs and files; nothing is ever redrawn.

use std::{collections::HashMap, time::Duration};

use meshrun_protocol::{CheckStatus, Severity};

use super::{
    Output, ReportError, Reporter,
    github::{self, Level},
    lines,
    state::RunState,
};
use crate::{
    event::{ActionOutcome, Done, Event, Problem, StepOutcome},
    ids::StepId,
    text::{self, Style, Tone},
};

/// Writes plain lines.
pub(super) struct Plain {
    output: Output,
    style: Style,
    github: bool,
    state: RunState,
    /// Object lines that are folded when their step ends.
    folded: HashMap<StepId, Vec<String>>,
}

impl Plain {
    pub(super) fn new(output: Output, style: Style, github: bool) -> Self {
        Self { output, style, github, state: RunState::default(), folded: HashMap::new() }
    }

    fn step(&mut self, at: Duration, step: &StepId, text: &str) {
        let head = format!("{} {}: ", self.clock(at), self.style.paint(Tone::Name, step));
        self.output.line(&self.style.hang(&head, text));
    }

    fn step_problem(&mut self, at: Duration, step: &StepId, what: &str, problem: &Problem) {
        let head = format!("{} {}: {what}: ", self.clock(at), self.style.paint(Tone::Name, step));
        self.output.line(&lines::problem(&head, 9, problem, &self.style));
    }

    fn checks(&mut self, at: Duration, step: &StepId) {
        let head = format!("{} {}: ", self.clock(at), self.style.paint(Tone::Name, step));
        for told in lines::told_checks(self.state.step(step), &self.style) {
            self.output.line(&told.line(&head, 9, &self.style));
        }
    }

    fn clock(&self, at: Duration) -> String {
        self.style.paint(Tone::Dim, format!("{:>8}", text::duration(at)))
    }

    fn annotate(
        &mut self,
        level: Level,
        place: Option<&str>,
        title: &str,
        message: &str,
        hint: Option<&str>,
    ) {
        if self.github {
            self.output.line(&github::annotation(level, place, title, message, hint));
        }
    }

    fn step_finished(&mut self, at: Duration, step: &StepId, outcome: &StepOutcome, elapsed: Duration) {
        if let Some(objects) = self.folded.remove(step) {
            let title = format!("{step}: {}", text::counted(objects.len(), "object"));
            self.output.line(&github::group(&title, &objects));
        }
        self.checks(at, step);
        let time = text::duration(elapsed);
        match outcome {
            StepOutcome::Succeeded => {
                let done = lines::accomplished(self.state.step(step));
                self.step(at, step, &format!("done in {time}: {done}"));
            }
            StepOutcome::Failed { error, tolerated } => {
                let what = match tolerated {
                    true => format!("failed after {time}, the run goes on"),
                    false => format!("failed after {time}"),
                };
                self.step_problem(at, step, &what, error);
                let level = if *tolerated { Level::Warning } else { Level::Error };
                let title = format!("step {step} failed");
                self.annotate(level, None, &title, &error.message, error.hint.as_deref());
            }
            StepOutcome::Skipped { reason } => self.step(at, step, &format!("skipped: {reason}")),
            StepOutcome::Cancelled => self.step(at, step, &format!("stopped after {time}")),
        }
    }

    /// Repeats what failed: the end of a log is what is read first.
    fn repeat_failures(&mut self) {
        for step in &self.state.steps {
            if let Some(StepOutcome::Failed { error, tolerated: false }) = &step.outcome {
                let head = format!("  {}: ", self.style.paint(Tone::Name, &step.id));
                self.output.line(&lines::problem(&head, 4, error, &self.style));
            }
        }
    }
}

impl Reporter for Plain {
    fn event(&mut self, at: Duration, event: &Event) {
        self.state.take(at, event);
        match event {
            Event::RunStarted { .. } => {
                if let Some(header) = lines::header(event, &self.style) {
                    self.output.line(&header);
                }
            }
            Event::Diagnosed { step, diagnostic, place } => {
                if !self.state.is_news(step.as_ref(), diagnostic) {
                    return;
                }
                let place = place.as_deref();
                let name = step.as_ref().map(StepId::as_str);
                self.output.line(&self.style.diagnostic(name, diagnostic, place));
                let level = match diagnostic.severity {
                    Severity::Error => Level::Error,
                    Severity::Warning => Level::Warning,
                    Severity::Hint => return,
                };
                let title = name.unwrap_or("pipeline");
                self.annotate(level, place, title, &diagnostic.message, diagnostic.hint.as_deref());
            }
            Event::StepStarted { step, attempt } => {
                if *attempt > 1 {
                    self.step(at, step, &format!("attempt {attempt}"));
                }
            }
            Event::ActionStarted { step, title, .. } => self.step(at, step, title),
            Event::ObjectDone { step, object, done, .. } => {
                let line = format!("{} {object}", lines::done_word(*done));
                if self.github && (self.style.verbose || *done != Done::Unchanged) {
                    self.folded.entry(step.clone()).or_default().push(line);
                } else if self.style.verbose {
                    self.step(at, step, &line);
                }
            }
            Event::ActionFinished { step, outcome: ActionOutcome::Tolerated { error }, .. } => {
                self.step_problem(at, step, "failed, but is optional", error);
                self.annotate(Level::Warning, None, step.as_str(), &error.message, error.hint.as_deref());
            }
            // Told when it has stood for a while, or when the step ends, with what follows from it.
            Event::Waiting { .. } | Event::ActionFinished { .. } | Event::ReleaseRecorded { .. } => {}
            Event::Checked { step, check } => {
                let level = match check.status {
                    CheckStatus::Passed | CheckStatus::Skipped => return,
                    CheckStatus::Warning => Level::Warning,
                    CheckStatus::Failed => Level::Error,
                };
                let title = format!("{step}: {}", check.title);
                self.annotate(level, None, &title, &check.evidence, check.hint.as_deref());
            }
            Event::StepRetrying { step, attempt, attempts, backoff, error } => {
                let next = text::duration(*backoff);
                self.step_problem(
                    at,
                    step,
                    &format!("attempt {attempt} of {attempts} failed, next in {next}"),
                    error,
                );
            }
            Event::StepFinished { step, outcome, elapsed, .. } => {
                self.step_finished(at, step, outcome, *elapsed)
            }
            Event::Interrupted => self.output.line(lines::STOPPING),
            Event::RunFinished { outcome, elapsed, tally } => {
                self.output.line(&lines::summary(&self.state, *outcome, *elapsed, tally, &self.style));
                self.repeat_failures();
            }
        }
    }

    fn tick(&mut self, at: Duration) {
        for (step, reason) in self.state.standing_reasons(at) {
            self.step(at, &step, &format!("waiting: {reason}"));
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.output.finish()
    }
}
