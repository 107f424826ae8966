//! A plan as a comment on a pull request: totals and a table first, details folded, within GitHub's limit of size.

use super::{
    counts, remark, totals,
    values::{self, Shown},
};
use crate::{
    plan::model::{Change, Plan, PlannedAction, StepPlan, StepState, Verb},
    text::{self, Style},
};

/// GitHub refuses comments of more than 65,536 characters; the rest is for what a workflow puts around ours.
const LIMIT: usize = 60_000;

/// Room for what is said when details are left out.
const NOTE: usize = 400;

/// A value longer than this is cut: the comment is for review, `meshrun plan` has everything.
const LONGEST_VALUE: usize = 200;

/// Renders a plan, in at most 60 kB.
pub fn markdown(plan: &Plan) -> String {
    let total = totals(&plan.counts());
    let verdict = match &total {
        Some(total) => format!("**{total}**"),
        None => "**No changes.** The cluster is as the pipeline says.".to_owned(),
    };
    let mut out = format!("### Plan for {} on {}\n\n{verdict}\n", code(&plan.pipeline), code(&plan.cluster));
    for step in &plan.steps {
        for diagnostic in &step.diagnostics {
            let said = Style::plain(false).diagnostic(Some(step.id.as_str()), diagnostic, None);
            out.push_str(&format!("\n{}", fenced("text", &said)));
        }
    }
    out.push_str("\n| step | create | update | replace | delete | unchanged | |\n");
    out.push_str("|---|--:|--:|--:|--:|--:|---|\n");
    plan.steps.iter().for_each(|step| out.push_str(&row(step)));
    let mut left_out = Vec::new();
    for step in plan.steps.iter().filter(|step| counts(step).any() && step.state == StepState::Planned) {
        let details = details(step);
        if out.len() + details.len() + NOTE > LIMIT {
            left_out.push(step.id.as_str());
        } else {
            out.push_str(&details);
        }
    }
    if !left_out.is_empty() {
        let steps = text::counted(left_out.len(), "step");
        out.push_str(&format!(
            "\nDetails of {steps} are left out, because they do not fit into a comment; `meshrun plan` shows them.\n"
        ));
    }
    out
}

fn row(step: &StepPlan) -> String {
    let counts = counts(step);
    let remark = match &step.state {
        StepState::Planned => {
            let revisions = step.actions.iter().filter_map(|action| action.revision);
            let revisions: Vec<_> = revisions.map(|revision| format!("revision {revision}")).collect();
            revisions.join(", ")
        }
        StepState::KnownAfter { step } => format!("known after {}", code(step.as_str())),
        StepState::Skipped { reason } => format!("skipped: {}", code(reason)),
    };
    let number = |count: usize| if count == 0 { String::new() } else { count.to_string() };
    let cells = [counts.create, counts.update, counts.replace, counts.delete, counts.unchanged].map(number);
    format!("| {} | {} | {remark} |\n", code(step.id.as_str()), cells.join(" | "))
}

fn details(step: &StepPlan) -> String {
    let mut body = String::new();
    for action in step.actions.iter().filter(|action| !action.changes.is_empty() || action.revision.is_some())
    {
        add_action(&mut body, action);
    }
    let totals = totals(&counts(step)).unwrap_or_default();
    let fenced = fenced("diff", &body);
    format!("\n<details><summary>{}: {totals}</summary>\n\n{fenced}\n</details>\n", step.id)
}

fn add_action(out: &mut String, action: &PlannedAction) {
    let revision = action.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    out.push_str(&format!("@@ {}{revision} @@\n", text::clean(&action.title)));
    action.changes.iter().filter(|change| change.verb != Verb::Unchanged).for_each(|change| add(out, change));
    let unchanged = action.changes.iter().filter(|change| change.verb == Verb::Unchanged).count();
    if unchanged > 0 {
        out.push_str(&format!("  {unchanged} unchanged\n"));
    }
}

/// A change in the syntax of a diff, which GitHub colours by the first character of a line.
fn add(out: &mut String, change: &Change) {
    let sign = match change.verb {
        Verb::Create | Verb::CreateLater => '+',
        Verb::Update | Verb::Replace => '!',
        Verb::Delete => '-',
        Verb::Unchanged => ' ',
    };
    out.push_str(&format!("{sign} {}{}\n", change.object, remark(change)));
    for field in &change.fields {
        match values::show(field) {
            Shown::Values { before, after } => {
                out.push_str(&format!("-   {}: {}\n", field.path, cut(&before)));
                out.push_str(&format!("+   {}: {}\n", field.path, cut(&after)));
            }
            Shown::Lines(lines) => {
                out.push_str(&format!("    {}:\n", field.path));
                lines.iter().for_each(|(sign, line)| out.push_str(&format!("{sign}     {}\n", cut(line))));
            }
        }
    }
}

fn cut(value: &str) -> String {
    Style::plain(false).cut(value, LONGEST_VALUE)
}

/// A block that nothing inside can end: its fence is longer than every run of backticks in the text.
fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// A span in which nothing is markup, also inside a table.
fn code(text: &str) -> String {
    let text = text::clean(text).replace(['\n', '`'], " ").replace('|', "\\|");
    format!("`{text}`")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::render::samples;

    #[test]
    fn puts_the_totals_first_and_folds_the_rest() {
        insta::assert_snapshot!(markdown(&samples::upgrade()));
    }

    #[test]
    fn says_that_nothing_changes() {
        insta::assert_snapshot!(markdown(&samples::unchanged()));
    }

    #[test]
    fn stays_within_the_limit_and_says_so() {
        let mut plan = samples::first();
        let action = &mut plan.steps[0].actions[0];
        action.changes = vec![action.changes[0].clone(); 2_000];
        let text = markdown(&plan);
        assert!(text.len() < LIMIT, "{}", text.len());
        let note = "Details of 1 step are left out, because they do not fit into a comment; `meshrun plan` shows them.\n";
        assert!(text.ends_with(note), "{text}");
    }

    #[test]
    fn lets_no_value_break_out_of_its_block() {
        assert_eq!(fenced("diff", "a\n````\n</details>"), "`````diff\na\n````\n</details>\n`````\n");
        assert_eq!(code("a`b|c\n@d"), "`a b\\|c @d`");
    }
}
