//! Asking before something goes: deletions and replacements need a yes, from `--yes` or from a person at a terminal.

use std::io::IsTerminal;

use super::AppError;
use crate::{
    exit_code::ExitCode,
    plan::model::{Change, Plan, Verb},
    report,
};

/// Asks for consent to what a plan deletes or replaces. Returns whether replacements are allowed.
///
/// # Errors
/// The answer was not yes, or there is no terminal to ask on.
pub(super) fn ask_for(plan: &Plan, yes: bool) -> Result<bool, AppError> {
    let doomed: Vec<&Change> = plan
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .flat_map(|action| &action.changes)
        .filter(|change| matches!(change.verb, Verb::Delete | Verb::Replace))
        .collect();
    if yes || doomed.is_empty() {
        return Ok(yes);
    }
    let list: Vec<String> = doomed
        .iter()
        .map(|change| {
            let verb = if change.verb == Verb::Delete { "delete" } else { "replace" };
            format!("  {verb} {}", change.object)
        })
        .collect();
    let refused = |message: String, hint: &str| Err(AppError::new(ExitCode::Refused, message).hint(hint));
    if !std::io::stdin().is_terminal() {
        let message = format!("this run would\n{}\nand there is no terminal to ask on", list.join("\n"));
        return refused(message, "look at the plan, then run with --yes");
    }
    report::print(&format!("This run would\n{}", list.join("\n")))?;
    if report::ask("Go on? Only `yes` is a yes: ")? == "yes" {
        return Ok(true);
    }
    refused("nothing was changed: the answer was not `yes`".into(), "leave the step out, or run with --yes")
}
