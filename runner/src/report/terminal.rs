//! The live report: ended steps scroll up, running steps keep a line that says what they do and wait for.

use std::{collections::HashMap, io, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{ReportError, Reporter, lines, state::RunState};
use crate::{
    event::{Event, Problem, StepOutcome},
    ids::StepId,
    text::{self, Mark, Style, Tone},
};

/// Columns of an elapsed time, with the spaces around it.
const TIME_WIDTH: usize = 10;

/// Redraws the lower end of a terminal.
pub(super) struct Terminal {
    style: Style,
    multi: MultiProgress,
    /// One for each running step.
    live: HashMap<StepId, ProgressBar>,
    /// How far the run is.
    footer: Option<ProgressBar>,
    state: RunState,
    /// A blank line stands between the findings up front and what follows.
    after_findings: bool,
    failed: Option<io::Error>,
}

impl Terminal {
    pub(super) fn new(style: Style) -> Self {
        Self::on(ProgressDrawTarget::stdout(), style)
    }

    pub(super) fn on(target: ProgressDrawTarget, style: Style) -> Self {
        Self {
            style,
            multi: MultiProgress::with_draw_target(target),
            live: HashMap::new(),
            footer: None,
            state: RunState::default(),
            after_findings: false,
            failed: None,
        }
    }

    /// Prints above the live lines.
    fn print(&mut self, text: &str) {
        let result = self.multi.println(text);
        if self.failed.is_none() {
            self.failed = result.err();
        }
    }

    /// Starts a live line; they stand in the order in which the steps began, above the footer.
    fn begin(&mut self, step: &StepId) {
        let Some(footer) = &self.footer else { return };
        let bar = self.multi.insert_before(footer, ProgressBar::new_spinner());
        let width = self.state.id_width();
        let template = format!("{{spinner}} {{prefix:{width}}} {{time:>7}}  {{msg}}");
        bar.set_style(self.bar_style(&template));
        bar.set_prefix(step.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.live.insert(step.clone(), bar);
    }

    fn bar_style(&self, template: &str) -> ProgressStyle {
        let frames: &[&str] = match self.style.unicode {
            true => &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "],
            false => &["|   ", "/   ", "-   ", "\\   ", "    "],
        };
        let frames: Vec<_> = frames.iter().map(|frame| self.style.paint(Tone::Name, frame)).collect();
        ProgressStyle::with_template(template)
            .expect("the template is a constant but for a number")
            .tick_strings(&frames.iter().map(String::as_str).collect::<Vec<_>>())
            .with_key("time", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // A tenth of a second that runs is unrest, not information.
                let seconds = Duration::from_secs(state.elapsed().as_secs());
                let shown = match seconds.as_secs() {
                    0..60 => format!("{}s", seconds.as_secs()),
                    _ => text::duration(seconds),
                };
                let _ = out.write_str(&shown);
            })
    }

    /// Says what a step does now and what it waits for.
    fn update(&mut self, step: &StepId) {
        let Some(bar) = self.live.get(step) else { return };
        let state = self.state.step(step);
        let Some(first) = state.running.first() else {
            let doing = if state.acted { "checking" } else { "planning" };
            bar.set_message(self.style.paint(Tone::Dim, doing));
            return;
        };
        let others = match state.running.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let title = format!("{}{others}", first.title);
        let reason = state.running.iter().find_map(|run| run.reason.clone());
        let mut message = self.style.cut(&title, self.room());
        for line in reason.into_iter().flat_map(|reason| self.reason_lines(&reason).0) {
            let indent = self.indent();
            message.push_str(&format!("\n{:indent$}{}", "", self.style.paint(Tone::Warn, line)));
        }
        bar.set_message(message);
    }

    /// A waiting reason in at most two lines, and whether they hold all of it.
    fn reason_lines(&self, reason: &str) -> (Vec<String>, bool) {
        let room = Style { width: self.room(), ..self.style };
        let whole = room.hang("", &format!("waiting: {reason}"));
        match whole.split_once('\n') {
            None => (vec![self.style.cut(&whole, room.width)], true),
            Some((first, rest)) => {
                let rest = rest.replace('\n', " ");
                let second = self.style.cut(&rest, room.width);
                let complete = second == rest;
                (vec![self.style.cut(first, room.width), second], complete)
            }
        }
    }

    fn update_footer(&self) {
        if let Some(footer) = &self.footer {
            let ended = self.state.steps.iter().filter(|step| step.outcome.is_some()).count();
            let keys = match self.state.interrupted {
                true => "stopping; Ctrl-C once more gives up the work in hand",
                false => "Ctrl-C stops after the work in hand",
            };
            let total = text::counted(self.state.steps.len(), "step");
            let line = format!("{ended} of {total} ended; {keys}");
            footer.set_message(self.style.paint(Tone::Dim, self.style.cut(&line, self.room())));
        }
    }

    /// Where the text of a step's line begins.
    fn indent(&self) -> usize {
        let mark = if self.style.unicode { 1 } else { 4 };
        mark + 1 + self.state.id_width() + TIME_WIDTH
    }

    /// How wide the text of a step's live line may be; the last column stays free, or some terminals wrap.
    fn room(&self) -> usize {
        self.style.width.saturating_sub(self.indent() + 1).max(10)
    }

    /// The head of a step's line: mark, id, time.
    fn head(&self, mark: Mark, step: &StepId, time: &str) -> String {
        let id = format!("{step:<width$}", width = self.state.id_width());
        format!("{} {} {time:>7}  ", self.style.mark(mark), self.style.paint(Tone::Name, id))
    }

    fn end(&mut self, step: &StepId) {
        if let Some(bar) = self.live.remove(step) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn step_finished(&mut self, id: &StepId, outcome: &StepOutcome) {
        self.end(id);
        let index = self.state.steps.iter().position(|step| step.id == *id).unwrap_or_default();
        let Some(step) = self.state.steps.get(index) else { return };
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
        self.print(&text);
    }

    fn retrying(
        &mut self,
        step: &StepId,
        (attempt, attempts): (u32, u32),
        backoff: Duration,
        error: &Problem,
    ) {
        let next = text::duration(backoff);
        let head = self.head(Mark::Again, step, "");
        let mut text =
            self.style.hang(&head, &format!("attempt {attempt} of {attempts} failed, next in {next}"));
        lines::add(&mut text, &lines::problem("    ", 4, error, &self.style));
        self.print(&text);
        if let Some(bar) = self.live.get(step) {
            bar.set_message(format!("waiting {next} before attempt {} of {attempts}", attempt + 1));
        }
    }
}

impl Reporter for Terminal {
    fn event(&mut self, at: Duration, event: &Event) {
        self.state.take(at, event);
        if self.after_findings && !matches!(event, Event::Diagnosed { .. }) {
            self.after_findings = false;
            self.print("");
        }
        match event {
            Event::RunStarted { .. } => {
                if let Some(header) = lines::header(event, &self.style) {
                    self.print(&header);
                }
                self.print("");
                let footer = self.multi.add(ProgressBar::new_spinner());
                let indent = self.indent() - TIME_WIDTH;
                footer.set_style(self.bar_style(&format!("{:indent$} {{time:>7}}  {{msg}}", "")));
                footer.enable_steady_tick(Duration::from_secs(1));
                self.footer = Some(footer);
            }
            Event::Diagnosed { step, diagnostic, place } => {
                if self.state.is_news(step.as_ref(), diagnostic) {
                    let name = step.as_ref().map(StepId::as_str);
                    let text = self.style.diagnostic(name, diagnostic, place.as_deref());
                    self.print(&text);
                    self.after_findings = !self.state.under_way();
                }
            }
            Event::StepStarted { step, .. } => {
                if !self.live.contains_key(step) {
                    self.begin(step);
                }
                self.update(step);
            }
            Event::ActionStarted { step, .. }
            | Event::Waiting { step, .. }
            | Event::ActionFinished { step, .. } => {
                self.update(step);
            }
            Event::ObjectDone { step, object, done, .. } => {
                if self.style.verbose {
                    let head =
                        format!("{:width$}", "", width = self.indent() - TIME_WIDTH - self.state.id_width());
                    let line =
                        self.style.hang(&head, &format!("{step}: {} {object}", lines::done_word(*done)));
                    self.print(&line);
                }
            }
            // Told in the line of the step.
            Event::ReleaseRecorded { .. } | Event::Checked { .. } => {}
            Event::StepRetrying { step, attempt, attempts, backoff, error } => {
                self.retrying(step, (*attempt, *attempts), *backoff, error);
            }
            Event::StepFinished { step, outcome, .. } => self.step_finished(step, outcome),
            Event::Interrupted => {
                let text = self.style.hang("", lines::STOPPING);
                self.print(&text);
            }
            Event::RunFinished { outcome, elapsed, tally } => {
                for (_, bar) in self.live.drain() {
                    bar.finish_and_clear();
                }
                if let Some(footer) = self.footer.take() {
                    footer.finish_and_clear();
                }
                let summary = lines::summary(&self.state, *outcome, *elapsed, tally, &self.style);
                self.print(&format!("\n{summary}"));
            }
        }
        self.update_footer();
    }

    fn tick(&mut self, at: Duration) {
        for (step, reason) in self.state.standing_reasons(at) {
            if !self.reason_lines(&reason).1 {
                let told = self.style.hang("  ", &format!("{step} is waiting: {reason}"));
                self.print(&told);
            }
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.failed.take().map_or(Ok(()), |error| Err(ReportError::Output(error)))
    }
}
