//! The order in which objects of one set go in: what others need comes first, what others must wait for last.

use meshrun_protocol::ObjectRef;

use crate::cluster::Object;

/// A group of objects that can be written side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Namespaces and CRDs: nothing of their kind can be written before they are there.
    Foundations,
    /// What pods start with: accounts, rights, configuration, services, disruption budgets.
    Surroundings,
    /// Everything that makes pods, and everything else.
    Workloads,
    /// Objects of APIs that a CRD defines: a webhook of the workloads may judge them.
    Custom,
    /// Webhook configurations: from the moment they exist, requests depend on the pods behind them.
    Webhooks,
}

impl Phase {
    /// Returns the phase of an object.
    pub fn of(object: &Object) -> Self {
        Self::of_kind(object.api_version(), object.kind())
    }

    /// Returns the phase of objects of a kind.
    pub fn of_kind(api_version: &str, kind: &str) -> Self {
        match (api_version, kind) {
            (_, "Namespace" | "CustomResourceDefinition") => Self::Foundations,
            (version, "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration")
                if version.starts_with("admissionregistration.k8s.io/") =>
            {
                Self::Webhooks
            }
            (version, _) if version.starts_with("rbac.authorization.k8s.io/") => Self::Surroundings,
            (
                "v1",
                "ServiceAccount"
                | "Secret"
                | "ConfigMap"
                | "Service"
                | "ResourceQuota"
                | "LimitRange"
                | "PersistentVolume"
                | "PersistentVolumeClaim",
            )
            | ("policy/v1", "PodDisruptionBudget")
            | ("networking.k8s.io/v1", "NetworkPolicy")
            | ("scheduling.k8s.io/v1", "PriorityClass")
            | ("storage.k8s.io/v1", "StorageClass") => Self::Surroundings,
            (version, _) if is_builtin(version) => Self::Workloads,
            _ => Self::Custom,
        }
    }
}

/// The order of removals, smallest first: custom objects while their controller still lives, then the webhook
/// configurations, *then* the pods behind them (the other way round, nobody could create a pod in between), then what
/// the pods stood on, and at last what everything stood on.
pub fn removal_phase(object: &ObjectRef) -> u8 {
    match Phase::of_kind(&object.api_version, &object.kind) {
        Phase::Custom => 0,
        Phase::Webhooks => 1,
        Phase::Workloads => 2,
        Phase::Surroundings => 3,
        Phase::Foundations if object.kind == "Namespace" => 5,
        Phase::Foundations => 4,
    }
}

/// Splits objects into phases; inside a phase the order is kept.
pub fn in_phases<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Vec<&'a Object>> {
    let mut sorted: Vec<(Phase, &Object)> =
        objects.into_iter().map(|object| (Phase::of(object), object)).collect();
    sorted.sort_by_key(|(phase, _)| *phase);
    sorted
        .chunk_by(|one, other| one.0 == other.0)
        .map(|chunk| chunk.iter().map(|(_, object)| *object).collect())
        .collect()
}

/// Whether the API server itself brings this API: no dot in the group, or a group of Kubernetes' own that is not
/// defined by CRDs.
fn is_builtin(api_version: &str) -> bool {
    let Some((group, _)) = api_version.split_once('/') else { return true };
    !group.contains('.') || (group.ends_with(".k8s.io") && group != "gateway.networking.k8s.io")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str) -> Object {
        Object::new(json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "x" } })).unwrap()
    }

    #[test]
    fn orders_what_others_need_first_and_webhooks_last() {
        let objects = [
            object("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
            object("networking.istio.io/v1", "Gateway"),
            object("apps/v1", "Deployment"),
            object("autoscaling/v2", "HorizontalPodAutoscaler"),
            object("v1", "ConfigMap"),
            object("rbac.authorization.k8s.io/v1", "ClusterRole"),
            object("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ];
        let kinds: Vec<Vec<&str>> = in_phases(&objects)
            .into_iter()
            .map(|phase| phase.into_iter().map(Object::kind).collect())
            .collect();
        assert_eq!(
            kinds,
            [
                vec!["CustomResourceDefinition"],
                vec!["ConfigMap", "ClusterRole"],
                vec!["Deployment", "HorizontalPodAutoscaler"],
                vec!["Gateway"],
                vec!["MutatingWebhookConfiguration"],
            ]
        );
    }
}
