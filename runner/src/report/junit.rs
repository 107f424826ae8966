//! JUnit XML, written when the run ends: a test suite for each step, a test case for each action and check.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use meshrun_protocol::{Check, CheckStatus, Diagnostic, Severity};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event as Xml},
};

use super::{ReportError, Reporter};
use crate::{
    event::{ActionOutcome, Event, Problem, StepOutcome},
    ids::StepId,
    text,
};

/// Collects test cases and writes the file at the end.
pub(super) struct Junit {
    path: PathBuf,
    run: Run,
    failed: Option<io::Error>,
}

/// A run as JUnit sees it.
#[derive(Debug, Default)]
struct Run {
    pipeline: String,
    elapsed: Duration,
    suites: Vec<Suite>,
}

#[derive(Debug, Default)]
struct Suite {
    name: String,
    elapsed: Duration,
    cases: Vec<Case>,
    /// Warnings and failed attempts: what no test case shows.
    notes: Vec<String>,
    /// Titles of actions that have begun, by id.
    titles: Vec<(String, String)>,
}

#[derive(Debug)]
struct Case {
    name: String,
    elapsed: Duration,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Passed { output: String },
    Failed { kind: &'static str, message: String, text: String },
    Skipped { reason: String },
}

impl Junit {
    /// Creates the file, empty: a run that breaks must not leave the result of the run before.
    ///
    /// # Errors
    /// The file or its directory cannot be created.
    pub(super) fn create(path: &Path) -> Result<Self, ReportError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        directory
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::File::create(path))
            .map_err(|source| ReportError::Junit { path: path.into(), source })?;
        Ok(Self { path: path.into(), run: Run::default(), failed: None })
    }
}

impl Reporter for Junit {
    fn event(&mut self, _at: Duration, event: &Event) {
        self.run.take(event);
        if matches!(event, Event::RunFinished { .. }) {
            self.failed = self.run.xml().and_then(|xml| fs::write(&self.path, xml)).err();
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let path = self.path.clone();
        self.failed.take().map_or(Ok(()), |source| Err(ReportError::Junit { path, source }))
    }
}

impl Run {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStarted { pipeline, steps, .. } => {
                self.pipeline.clone_from(pipeline);
                let suite = |name: &StepId| Suite { name: name.to_string(), ..Suite::default() };
                self.suites.extend(steps.iter().map(|step| suite(&step.id)));
            }
            Event::Diagnosed { step, diagnostic, place } => {
                let name = step.as_ref().map_or("pipeline", StepId::as_str);
                self.suite(name).diagnosed(diagnostic, place.as_deref());
            }
            Event::ActionStarted { step, action, title } => {
                self.suite(step.as_str()).titles.push((action.clone(), title.clone()));
            }
            Event::ActionFinished { step, action, outcome, elapsed } => {
                self.suite(step.as_str()).action_finished(action, outcome, *elapsed);
            }
            Event::Checked { step, check } => self.suite(step.as_str()).checked(check),
            Event::StepRetrying { step, attempt, attempts, error, .. } => {
                let suite = self.suite(step.as_str());
                suite.cases.clear();
                suite.notes.push(format!("attempt {attempt} of {attempts} failed: {}", with_hint(error)));
            }
            Event::StepFinished { step, outcome, elapsed, .. } => {
                self.suite(step.as_str()).step_finished(outcome, *elapsed);
            }
            Event::RunFinished { elapsed, .. } => self.run_finished(*elapsed),
            Event::StepStarted { .. }
            | Event::Waiting { .. }
            | Event::ObjectDone { .. }
            | Event::ReleaseRecorded { .. }
            | Event::Interrupted => {}
        }
    }

    fn suite(&mut self, name: &str) -> &mut Suite {
        let index = self.suites.iter().position(|suite| suite.name == name).unwrap_or_else(|| {
            self.suites.push(Suite { name: name.into(), ..Suite::default() });
            self.suites.len() - 1
        });
        &mut self.suites[index]
    }

    fn run_finished(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        for suite in &mut self.suites {
            if suite.cases.is_empty() {
                suite.add("step", Duration::ZERO, Verdict::Skipped { reason: "did not run".into() });
            }
        }
    }

    fn xml(&self) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let total = |count: fn(&Suite) -> usize| self.suites.iter().map(count).sum::<usize>().to_string();
        writer
            .create_element("testsuites")
            .with_attributes([
                ("name", readable(&self.pipeline).as_str()),
                ("tests", &total(|suite| suite.cases.len())),
                ("failures", &total(Suite::failures)),
                ("errors", "0"),
                ("skipped", &total(Suite::skipped)),
                ("time", &seconds(self.elapsed)),
            ])
            .write_inner_content(|writer| {
                self.suites.iter().try_for_each(|suite| suite.write(&self.pipeline, writer))
            })?;
        writer.write_event(Xml::Text(BytesText::new("\n")))?;
        Ok(writer.into_inner())
    }
}

impl Suite {
    fn add(&mut self, name: &str, elapsed: Duration, verdict: Verdict) {
        self.cases.push(Case { name: name.into(), elapsed, verdict });
    }

