//! What has to happen when this istiod goes: sidecars leave while it can still answer, and what it made by itself
//! goes after it.
//!
//! A proxy that outlives its istiod works until its certificate ends, within 24 hours, and then fails every request.
//! A namespace that keeps its label gets no pods at all, because its webhook fails closed.

mod leftovers;
mod reach;
mod sidecars;

use meshrun_sdk::{
    prelude::{Cx, Plan, Result},
    protocol::TeardownResponse,
};
use reach::Reach;

use crate::Config;

pub(crate) fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
    let reach = Reach::read(config, cx)?;
    let (before, staying) = sidecars::take_off(&reach, cx, Plan::new())?;
    let before = before.into_response();
    let after = leftovers::find(&reach, cx)?;
    Ok(TeardownResponse {
        before: before.actions,
        custom: Vec::new(),
        leftovers: [after.leftovers, staying].concat(),
        diagnostics: [before.diagnostics, after.findings].concat(),
    })
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{Value, json},
        serde_json::from_value,
        testing::FakeCluster,
    };

    use super::*;

    pub(super) fn config(mut with: Value) -> Config {
        with["version"] = json!("1.30.3");
        from_value(with).expect("a configuration")
    }

    /// An object of any kind with labels.
    pub(super) fn object(api_version: &str, kind: &str, namespace: &str, name: &str, labels: Value) -> Value {
        let mut object = json!({
            "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "labels": labels },
        });
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    }

    pub(super) fn namespace(name: &str, labels: Value) -> Value {
        object("v1", "Namespace", "", name, labels)
    }

    pub(super) fn istiod(namespace: &str, name: &str) -> Value {
        object("apps/v1", "Deployment", namespace, name, json!({ "app": "istiod" }))
    }

    pub(super) fn tag(name: &str, revision: &str) -> Value {
        let labels = json!({ "istio.io/tag": name, "istio.io/rev": revision });
        object(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "",
            &format!("istio-revision-tag-{name}"),
            labels,
        )
    }

    #[test]
    fn empty_cluster_has_nothing_to_take_off_and_nothing_left() -> Result<()> {
        let cluster = FakeCluster::new().rehearsal();
        assert_eq!(teardown(&config(json!({})), &cluster.cx("istiod"))?, TeardownResponse::default());
        Ok(())
    }

    #[test]
    fn unreadable_cluster_is_an_error() {
        let cluster = FakeCluster::new().forbidding("pods is forbidden");
        let error = teardown(&config(json!({})), &cluster.cx("istiod")).expect_err("no right to read");
        assert_eq!(error.to_string(), "pods is forbidden");
    }
}
