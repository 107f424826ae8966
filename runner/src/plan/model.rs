//! What a plan says: steps, actions, changes; the same types for text, JSON and Markdown.

use meshrun_protocol::{Diagnostic, ObjectRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::StepId;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The cluster it was made against: context and server, or `rehearsal`.
    pub cluster: String,
    /// Steps in the order of the pipeline file.
    pub steps: Vec<StepPlan>,
}

/// What a run would do for one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The step.
    pub id: StepId,
    /// Its plugin.
    pub uses: String,
    /// Steps that come first.
    pub needs: Vec<StepId>,
    /// How much is known.
    pub state: StepState,
    /// Actions in order; empty where nothing is known yet.
    pub actions: Vec<PlannedAction>,
    /// What the plugin has to say.
    pub diagnostics: Vec<Diagnostic>,
}

/// How much of a step is known while planning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StepState {
    /// The plugin has said what should be there.
    Planned,
    /// Its configuration needs outputs of a step that has not run; it is planned once that step is done.
    KnownAfter {
        /// The step whose outputs are missing.
        step: StepId,
    },
    /// It will not run.
    Skipped {
        /// Why: its `if` is false, `--only` leaves it out.
        reason: String,
    },
}

/// One action and what it would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedAction {
    /// Name within the step.
    pub id: String,
    /// What it does, for people: `helm release istio-system/istiod (istiod 1.19.3)`.
    pub title: String,
    /// Objects it would change or leave alone; empty for waits and probes.
    pub changes: Vec<Change>,
    /// For a Helm release: the revision that would be recorded; `None` where nothing would be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// What would happen to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// What would happen to it.
    pub verb: Verb,
    /// The tool whose fields would be taken over, where it wrote the object: `helm`, `kubectl-client-side-apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<String>,
    /// Fields that would change, sorted by path; secrets are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// What would happen to an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It does not exist and would be created.
    Create,
    /// It exists and fields of it would change.
    Update,
    /// It is as it should be.
    Unchanged,
    /// It would be deleted.
    Delete,
    /// It would be deleted and created anew, because an immutable field changes.
    Replace,
    /// Its API is not served yet; it would be created once it is.
    CreateLater,
}

/// One field that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Path as people write it: `spec.template.spec.containers[name=discovery].image`.
    pub path: String,
    /// The value now; `None` where there is none.
    pub before: Option<Value>,
    /// The value then; `None` where it would be removed.
    pub after: Option<Value>,
}

impl Plan {
    /// Counts changes by verb.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in self.steps.iter().flat_map(|step| &step.actions).flat_map(|action| &action.changes) {
            match change.verb {
                Verb::Create | Verb::CreateLater => counts.create += 1,
                Verb::Update => counts.update += 1,
                Verb::Unchanged => counts.unchanged += 1,
                Verb::Delete => counts.delete += 1,
                Verb::Replace => counts.replace += 1,
            }
        }
        counts.unknown =
            self.steps.iter().filter(|step| matches!(step.state, StepState::KnownAfter { .. })).count();
        counts.releases = self
            .steps
            .iter()
            .flat_map(|step| &step.actions)
            .filter(|action| action.revision.is_some())
            .count();
        counts
    }
}

/// Objects by what would happen to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Objects to create.
    pub create: usize,
    /// Objects to change.
    pub update: usize,
    /// Objects that are as they should be.
    pub unchanged: usize,
    /// Objects to delete.
    pub delete: usize,
    /// Objects to delete and create anew.
    pub replace: usize,
    /// Steps that can only be planned during the run.
    pub unknown: usize,
    /// Helm releases that would be recorded.
    pub releases: usize,
}

impl Counts {
    /// Whether a run would write anything.
    pub fn any(&self) -> bool {
        self.create + self.update + self.delete + self.replace + self.unknown + self.releases > 0
    }
}
