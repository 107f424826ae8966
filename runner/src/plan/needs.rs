//! What a step may know of those before it: capabilities and outputs of the steps that it needs.

use meshrun_protocol::Need;

use super::Planner;
use crate::spec::{Outcome, Scope, Step};

impl Planner {
    /// The steps of this run that `step` needs, directly or through others. Those that take no part are not among them:
    /// nothing new comes from there.
    pub(super) fn needs(&self, step: &Step, scope: &Scope) -> Vec<Need> {
        let before = step.ancestors.iter().filter_map(|id| Some((id, scope.steps.get(id)?)));
        before
            .filter(|(_, result)| !result.left_out && result.outcome != Some(Outcome::Skipped))
            .filter_map(|(id, result)| {
                let provides = self.plugins.get(id)?.description().provides.clone();
                Some(Need { step: id.as_str().to_owned(), provides, outputs: result.outputs.clone() })
            })
            .collect()
    }
}
