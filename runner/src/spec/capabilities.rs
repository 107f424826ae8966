//! Whether the steps of a pipeline provide each other what they require.

use super::{
    finding::Finding,
    pipeline::{Pipeline, Step},
};
use crate::ids::StepId;

/// Finds requirements that no step before provides. `of` gives what a step's plugin provides and requires.
pub fn validate_capabilities<'a>(
    pipeline: &Pipeline,
    of: impl Fn(&StepId) -> Option<(&'a [String], &'a [String])>,
) -> Vec<Finding> {
    let provides =
        |step: &Step, capability: &String| of(&step.id).is_some_and(|(has, _)| has.contains(capability));
    let mut findings = Vec::new();
    for step in &pipeline.steps {
        for capability in of(&step.id).map(|(_, requires)| requires).unwrap_or_default() {
            let before = |other: &&Step| step.ancestors.contains(&other.id);
            if pipeline.steps.iter().filter(before).any(|other| provides(other, capability)) {
                continue;
            }
            let message = format!("`{}` requires {capability}, which no step before it provides", step.uses);
            let provider =
                pipeline.steps.iter().find(|other| other.id != step.id && provides(other, capability));
            let hint = match provider {
                Some(other) => format!("add `needs: [{}]`", other.id),
                None => {
                    "add a step that provides it; `meshrun plugins list` shows which plugins do".to_owned()
                }
            };
            findings.push(Finding::error(&step.source.uses, message).hint(hint));
        }
    }
    findings
}
