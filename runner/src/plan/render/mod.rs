//! A plan for readers: as text for people, as JSON for programs, as Markdown for a pull request. Nothing is printed
//! here.

mod markdown;
#[cfg(test)]
mod samples;
mod terminal;
mod values;

use serde::Serialize;

use super::model::{Change, Counts, Plan, StepPlan, Verb};
use crate::text;

pub use markdown::markdown;
pub use terminal::text;

/// The plan as JSON: the types of `plan/model.rs`, with the `counts` beside them.
pub fn json(plan: &Plan) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        plan: &'a Plan,
        counts: Counts,
    }
    let document = Document { plan, counts: plan.counts() };
    serde_json::to_string_pretty(&document).expect("a plan has text keys only")
}

/// What the plan comes to: `49 to create, 2 to update, 0 to delete; 4 releases to record`; `None` where nothing
/// would be written.
fn totals(counts: &Counts) -> Option<String> {
    if !counts.any() {
        return None;
    }
    let mut objects =
        format!("{} to create, {} to update, {} to delete", counts.create, counts.update, counts.delete);
    if counts.replace > 0 {
        objects.push_str(&format!(", {} to replace", counts.replace));
    }
    if counts.releases > 0 {
        objects.push_str(&format!("; {} to record", text::counted(counts.releases, "release")));
    }
    if counts.unknown > 0 {
        objects
            .push_str(&format!("; {} to be planned during the run", text::counted(counts.unknown, "step")));
    }
    Some(objects)
}

/// The sign of a verb, as Terraform's readers know it.
fn sign(verb: &Verb) -> &'static str {
    match verb {
        Verb::Create | Verb::CreateLater => "+",
        Verb::Update => "~",
        Verb::Delete => "-",
        Verb::Replace => "-/+",
        Verb::Unchanged => "=",
    }
}

/// What must be said of a change besides its sign and its object.
fn remark(change: &Change) -> String {
    match (&change.verb, &change.adopted_from) {
        (Verb::CreateLater, _) => " (once its API is served)".into(),
        (Verb::Replace, Some(left)) => format!(" ({left})"),
        (Verb::Replace, None) => " (an immutable field changes)".into(),
        (_, Some(from)) => format!(" (taken over from {from})"),
        _ => String::new(),
    }
}

/// The counts of one step.
fn counts(step: &StepPlan) -> Counts {
    Plan { pipeline: String::new(), cluster: String::new(), steps: vec![step.clone()] }.counts()
}
