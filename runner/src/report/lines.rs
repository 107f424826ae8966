//! Words for what happened: the parts that the live and the plain report have in common.

use std::time::Duration;

use meshrun_protocol::{Check, CheckStatus};

use super::state::{RunState, StepState};
use crate::{
    event::{Done, Event, Problem, RunOutcome, StepOutcome, Tally},
    text::{self, Mark, Style, Tone},
};

/// What a terminated run says when Ctrl-C arrives.
pub(super) const STOPPING: &str =
    "Stopping: the work in hand is finished, nothing new is started. Ctrl-C once more gives it up.";

/// What is run, where: the first line of a report; `None` for another event than the first.
pub(super) fn header(event: &Event, style: &Style) -> Option<String> {
    let Event::RunStarted { pipeline, file, cluster, steps } = event else { return None };
    let place = match cluster.as_str() {
        "rehearsal" => "rehearsed without a cluster".to_owned(),
        cluster => format!("on {cluster}"),
    };
    let count = text::counted(steps.len(), "step");
    Some(
        style.hang(&format!("{} ", style.paint(Tone::Name, pipeline)), &format!("({file}) {place}: {count}")),
    )
}

/// What an object's line says: `created Deployment istio-system/istiod`.
pub(super) fn done_word(done: Done) -> &'static str {
    match done {
        Done::Created => "created",
        Done::Updated => "updated",
        Done::Adopted => "adopted",
        Done::Unchanged => "unchanged",
        Done::Deleted => "deleted",
        Done::Scaled => "scaled",
        Done::Restarted => "restarted",
        Done::Nudged => "nudged",
    }
}

/// `24 created, 2 unchanged`; empty where no object was touched.
pub(super) fn tally(tally: &Tally) -> String {
    text::tally(&[
        (tally.created, "created"),
        (tally.updated, "updated"),
        (tally.adopted, "adopted"),
        (tally.deleted, "deleted"),
        (tally.unchanged, "unchanged"),
    ])
}

/// What a step that ended well has done: `24 created, release istiod revision 1, 4 checks passed`.
pub(super) fn accomplished(step: &StepState) -> String {
    let mut parts = vec![tally(&step.tally)];
    parts.extend(step.releases.iter().map(|(name, revision)| format!("release {name} revision {revision}")));
    parts.push(checks(step.checks.iter()));
    if step.attempt > 1 {
        parts.push(format!("attempt {}", step.attempt));
    }
    let done = text::phrases(parts);
    if done.is_empty() { "done".into() } else { done }
}

/// Whether a step ended well and still should be looked at.
pub(super) fn wants_a_look(step: &StepState) -> bool {
    !step.tolerated.is_empty() || step.checks.iter().any(wants_a_line)
}

/// Whether a check is told even where its step has more to tell.
pub(super) fn wants_a_line(check: &Check) -> bool {
    matches!(check.status, CheckStatus::Warning | CheckStatus::Failed)
}

/// `4 checks passed, 1 warning`; empty where there were none.
fn checks<'a>(checks: impl Iterator<Item = &'a Check>) -> String {
    let [mut passed, mut warning, mut failed, mut skipped] = [0; 4];
    for check in checks {
        *match check.status {
            CheckStatus::Passed => &mut passed,
            CheckStatus::Warning => &mut warning,
            CheckStatus::Failed => &mut failed,
            CheckStatus::Skipped => &mut skipped,
        } += 1;
    }
    let parts = [
        (passed, format!("{} passed", text::counted(passed, "check"))),
        (warning, text::counted(warning, "warning")),
        (failed, format!("{} failed", text::counted(failed, "check"))),
        (skipped, format!("{} skipped", text::counted(skipped, "check"))),
    ];
    text::phrases(parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words))
}

/// What is told of a step's checks: a check by itself, or how many were skipped for one and the same reason.
pub(super) enum Told<'a> {
    Check(&'a Check),
    Skipped { count: usize, why: &'a str },
}

/// The checks of a step that are worth a line: all where checks are all it has, else those to be looked at.
/// What the step's problem says already is not said twice.
pub(super) fn told_checks<'a>(step: &'a StepState, style: &Style) -> Vec<Told<'a>> {
    let all = style.verbose || step.only_checks();
    let problem = match &step.outcome {
        Some(StepOutcome::Failed { error, .. }) => error.message.as_str(),
        _ => "",
    };
    let mut told: Vec<Told<'a>> = Vec::new();
    for check in &step.checks {
        let said = problem.contains(&check.evidence) && problem.contains(&check.title);
        if said || !(all || wants_a_line(check)) {
            continue;
        }
        let same = |told: &Told<'a>| match told {
            Told::Check(other) => other.status == CheckStatus::Skipped && other.evidence == check.evidence,
            Told::Skipped { why, .. } => *why == check.evidence,
        };
        let skipped = check.status == CheckStatus::Skipped && !style.verbose;
        match told.iter_mut().find(|told| skipped && same(told)) {
            Some(Told::Skipped { count, .. }) => *count += 1,
            Some(other) => *other = Told::Skipped { count: 2, why: &check.evidence },
            None => told.push(Told::Check(check)),
        }
    }
    told
}

