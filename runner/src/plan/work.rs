//! Actions made ready to be carried out: charts rendered, objects whole, order resolved.

use std::sync::Arc;

use meshrun_protocol::{
    Action, ActionKind, Chart, Delete, Label, ObjectRef, Probe, ProbeTarget, Restart, Scale, Wait,
    WaitCondition,
};

use super::PlanError;
use crate::{
    cluster::Object,
    helm::{Rendered, release::Stored},
};

/// One action, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Work {
    /// The action's id within its step.
    pub id: String,
    /// Indices of the works that must be done first.
    pub after: Vec<usize>,
    /// Own time limit in seconds.
    pub timeout_seconds: Option<u64>,
    /// Whether a failure is only a warning.
    pub optional: bool,
    /// What it does, for people.
    pub title: String,
    /// What it does.
    pub kind: WorkKind,
}

/// What a work does.
#[derive(Debug, Clone)]
pub enum WorkKind {
    /// Applies objects with the field manager `meshrun`.
    Apply(Vec<Object>),
    /// Applies the objects of a chart and records the release.
    Release(Box<ReleaseWork>),
    /// Deletes objects.
    Delete(Delete),
    /// Waits.
    Wait(Wait),
    /// Raises replicas.
    Scale(Scale),
    /// Sets or takes off labels.
    Label(Label),
    /// Restarts workloads.
    Restart(Restart),
    /// Probes an address.
    Probe(Probe),
}

/// A Helm release, ready to be applied and recorded.
#[derive(Debug, Clone)]
pub struct ReleaseWork {
    /// Where the chart comes from.
    pub chart: Chart,
    /// What helm rendered.
    pub rendered: Arc<Rendered>,
    /// CRDs of the chart's `crds/`, then the objects of the release: whole, with namespace and helm's labels.
    pub objects: Vec<Object>,
    /// The newest revision that is recorded now, then older ones that still count as deployed: a new one takes the
    /// place of all.
    pub recorded: Vec<Stored>,
    /// Objects of the previous revision that are no longer in the chart.
    pub obsolete: Vec<ObjectRef>,
    /// Set where a killed helm left the last revision pending: the new one takes its place.
    pub pending: Option<Pending>,
    /// Whether a new revision has to be recorded.
    pub record: bool,
}

/// A revision that was never finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// `pending-upgrade`.
    pub status: String,
    /// For how long.
    pub age: String,
}

impl ReleaseWork {
    /// The newest revision that is recorded now.
    pub fn previous(&self) -> Option<&Stored> {
        self.recorded.first()
    }

    /// The revision that would be recorded.
    pub fn next_revision(&self) -> Option<u32> {
        self.record.then(|| self.previous().map_or(1, |previous| previous.release.version + 1))
    }
}

/// Resolves `after` of a step's actions to indices.
///
/// # Errors
/// When an action names one that does not come before it, or two have the same id.
pub fn order(actions: &[Action]) -> Result<Vec<Vec<usize>>, PlanError> {
    let mut order = Vec::with_capacity(actions.len());
    for (index, action) in actions.iter().enumerate() {
        let before = &actions[..index];
        if before.iter().any(|other| other.id == action.id) {
            return Err(PlanError::WrongPlan(format!("two actions have the id `{}`", action.id)));
        }
        let after = match &action.after {
            None => index.checked_sub(1).into_iter().collect(),
            Some(ids) => ids
                .iter()
                .map(|id| {
                    before.iter().position(|other| &other.id == id).ok_or_else(|| {
                        PlanError::WrongPlan(format!(
                            "action `{}` comes after `{id}`, but no action before it has that id",
                            action.id
                        ))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        order.push(after);
    }
    Ok(order)
}

/// Says what an action does, for people.
pub fn title(action: &ActionKind) -> String {
    match action {
        ActionKind::Apply(apply) => match apply.objects.as_slice() {
            [only] => {
                let name = only["metadata"]["name"].as_str().unwrap_or("?");
                format!("apply {} {name}", only["kind"].as_str().unwrap_or("object"))
            }
            objects => format!("apply {} objects", objects.len()),
        },
        ActionKind::Helm(helm) => format!(
            "helm release {}/{} (chart {} {})",
            helm.namespace, helm.release, helm.chart.name, helm.chart.version
        ),
        ActionKind::Delete(delete) => match delete.objects.as_slice() {
            [only] => format!("delete {only}"),
            objects => format!("delete {} objects", objects.len()),
        },
        ActionKind::Wait(wait) => match wait.conditions.as_slice() {
            [only] => format!("wait for {} {}", only.object, until(&only.until)),
            [first, rest @ ..] if rest.iter().all(|other| other.object.kind == first.object.kind) => {
                format!("wait for {} {}s {}", wait.conditions.len(), first.object.kind, until(&first.until))
            }
            conditions
                if conditions.iter().all(|one| matches!(one.until, WaitCondition::WebhookReady { .. })) =>
            {
                format!("wait for {} webhooks to answer", conditions.len())
            }
            conditions => format!("wait for {} conditions", conditions.len()),
        },
        ActionKind::Scale(scale) => format!("scale {} to at least {}", scale.workload, scale.at_least),
        ActionKind::Label(label) => {
            let changes: Vec<String> = label
                .labels
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => format!("{key}-"),
                })
                .collect();
            format!("label {} {}", label.object, changes.join(" "))
        }
        ActionKind::Restart(restart) => match restart.workloads.as_slice() {
            [only] => format!("restart {only} ({})", restart.reason),
            workloads => format!("restart {} workloads ({})", workloads.len(), restart.reason),
        },
        ActionKind::Probe(probe) => match &probe.target {
            ProbeTarget::Http(http) => format!("probe {}", http.url),
            ProbeTarget::Tcp { address } => format!("probe tcp {address}"),
        },
    }
}

fn until(condition: &WaitCondition) -> String {
    match condition {
        WaitCondition::Exists => "to exist".into(),
        WaitCondition::Deleted => "to be gone".into(),
        WaitCondition::Established => "to be established".into(),
        WaitCondition::Available { .. } => "to be ready".into(),
        WaitCondition::Condition { condition, status } => format!("to have {condition}={status}"),
        WaitCondition::Expression { cel } => format!("to have `{cel}`"),
        WaitCondition::LoadBalancerAddress => "to have an address".into(),
        WaitCondition::WebhookReady { fail_closed: true } => "to answer and fail closed".into(),
        WaitCondition::WebhookReady { fail_closed: false } => "to answer".into(),
    }
}
