//! The closed vocabulary of effects: a plugin returns actions, only the host carries them out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ObjectRef;

/// One thing the host shall do for a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// Name within the step: `chart`, `webhooks`.
    pub id: String,
    /// Actions of the same step that must be done first; `None` means the one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Own time limit in seconds; `None` leaves it to the step's timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// A failure is a warning and the step goes on: for phases such as the wait for a load balancer's address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What to do.
    #[serde(rename = "do")]
    pub kind: ActionKind,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ActionKind {
    /// Server-side apply of objects.
    Apply(Apply),
    /// A chart, rendered by helm, applied by meshrun, recorded as a Helm release.
    Helm(Helm),
    /// Deletion of objects.
    Delete(Delete),
    /// Waiting, by watch, until conditions hold.
    Wait(Wait),
    /// Raising the replicas of a workload through the scale subresource.
    Scale(Scale),
    /// Labels of an object that belongs to somebody else.
    Label(Label),
    /// A rollout restart.
    Restart(Restart),
    /// A request from the host's machine that must be answered as expected.
    Probe(Probe),
}

/// Objects to apply with server-side apply and the field manager `meshrun`, in dependency order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// Whole objects with `apiVersion`, `kind`, `metadata.name`.
    pub objects: Vec<Value>,
}

/// A Helm release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Helm {
    /// Release name.
    pub release: String,
    /// Release namespace.
    pub namespace: String,
    /// The chart and where it comes from.
    pub chart: Chart,
    /// Values; the chart's defaults are below them.
    #[serde(default)]
    pub values: Value,
}

/// A chart and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Chart {
    /// Chart name in its repository (`istiod`).
    pub name: String,
    /// Exact version (`1.19.3`).
    pub version: String,
    /// Repository URL (`https://...` or `oci://...`), used where no mirror holds the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A local chart directory or archive; goes before everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Objects to delete; one that does not exist is done already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// What to delete, in this order.
    pub objects: Vec<ObjectRef>,
}

/// Conditions that must all hold; they are watched side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// The conditions.
    #[serde(rename = "for")]
    pub conditions: Vec<WaitFor>,
}

/// One condition on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitFor {
    /// The object to watch.
    pub object: ObjectRef,
    /// What must hold.
    pub until: WaitCondition,
}

/// What a wait waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum WaitCondition {
    /// The object is there.
    Exists,
    /// The object is gone.
    Deleted,
    /// A CRD is `Established` (and `NamesAccepted` is not `False`).
    Established,
    /// A Deployment, StatefulSet or DaemonSet runs its newest generation and every replica it asks for is ready.
    Available {
        /// Replicas that must be ready at least, where an autoscaler will ask for more than the object does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_replicas: Option<u32>,
        /// A ReplicaSet whose pod creation backs off though its cause is gone is nudged with an annotation.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        nudge: bool,
    },
    /// `status.conditions` holds one of this type and status.
    Condition {
        /// `Ready`.
        condition: String,
        /// `True` where not said.
        #[serde(default = "yes")]
        status: String,
    },
    /// A CEL expression over `object` is true: `object.status.phase == 'Running'`.
    Expression {
        /// The expression.
        cel: String,
    },
    /// A Service of type LoadBalancer has an address.
    LoadBalancerAddress,
    /// Every webhook of a Mutating- or ValidatingWebhookConfiguration has a CA bundle, a ready endpoint behind its
    /// service and, where asked for, `failurePolicy: Fail`.
    WebhookReady {
        /// Also wait until every webhook fails closed.
        #[serde(default)]
        fail_closed: bool,
    },
}

fn yes() -> String {
    "True".into()
}

/// A lower bound for the replicas of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scale {
    /// A Deployment or StatefulSet.
    pub workload: ObjectRef,
    /// Replicas to ask for where it asks for fewer now; more are left alone.
    pub at_least: u32,
}

/// Labels to set on, or to take off, an object that belongs to somebody else, such as a user's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// The object.
    pub object: ObjectRef,
    /// Labels by key; `null` takes one off.
    pub labels: BTreeMap<String, Option<String>>,
}

/// A rollout restart of workloads, one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// Deployments, StatefulSets or DaemonSets.
    pub workloads: Vec<ObjectRef>,
    /// Why, for the plan: `pods run the proxy of 1.18.2`.
    pub reason: String,
}

/// A request that must be answered as expected; tried again until the action's time is up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// What to ask.
    pub target: ProbeTarget,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ProbeTarget {
    /// An HTTP GET; redirects are not followed.
    Http(Http),
    /// A TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
    },
}

/// An HTTP expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Http {
    /// `http://host:port/path`.
    pub url: String,
    /// Status codes that are right.
    pub status: Vec<u16>,
}