impl Told<'_> {
    /// The mark in front of it.
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Check(check) => match check.status {
                CheckStatus::Passed => Mark::Good,
                CheckStatus::Skipped => Mark::Skip,
                CheckStatus::Warning => Mark::Warn,
                CheckStatus::Failed => Mark::Bad,
            },
            Self::Skipped { .. } => Mark::Skip,
        }
    }

    /// The check with its evidence in one line, its status as a word; what to do about it below.
    pub(super) fn line(&self, head: &str, indent: usize, style: &Style) -> String {
        let Self::Check(check) = self else { return self.text(head, style) };
        let word = match check.status {
            CheckStatus::Passed => "passed",
            CheckStatus::Skipped => "skipped",
            CheckStatus::Warning => "warning",
            CheckStatus::Failed => "failed",
        };
        let mut text = style.hang(head, &format!("check {word}: {}: {}", check.title, check.evidence));
        text.push_str(&style.hint(indent, check.hint.as_deref()));
        text
    }

    /// The check with its evidence, and what to do where it is not as it should be.
    pub(super) fn text(&self, head: &str, style: &Style) -> String {
        let indent = console::measure_text_width(head);
        match self {
            Self::Skipped { count, why } => {
                style.hang(head, &format!("{} skipped: {why}", text::counted(*count, "check")))
            }
            Self::Check(check) => match check.status {
                CheckStatus::Passed => style.hang(head, &format!("{}: {}", check.title, check.evidence)),
                CheckStatus::Skipped => {
                    style.hang(head, &format!("{}: skipped: {}", check.title, check.evidence))
                }
                CheckStatus::Warning | CheckStatus::Failed => {
                    let mut text = style.hang(head, &check.title);
                    add(&mut text, &style.hang(&format!("{:indent$}seen: ", ""), &check.evidence));
                    text.push_str(&style.hint(indent, check.hint.as_deref()));
                    text
                }
            },
        }
    }
}

/// A problem behind a head, and its hint below.
pub(super) fn problem(head: &str, indent: usize, problem: &Problem, style: &Style) -> String {
    let mut text = style.hang(head, &problem.message);
    text.push_str(&style.hint(indent, problem.hint.as_deref()));
    text
}

/// The end of a run: how it went, what was done, what to do next.
pub(super) fn summary(
    state: &RunState,
    outcome: RunOutcome,
    elapsed: Duration,
    total: &Tally,
    style: &Style,
) -> String {
    let time = text::duration(elapsed);
    match outcome {
        RunOutcome::Succeeded => succeeded(state, &time, total, style),
        RunOutcome::Failed => {
            let failed =
                ids(state, |step| matches!(step.outcome, Some(StepOutcome::Failed { tolerated: false, .. })));
            let word = style.paint(Tone::Bad, "Failed");
            let mut text = match failed.is_empty() {
                true => format!("{word} after {time}."),
                false => format!("{word} after {time}: {failed}"),
            };
            add_account(&mut text, state, total, style);
            let next = match total.wrote() {
                true => "remove the cause and run the same command again; what is done is not done twice.",
                false => "remove the cause and run the same command again.",
            };
            add(&mut text, &style.hang("  Next:     ", next));
            text
        }
        RunOutcome::Interrupted => {
            let mut text =
                format!("{} after {time}, before everything was done.", style.paint(Tone::Warn, "Stopped"));
            add_account(&mut text, state, total, style);
            let next = "run the same command again; it goes on where this run stopped.";
            add(&mut text, &style.hang("  Next:     ", next));
            text
        }
    }
}

fn succeeded(state: &RunState, time: &str, total: &Tally, style: &Style) -> String {
    let recorded: usize = state.steps.iter().map(|step| step.releases.len()).sum();
    let objects = match (total.wrote(), total.unchanged) {
        (true, _) => tally(total),
        (false, 0) => String::new(),
        (false, unchanged) if recorded == 0 => {
            format!("nothing to change, {} as they should be", text::counted(unchanged, "object"))
        }
        (false, unchanged) => format!("{} as they should be", text::counted(unchanged, "object")),
    };
    let released = match (recorded, total.wrote()) {
        (0, _) | (_, true) => String::new(),
        (recorded, false) => format!("{} recorded", text::counted(recorded, "release revision")),
    };
    let checked = checks(state.steps.iter().flat_map(|step| &step.checks));
    let parts: Vec<_> = [objects, released, checked].into_iter().filter(|part| !part.is_empty()).collect();
    let what = if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) };
    let mut text = style.hang(&format!("{} ", style.paint(Tone::Good, "Done")), &format!("in {time}{what}."));
    let tolerated =
        ids(state, |step| matches!(step.outcome, Some(StepOutcome::Failed { tolerated: true, .. })));
    if !tolerated.is_empty() {
        add(&mut text, &style.hang("  Failed, but continue-on-error: ", &tolerated));
    }
    text
}

/// Lists which steps are done and which are not, and what was written: what one must know before going on.
fn add_account(text: &mut String, state: &RunState, total: &Tally, style: &Style) {
    let rows = [
        ("Done:     ", ids(state, |step| matches!(step.outcome, Some(StepOutcome::Succeeded)))),
        ("Stopped:  ", ids(state, |step| matches!(step.outcome, Some(StepOutcome::Cancelled)))),
        ("Not run:  ", ids(state, |step| matches!(step.outcome, None | Some(StepOutcome::Skipped { .. })))),
        ("Objects:  ", tally(total)),
    ];
    for (head, row) in rows {
        if !row.is_empty() {
            add(text, &style.hang(&format!("  {head}"), &row));
        }
    }
}

fn ids(state: &RunState, wanted: impl Fn(&StepState) -> bool) -> String {
    let ids: Vec<_> = state.steps.iter().filter(|step| wanted(step)).map(|step| step.id.as_str()).collect();
    ids.join(", ")
}

/// Adds a line.
pub(super) fn add(text: &mut String, line: &str) {
    text.push('\n');
    text.push_str(line);
}
