//! The vocabulary between the engine and the reporters: what happened, in the order it happened.
//!
//! This is also the format of `--report json`: one event a line, so every name here is an interface.

use std::time::Duration;

use meshrun_protocol::{Check, Diagnostic, ObjectRef};
use serde::Serialize;

use crate::ids::StepId;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// Name of the pipeline.
        pipeline: String,
        /// Path of the pipeline file as given.
        file: String,
        /// The cluster: context and server, or `rehearsal`.
        cluster: String,
        /// The steps, in the order of the file.
        steps: Vec<StepInfo>,
    },
    /// A plugin or the engine has something to say about a step's configuration.
    Diagnosed {
        /// The step; `None` for the pipeline as a whole.
        step: Option<StepId>,
        /// What it says.
        diagnostic: Diagnostic,
        /// `file:line:column`, where known.
        place: Option<String>,
    },
    /// A step begins, or begins again.
    StepStarted {
        /// The step.
        step: StepId,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// An action begins.
    ActionStarted {
        /// The step.
        step: StepId,
        /// The action's id within the step.
        action: String,
        /// What it does, for people.
        title: String,
    },
    /// Why an action is not done yet: `istiod-7d9-x2x: ImagePullBackOff: ...`. Sent when the reason changes.
    Waiting {
        /// The step.
        step: StepId,
        /// The action.
        action: String,
        /// The reason.
        reason: String,
    },
    /// An object was written, or found as it should be.
    ObjectDone {
        /// The step.
        step: StepId,
        /// The action.
        action: String,
        /// The object.
        object: ObjectRef,
        /// What was done to it.
        done: Done,
    },
    /// A Helm release was recorded.
    ReleaseRecorded {
        /// The step.
        step: StepId,
        /// Release name.
        release: String,
        /// Release namespace.
        namespace: String,
        /// The new revision.
        revision: u32,
    },
    /// An action ended.
    ActionFinished {
        /// The step.
        step: StepId,
        /// The action.
        action: String,
        /// How it ended.
        outcome: ActionOutcome,
        /// How long it took.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A check of a step was made.
    Checked {
        /// The step.
        step: StepId,
        /// The check and its evidence.
        check: Check,
    },
    /// A step failed and will be tried again.
    StepRetrying {
        /// The step.
        step: StepId,
        /// The attempt that failed.
        attempt: u32,
        /// Attempts in all.
        attempts: u32,
        /// Time until the next one.
        #[serde(rename = "backoffSeconds", serialize_with = "seconds")]
        backoff: Duration,
        /// Why it failed.
        error: Problem,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: StepId,
        /// How it ended.
        outcome: StepOutcome,
        /// How long it took.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        /// Objects by what was done to them.
        tally: Tally,
    },
    /// Ctrl-C or SIGTERM arrived: nothing new is started, the work in hand is finished; once more gives it up.
    Interrupted,
    /// A run ended.
    RunFinished {
        /// How it ended.
        outcome: RunOutcome,
        /// How long it took.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        /// Objects of all steps by what was done to them.
        tally: Tally,
    },
}

/// A step as the reporters need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepInfo {
    /// Its id.
    pub id: StepId,
    /// Its plugin.
    pub uses: String,
    /// Steps that come first.
    pub needs: Vec<StepId>,
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// It did not exist.
    Created,
    /// Fields of it changed.
    Updated,
    /// Its fields were taken over from the tool that wrote it before.
    Adopted,
    /// It was as it should be.
    Unchanged,
    /// It was deleted.
    Deleted,
    /// Its replicas were raised.
    Scaled,
    /// Its pods are being replaced.
    Restarted,
    /// A ReplicaSet in back-off was made to try again.
    Nudged,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ActionOutcome {
    /// It is done.
    Done,
    /// It failed, and the step with it.
    Failed {
        /// Why.
        error: Problem,
    },
    /// It failed, but the step goes on: the action is optional.
    Tolerated {
        /// Why.
        error: Problem,
    },
    /// It was given up because the run was stopped.
    Cancelled,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Everything is as it should be.
    Succeeded,
    /// It failed.
    Failed {
        /// Why.
        error: Problem,
        /// `continue-on-error`: the run goes on as if it had succeeded.
        tolerated: bool,
    },
    /// It did not run.
    Skipped {
        /// Why: `needs istiod, which failed`.
        reason: String,
    },
    /// It was stopped by Ctrl-C or SIGTERM.
    Cancelled,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every step succeeded or was skipped on purpose.
    Succeeded,
    /// A step failed.
    Failed,
    /// It was stopped.
    Interrupted,
}

/// An error as people read it: the chain of causes as one text, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From what was being done to the last cause, joined by `: `.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Objects by what was done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Created.
    pub created: usize,
    /// Updated, scaled, restarted or nudged.
    pub updated: usize,
    /// Taken over from another tool.
    pub adopted: usize,
    /// As they should be.
    pub unchanged: usize,
    /// Deleted.
    pub deleted: usize,
}

impl Tally {
    /// Counts one object.
    pub fn count(&mut self, done: Done) {
        match done {
            Done::Created => self.created += 1,
            Done::Updated | Done::Scaled | Done::Restarted | Done::Nudged => self.updated += 1,
            Done::Adopted => self.adopted += 1,
            Done::Unchanged => self.unchanged += 1,
            Done::Deleted => self.deleted += 1,
        }
    }

    /// Whether anything was written.
    pub fn wrote(&self) -> bool {
        self.created + self.updated + self.adopted + self.deleted > 0
    }

    /// Adds another tally.
    pub fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.adopted += other.adopted;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
    }
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((elapsed.as_secs_f64() * 1000.0).round() / 1000.0)
}
