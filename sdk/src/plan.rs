//! Builds the answer of [`crate::Step::plan`].

use meshrun_protocol::{
    Action, ActionKind, Apply, Delete, Diagnostic, Helm, Http, Label, ObjectRef, Output, PlanResponse, Probe,
    ProbeTarget, Restart, Scale, Wait, WaitCondition, WaitFor,
};
use serde_json::Value;

/// Actions in order, outputs and findings of a step.
///
/// An action follows the one before it unless [`Plan::after`] says otherwise; [`Plan::timeout`] and
/// [`Plan::optional`] speak of the action added last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    response: PlanResponse,
}

impl Plan {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies objects with server-side apply.
    #[must_use]
    pub fn apply(self, id: &str, objects: Vec<Value>) -> Self {
        self.action(id, ActionKind::Apply(Apply { objects }))
    }

    /// Installs or upgrades a Helm release.
    #[must_use]
    pub fn helm(self, id: &str, release: Helm) -> Self {
        self.action(id, ActionKind::Helm(release))
    }

    /// Deletes objects.
    #[must_use]
    pub fn delete(self, id: &str, objects: Vec<ObjectRef>) -> Self {
        self.action(id, ActionKind::Delete(Delete { objects }))
    }

    /// Waits until one condition holds.
    #[must_use]
    pub fn wait(self, id: &str, object: ObjectRef, until: WaitCondition) -> Self {
        self.wait_all(id, vec![WaitFor { object, until }])
    }

    /// Waits until all conditions hold.
    #[must_use]
    pub fn wait_all(self, id: &str, conditions: Vec<WaitFor>) -> Self {
        self.action(id, ActionKind::Wait(Wait { conditions }))
    }

    /// Raises the replicas of a workload to a lower bound.
    #[must_use]
    pub fn scale(self, id: &str, workload: ObjectRef, at_least: u32) -> Self {
        self.action(id, ActionKind::Scale(Scale { workload, at_least }))
    }

    /// Sets labels on, or takes them off, an object that belongs to somebody else.
    #[must_use]
    pub fn label(self, id: &str, object: ObjectRef, labels: &[(&str, Option<&str>)]) -> Self {
        let labels =
            labels.iter().map(|(key, value)| ((*key).to_owned(), value.map(ToOwned::to_owned))).collect();
        self.action(id, ActionKind::Label(Label { object, labels }))
    }

    /// Restarts workloads, one after another.
    #[must_use]
    pub fn restart(self, id: &str, workloads: Vec<ObjectRef>, reason: &str) -> Self {
        self.action(id, ActionKind::Restart(Restart { workloads, reason: reason.into() }))
    }

    /// Sends an HTTP GET from the host's machine until it is answered with one of these status codes.
    #[must_use]
    pub fn probe_http(self, id: &str, url: &str, status: &[u16]) -> Self {
        let target = ProbeTarget::Http(Http { url: url.into(), status: status.to_vec() });
        self.action(id, ActionKind::Probe(Probe { target }))
    }

    /// Adds any action.
    #[must_use]
    pub fn action(mut self, id: &str, kind: ActionKind) -> Self {
        self.response.actions.push(Action {
            id: id.into(),
            after: None,
            timeout_seconds: None,
            optional: false,
            kind,
        });
        self
    }

    /// Lets the last action start once these are done, instead of the one before it.
    #[must_use]
    pub fn after(mut self, ids: &[&str]) -> Self {
        if let Some(action) = self.response.actions.last_mut() {
            action.after = Some(ids.iter().map(|id| (*id).to_owned()).collect());
        }
        self
    }

    /// Gives the last action its own time limit.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        if let Some(action) = self.response.actions.last_mut() {
            action.timeout_seconds = Some(seconds);
        }
        self
    }

    /// Makes a failure of the last action a warning.
    #[must_use]
    pub fn optional(mut self) -> Self {
        if let Some(action) = self.response.actions.last_mut() {
            action.optional = true;
        }
        self
    }

    /// Sets an output that is known now.
    #[must_use]
    pub fn output(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.response.outputs.insert(name.into(), Output::Value { value: value.into() });
        self
    }

    /// Sets an output that is read from an object once the actions are done; the first pointer that is there counts.
    #[must_use]
    pub fn output_from(mut self, name: &str, object: ObjectRef, pointers: &[&str]) -> Self {
        let pointers = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        self.response.outputs.insert(name.into(), Output::FromObject { object, pointers });
        self
    }

    /// Adds a finding that needed a look at the cluster.
    #[must_use]
    pub fn diagnostic(mut self, diagnostic: Diagnostic) -> Self {
        self.response.diagnostics.push(diagnostic);
        self
    }

    /// The actions so far, for tests.
    pub fn actions(&self) -> &[Action] {
        &self.response.actions
    }

    /// The message to the host.
    pub fn into_response(self) -> PlanResponse {
        self.response
    }
}