    fn diagnosed(&mut self, diagnostic: &Diagnostic, place: Option<&str>) {
        let mut text = diagnostic.message.clone();
        text.extend(place.map(|place| format!("\nat {place}")));
        text.extend(diagnostic.hint.as_ref().map(|hint| format!("\nhint: {hint}")));
        match diagnostic.severity {
            Severity::Error => {
                let message = diagnostic.message.clone();
                let name = diagnostic.code.as_deref().unwrap_or("configuration");
                self.add(name, Duration::ZERO, Verdict::Failed { kind: "configuration", message, text });
            }
            Severity::Warning => self.note(format!("warning: {text}")),
            Severity::Hint => self.note(format!("note: {text}")),
        }
    }

    /// A step that is tried again finds the same again.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn action_finished(&mut self, action: &str, outcome: &ActionOutcome, elapsed: Duration) {
        let title = self.titles.iter().rev().find(|(id, _)| id == action).map(|(_, title)| title.clone());
        let verdict = match outcome {
            ActionOutcome::Done => Verdict::Passed { output: String::new() },
            ActionOutcome::Failed { error } => failed("action", error),
            ActionOutcome::Tolerated { error } => {
                Verdict::Passed { output: format!("failed, but is optional: {}", with_hint(error)) }
            }
            ActionOutcome::Cancelled => Verdict::Skipped { reason: "the run was stopped".into() },
        };
        self.add(title.as_deref().unwrap_or(action), elapsed, verdict);
    }

    fn checked(&mut self, check: &Check) {
        let hint = check.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let seen = format!("seen: {}{hint}", check.evidence);
        let verdict = match check.status {
            CheckStatus::Passed => Verdict::Passed { output: seen },
            CheckStatus::Warning => Verdict::Passed { output: format!("warning: {seen}") },
            CheckStatus::Failed => {
                Verdict::Failed { kind: "check", message: check.evidence.clone(), text: seen }
            }
            CheckStatus::Skipped => Verdict::Skipped { reason: check.evidence.clone() },
        };
        self.add(&check.title, Duration::ZERO, verdict);
    }

    fn step_finished(&mut self, outcome: &StepOutcome, elapsed: Duration) {
        self.elapsed = elapsed;
        match outcome {
            StepOutcome::Succeeded => {
                if self.cases.is_empty() {
                    self.add("step", elapsed, Verdict::Passed { output: String::new() });
                }
            }
            // `continue-on-error`: the run counts as passed, so must its report.
            StepOutcome::Failed { error, tolerated: true } => {
                self.cases.retain(|case| !matches!(case.verdict, Verdict::Failed { .. }));
                let output = format!("failed, but continue-on-error is set: {}", with_hint(error));
                self.add("step", elapsed, Verdict::Passed { output });
            }
            StepOutcome::Failed { error, tolerated: false } => {
                if self.failures() == 0 {
                    self.add("step", elapsed, failed("step", error));
                }
            }
            StepOutcome::Skipped { reason } => {
                self.add("step", elapsed, Verdict::Skipped { reason: reason.clone() });
            }
            StepOutcome::Cancelled => {
                self.add("step", elapsed, Verdict::Skipped { reason: "the run was stopped".into() });
            }
        }
    }

    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed { .. })).count()
    }

    fn skipped(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Skipped { .. })).count()
    }

    fn write(&self, pipeline: &str, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        writer
            .create_element("testsuite")
            .with_attributes([
                ("name", readable(&self.name).as_str()),
                ("tests", &self.cases.len().to_string()),
                ("failures", &self.failures().to_string()),
                ("errors", "0"),
                ("skipped", &self.skipped().to_string()),
                ("time", &seconds(self.elapsed)),
            ])
            .write_inner_content(|writer| {
                let class = format!("{pipeline}.{}", self.name);
                self.cases.iter().try_for_each(|case| case.write(&class, writer))?;
                output(&self.notes.join("\n"), writer)
            })?;
        Ok(())
    }
}

impl Case {
    fn write(&self, class: &str, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let element = writer.create_element("testcase").with_attributes([
            ("name", readable(&self.name).as_str()),
            ("classname", &readable(class)),
            ("time", &seconds(self.elapsed)),
        ]);
        match &self.verdict {
            Verdict::Passed { output: said } if said.is_empty() => element.write_empty()?,
            Verdict::Passed { output: said } => element.write_inner_content(|writer| output(said, writer))?,
            Verdict::Skipped { reason } => element.write_inner_content(|writer| {
                let reason = readable(reason);
                writer
                    .create_element("skipped")
                    .with_attribute(("message", reason.as_str()))
                    .write_empty()?;
                Ok(())
            })?,
            Verdict::Failed { kind, message, text } => element.write_inner_content(|writer| {
                writer
                    .create_element("failure")
                    .with_attributes([("type", *kind), ("message", &readable(message))])
                    .write_text_content(BytesText::new(&readable(text)))?;
                Ok(())
            })?,
        };
        Ok(())
    }
}

fn output(text: &str, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    if !text.is_empty() {
        writer.create_element("system-out").write_text_content(BytesText::new(&readable(text)))?;
    }
    Ok(())
}

fn failed(kind: &'static str, error: &Problem) -> Verdict {
    Verdict::Failed { kind, message: error.message.clone(), text: with_hint(error) }
}

fn with_hint(error: &Problem) -> String {
    match &error.hint {
        Some(hint) => format!("{}\nhint: {hint}", error.message),
        None => error.message.clone(),
    }
}

/// XML 1.0 has no way to write most control characters and two others, escaped or not.
fn readable(text: &str) -> String {
    text::clean(text).replace(['\u{fffe}', '\u{ffff}'], "")
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
