//! Reports: events come in, one after another; a live terminal, plain lines, JSON lines and JUnit go out.
//!
//! This is the only module besides `main` that prints.

mod findings;
mod github;
pub mod graph;
mod json;
mod junit;
mod lines;
mod live;
mod plain;
#[cfg(test)]
mod samples;
mod state;
mod surroundings;
mod terminal;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    event::{Event, Problem},
    text::{Style, Tone},
};

pub use findings::findings_text;
pub use surroundings::Surroundings;

/// How often reporters hear that time has passed.
const TICK: Duration = Duration::from_millis(100);

/// Tells somebody what happens.
pub trait Reporter: Send {
    /// Takes the next event in; `at` is the time since the start of the run.
    fn event(&mut self, at: Duration, event: &Event);

    /// Time has passed; called about ten times a second. What has not changed for a while may be worth a word.
    fn tick(&mut self, at: Duration) {
        let _ = at;
    }

    /// Ends the report.
    ///
    /// # Errors
    /// Something of the report could not be written. A run is never stopped for it, so it is said here, once.
    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(())
    }
}

/// Several reporters side by side.
pub struct Reporters(pub Vec<Box<dyn Reporter>>);

impl Reporter for Reporters {
    fn event(&mut self, at: Duration, event: &Event) {
        for reporter in &mut self.0 {
            reporter.event(at, event);
        }
    }

    fn tick(&mut self, at: Duration) {
        for reporter in &mut self.0 {
            reporter.tick(at);
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        // Every reporter is ended, whatever becomes of the others.
        let results: Vec<_> = self.0.iter_mut().map(|reporter| reporter.finish()).collect();
        results.into_iter().collect()
    }
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Standard output.
    #[error("write the report to standard output")]
    Output(#[source] io::Error),
    /// Standard input.
    #[error("read the answer from standard input")]
    Input(#[source] io::Error),
    /// The JUnit file.
    #[error("write the JUnit report `{}`", path.display())]
    Junit {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The form of the report on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Live on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// One line for each thing that matters.
    Plain,
    /// One JSON object a line, as `event.rs` describes them, with `time` in seconds since the start.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which reports to write, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Form of the report on standard output.
    pub format: Format,
    /// When to use colours.
    pub color: Color,
    /// Also tell every object.
    pub verbose: bool,
    /// File for a JUnit report beside it.
    pub junit: Option<PathBuf>,
    /// What standard output is.
    pub surroundings: Surroundings,
}

impl Options {
    /// How text on standard output looks: for plans and graphs too.
    pub fn style(&self) -> Style {
        let Surroundings { tty, no_color, unicode, width, .. } = self.surroundings;
        Style {
            color: match self.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => tty && !no_color,
            },
            unicode,
            width: if tty { width } else { usize::MAX },
            verbose: self.verbose,
        }
    }
}

/// Chooses the reporters.
///
/// # Errors
/// The JUnit file cannot be created; nothing has happened yet.
pub fn build(options: &Options) -> Result<Reporters, ReportError> {
    let Surroundings { tty, dumb, github, width, .. } = options.surroundings;
    let output = Output::new(Box::new(io::stdout()));
    let first: Box<dyn Reporter> = match options.format {
        Format::Json => Box::new(json::Json::new(output)),
        Format::Auto if tty && !dumb => {
            let size = Box::new(move || surroundings::size().unwrap_or((24, width)));
            Box::new(terminal::Terminal::new(live::Live::new(output, size), options.style()))
        }
        Format::Auto | Format::Plain => {
            let style = Style { width: usize::MAX, ..options.style() };
            Box::new(plain::Plain::new(output, style, github))
        }
    };
    let mut reporters = vec![first];
    if let Some(path) = &options.junit {
        reporters.push(Box::new(junit::Junit::create(path)?));
    }
    Ok(Reporters(reporters))
}

/// Reports events until their channel closes; times are counted from `started`.
///
/// # Errors
/// Something of the report could not be written.
pub async fn follow(
    mut events: UnboundedReceiver<Event>,
    reporter: &mut dyn Reporter,
    started: Instant,
) -> Result<(), ReportError> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => reporter.event(started.elapsed(), &event),
                None => return reporter.finish(),
            },
            _ = ticks.tick() => reporter.tick(started.elapsed()),
        }
    }
}

/// Prints a finished text, such as a plan, to standard output.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<(), ReportError> {
    let mut out = io::stdout().lock();
    let ended = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{ended}").and_then(|()| out.flush()).map_err(ReportError::Output)
}

/// Asks a question on standard output and returns the line that answers it, without the spaces around it.
///
/// # Errors
/// Standard output cannot be written, or standard input cannot be read.
pub fn ask(question: &str) -> Result<String, ReportError> {
    let mut out = io::stdout().lock();
    write!(out, "{question}").and_then(|()| out.flush()).map_err(ReportError::Output)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(ReportError::Input)?;
    Ok(answer.trim().to_owned())
}

/// Prints a line beside the report, to standard error.
pub fn print_note(note: &str) {
    // Nothing is left to be told to whoever closed standard error.
    let _ = writeln!(io::stderr(), "{note}");
}

/// Prints findings in a pipeline file, rendered with their places, to standard error.
pub fn print_findings(findings: &str, style: &Style) {
    // Nothing is left to be told to whoever closed standard error.
    let _ = writeln!(io::stderr(), "{}", findings_text(findings, style));
}

/// The one place that prints why meshrun ended without having done what was asked: `error: ...`, `hint: ...`.
pub fn print_error(problem: &Problem, style: &Style) {
    // Nothing is left to be told to whoever closed standard error.
    let _ = writeln!(io::stderr(), "{}", error_text(problem, style));
}

/// An error as [`print_error`] prints it.
pub fn error_text(problem: &Problem, style: &Style) -> String {
    let mut text = style.hang(&style.paint(Tone::Bad, "error: "), &problem.message);
    text.push_str(&style.hint(0, problem.hint.as_deref()));
    text
}

/// Where lines go; remembers the first failure instead of stopping the run.
struct Output {
    writer: Box<dyn Write + Send>,
    failed: Option<io::Error>,
}

impl Output {
    fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { writer, failed: None }
    }

    fn line(&mut self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    fn write(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush()).err();
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.failed.take().map_or(Ok(()), |error| Err(ReportError::Output(error)))
    }
}
