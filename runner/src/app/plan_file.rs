//! Plan files: a plan that was reviewed, and the promise that nothing else is carried out.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::AppError;
use crate::{
    exit_code::ExitCode,
    ids::StepId,
    plan::model::{Change, Plan, StepPlan},
};

/// Version of the file.
const VERSION: u32 = 2;

/// A plan in a file.
#[derive(Debug, Serialize, Deserialize)]
struct PlanFile {
    version: u32,
    plan: Plan,
    /// Digests of what the steps were planned from.
    inputs: BTreeMap<StepId, String>,
}

/// What tells whether the rest can be read.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Keeps a plan.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(path: &Path, plan: &Plan, inputs: BTreeMap<StepId, String>) -> Result<(), AppError> {
    let file = PlanFile { version: VERSION, plan: plan.clone(), inputs };
    let text = serde_json::to_vec_pretty(&file).map_err(|error| AppError::internal(error.to_string()))?;
    fs_err::write(path, text)
        .map_err(|error| AppError::new(ExitCode::BadInput, format!("keep the plan: {error}")))
}

/// Refuses a plan that is not the one in a file.
///
/// # Errors
/// The file cannot be read, or the plan made now says something else.
pub(super) fn hold_to(path: &Path, now: &Plan, inputs: &BTreeMap<StepId, String>) -> Result<(), AppError> {
    let bad = |message: String| AppError::new(ExitCode::BadInput, message);
    let text = fs_err::read(path).map_err(|error| bad(format!("read the plan: {error}")))?;
    let no_plan = |error| bad(format!("read the plan: `{}` is no plan file: {error}", path.display()));
    let Version { version } = serde_json::from_slice(&text).map_err(no_plan)?;
    if version != VERSION {
        return Err(bad(format!("the plan in `{}` was made by another version of meshrun", path.display())));
    }
    let file: PlanFile = serde_json::from_slice(&text).map_err(no_plan)?;
    let changed = || {
        let step = inputs.iter().find(|(step, digest)| file.inputs.get(*step) != Some(*digest))?.0;
        Some(format!("the configuration, chart or plugin of step {step} is another"))
    };
    match difference(&file.plan, now).or_else(changed) {
        None => Ok(()),
        Some(what) => Err(AppError::new(
            ExitCode::Refused,
            format!(
                "another plan comes out now than the one in `{}`: {what}; nothing was changed",
                path.display()
            ),
        )
        .hint("the cluster, the pipeline or a plugin has changed since: make and review a new plan")),
    }
}

/// The first difference between two plans; what would only be said of them does not count.
fn difference(kept: &Plan, now: &Plan) -> Option<String> {
    if kept.pipeline != now.pipeline {
        return Some(format!("it is for pipeline {}, not {}", kept.pipeline, now.pipeline));
    }
    if kept.cluster != now.cluster {
        return Some(format!("it is for {}, not {}", kept.cluster, now.cluster));
    }
    let ids = |plan: &Plan| plan.steps.iter().map(|step| step.id.to_string()).collect::<Vec<_>>();
    if ids(kept) != ids(now) {
        return Some("the steps are others".into());
    }
    kept.steps.iter().zip(&now.steps).find_map(|(kept, now)| step_difference(kept, now))
}

fn step_difference(kept: &StepPlan, now: &StepPlan) -> Option<String> {
    let titles = |step: &StepPlan| step.actions.iter().map(|action| action.title.clone()).collect::<Vec<_>>();
    if kept.state != now.state || kept.uses != now.uses || titles(kept) != titles(now) {
        return Some(format!("step {} would do something else", now.id));
    }
    kept.actions.iter().zip(&now.actions).find_map(|(before, after)| {
        if before.revision != after.revision {
            return Some(format!("{} would be recorded as another revision", after.title));
        }
        let other = |changes: &[Change], others: &[Change]| {
            changes.iter().find(|change| !others.contains(change)).map(|change| change.object.to_string())
        };
        let object =
            other(&after.changes, &before.changes).or_else(|| other(&before.changes, &after.changes))?;
        Some(format!("{object} has changed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_made_from_another_configuration_is_refused_though_it_looks_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("plan.json");
        let plan = Plan { pipeline: "prod".into(), cluster: "lab".into(), steps: Vec::new() };
        let inputs = |digest: &str| BTreeMap::from([(StepId::new("istiod"), digest.to_owned())]);
        write(&file, &plan, inputs("a")).expect("written");
        assert_eq!(hold_to(&file, &plan, &inputs("a")), Ok(()));
        let refused = hold_to(&file, &plan, &inputs("b")).expect_err("another configuration");
        assert_eq!(refused.code, ExitCode::Refused);
        assert!(
            refused.message.contains("the configuration, chart or plugin of step istiod is another"),
            "{}",
            refused.message
        );
    }
}
