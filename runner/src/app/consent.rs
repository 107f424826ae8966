//! Asking before something goes: deletions and replacements need a yes, from `--yes` or from a person at a terminal.

use std::io::IsTerminal;

use super::AppError;
use crate::{
    exec::Consent,
    exit_code::ExitCode,
    plan::{
        model::{Change, Plan, Verb},
        render,
    },
    report,
    text::{Style, counted},
};

/// Asks for consent to what a plan deletes or replaces, after showing all of it. Returns what may be deleted: that, or
/// with `yes` whatever the run comes to.
///
/// # Errors
/// The answer was not yes, or there is no terminal to ask on.
pub(super) fn ask_for(plan: &Plan, yes: bool, style: &Style) -> Result<Consent, AppError> {
    if yes {
        return Ok(Consent::Everything);
    }
    let changes = plan.steps.iter().flat_map(|step| &step.actions).flat_map(|action| &action.changes);
    let doomed: Vec<&Change> =
        changes.filter(|change| matches!(change.verb, Verb::Delete | Verb::Replace)).collect();
    let agreed = Consent::only(doomed.iter().map(|change| change.object.clone()));
    if doomed.is_empty() {
        return Ok(agreed);
    }
    let refused = |message: String, hint: &str| Err(AppError::new(ExitCode::Refused, message).hint(hint));
    if !std::io::stdin().is_terminal() {
        let list: Vec<String> = doomed
            .iter()
            .map(|change| {
                let verb = if change.verb == Verb::Delete { "delete" } else { "replace" };
                format!("  {verb} {}", change.object)
            })
            .collect();
        let message = format!("this run would\n{}\nand there is no terminal to ask on", list.join("\n"));
        return refused(message, "look at the plan, then run with --yes");
    }
    report::print(&render::text(plan, style))?;
    let counts = plan.counts();
    let parts = [(counts.delete, "delete"), (counts.replace, "replace")];
    let question: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, verb)| format!("{verb} {}", counted(*count, "object")))
        .collect();
    let question = question.join(" and ");
    if report::ask(&format!("This would {question}. Go on? Only `yes` is a yes: "))? == "yes" {
        return Ok(agreed);
    }
    refused("nothing was changed: the answer was not `yes`".into(), "leave the step out, or run with --yes")
}
