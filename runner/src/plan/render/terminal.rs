//! A plan as text: what would change, step by step, then what it comes to.

use super::{
    counts, remark, sign, totals,
    values::{self, Shown},
};
use crate::{
    plan::model::{Change, FieldChange, Plan, PlannedAction, StepPlan, StepState, Verb},
    text::{self, Style, Tone},
};

/// Where objects stand; their signs are up to three columns wide and end two columns before.
const OBJECT: usize = 8;

/// A value longer than this is cut where the line has no other limit, unless the reader wants everything.
const LONGEST_VALUE: usize = 200;

/// Renders a plan.
pub fn text(plan: &Plan, style: &Style) -> String {
    let place = match plan.cluster.as_str() {
        "rehearsal" => ", rehearsed without a cluster".to_owned(),
        cluster => format!(" on {cluster}"),
    };
    let mut out = style.hang("Plan for ", &format!("{}{place}", plan.pipeline));
    out.push('\n');
    for step in &plan.steps {
        for diagnostic in &step.diagnostics {
            line(&mut out, &format!("\n{}", style.diagnostic(Some(step.id.as_str()), diagnostic, None)));
        }
    }
    let total = plan.counts();
    if total.any() || style.verbose {
        let width = plan.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or_default();
        plan.steps.iter().for_each(|one| step(&mut out, one, width, style));
    }
    let end = match totals(&total) {
        Some(totals) => style.hang(&format!("{} ", style.paint(Tone::Name, "Plan:")), &format!("{totals}.")),
        None => {
            let objects = text::counted(total.unchanged, "object");
            let head = style.paint(Tone::Good, "No changes.");
            style.hang(&format!("{head} "), &format!("The cluster is as the pipeline says ({objects})."))
        }
    };
    line(&mut out, &format!("\n{end}"));
    out
}

fn line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn step(out: &mut String, step: &StepPlan, width: usize, style: &Style) {
    let name = style.paint(Tone::Name, &step.id);
    let padding = " ".repeat(width.saturating_sub(step.id.as_str().len()));
    match &step.state {
        StepState::Skipped { reason } => {
            line(out, &style.hang(&format!("\n{name}{padding}  "), &format!("skipped: {reason}")));
        }
        StepState::KnownAfter { step } => {
            let mark = style.paint(Tone::Warn, "?");
            let why = format!("known after {step}: its configuration needs an output of it");
            line(out, &style.hang(&format!("\n{name}{padding}  {mark} "), &why));
        }
        StepState::Planned => {
            let counts = counts(step);
            if !counts.any() && !style.verbose {
                let objects = match counts.unchanged {
                    0 => String::new(),
                    unchanged => format!(" ({})", text::counted(unchanged, "object")),
                };
                line(out, &style.hang(&format!("\n{name}{padding}  "), &format!("no changes{objects}")));
                return;
            }
            let mut about =
                if step.uses == step.id.as_str() { String::new() } else { format!(" ({})", step.uses) };
            if !step.needs.is_empty() {
                let needs: Vec<_> = step.needs.iter().map(|need| need.as_str()).collect();
                about.push_str(&format!(", after {}", needs.join(", ")));
            }
            line(out, &format!("\n{name}{}", style.paint(Tone::Dim, about)));
            for (index, one) in step.actions.iter().enumerate() {
                action(out, one, index > 0, style);
            }
        }
    }
}

fn action(out: &mut String, action: &PlannedAction, follows: bool, style: &Style) {
    let only_waits = action.changes.is_empty() && action.revision.is_none();
    if only_waits {
        line(out, &style.hang(if follows { "  then " } else { "  " }, &action.title));
        return;
    }
    let unchanged = action.changes.iter().filter(|change| change.verb == Verb::Unchanged).count();
    let revision = action.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    line(out, &style.hang("  ", &format!("{}{revision}", action.title)));
    for one in &action.changes {
        if one.verb != Verb::Unchanged || style.verbose {
            change(out, one, style);
        }
    }
    if unchanged > 0 && !style.verbose {
        line(out, &style.paint(Tone::Dim, format!("      {unchanged} unchanged")));
    }
}

fn change(out: &mut String, change: &Change, style: &Style) {
    let tone = match change.verb {
        Verb::Create | Verb::CreateLater => Tone::Good,
        Verb::Update => Tone::Warn,
        Verb::Delete | Verb::Replace => Tone::Bad,
        Verb::Unchanged => Tone::Dim,
    };
    let head = style.paint(tone, format!("{:>width$} ", sign(&change.verb), width = OBJECT - 1));
    line(out, &style.hang(&head, &format!("{}{}", change.object, remark(change))));
    change.fields.iter().for_each(|one| field(out, one, style));
}

/// `path: before -> after` where it fits into a line, else the path and the values below it.
fn field(out: &mut String, change: &FieldChange, style: &Style) {
    let indent = OBJECT + 2;
    let (minus, plus) = (style.paint(Tone::Bad, "-"), style.paint(Tone::Good, "+"));
    match values::show(change) {
        Shown::Values { before, after } => {
            let short = format!("{}: {before} -> {after}", change.path);
            if short.len() + indent <= style.width.min(LONGEST_VALUE) {
                line(out, &format!("{:indent$}{}", "", text::clean(&short)));
                return;
            }
            line(out, &format!("{:indent$}{}:", "", change.path));
            line(out, &format!("{:indent$}  {minus} {}", "", value(&before, indent + 4, style)));
            line(out, &format!("{:indent$}  {plus} {}", "", value(&after, indent + 4, style)));
        }
        Shown::Lines(lines) => {
            line(out, &format!("{:indent$}{}:", "", change.path));
            for (sign, text) in lines {
                let sign = match sign {
                    '-' => minus.as_str(),
                    '+' => plus.as_str(),
                    _ => " ",
                };
                line(out, format!("{:indent$}  {sign} {}", "", value(&text, indent + 4, style)).trim_end());
            }
        }
    }
}

fn value(value: &str, indent: usize, style: &Style) -> String {
    match style.verbose {
        true => text::clean(value).into_owned(),
        false => style.cut(value, style.width.saturating_sub(indent).clamp(24, LONGEST_VALUE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::render::samples;

    fn style(width: usize, verbose: bool) -> Style {
        Style { color: false, unicode: true, width, verbose }
    }

    #[test]
    fn lists_changes_step_by_step() {
        insta::assert_snapshot!(text(&samples::upgrade(), &style(80, false)));
    }

    #[test]
    fn uses_a_wide_screen() {
        insta::assert_snapshot!(text(&samples::upgrade(), &style(200, false)));
    }

    #[test]
    fn lists_what_stays_when_verbose() {
        insta::assert_snapshot!(text(&samples::upgrade(), &style(80, true)));
    }

    #[test]
    fn lists_objects_of_a_first_run_in_a_line_each() {
        insta::assert_snapshot!(text(&samples::first(), &style(80, false)));
    }

    #[test]
    fn says_in_one_line_that_nothing_changes() {
        assert_eq!(
            text(&samples::unchanged(), &style(80, false)),
            "Plan for prod on eks-prod (https://k8s.example:6443)\n\n\
             No changes. The cluster is as the pipeline says (2 objects).\n"
        );
    }

    #[test]
    fn paints_signs() {
        let painted = text(&samples::first(), &Style { color: true, ..style(80, false) });
        assert!(painted.contains("\u{1b}[32m      + \u{1b}[0mCustomResourceDefinition"), "{painted}");
    }
}
