//! What people made with Istio's APIs: it goes with the CRDs, so it is backed up before.
//!
//! The CRDs that are there say what to look for, because an upgrade leaves kinds behind that its version has not.

use meshrun_plugin_common::{list, name_of};
use meshrun_sdk::{
    prelude::{Cx, ListQuery, Result, Value},
    protocol::TeardownResponse,
};

use crate::{Config, release::excluded};

/// API groups that the chart `base` brings; another tool may have CRDs in other groups of `istio.io`.
const GROUPS: [&str; 5] = [
    "extensions.istio.io",
    "install.istio.io",
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
];

pub(crate) fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
    let excluded = excluded(config);
    let crds = list(cx, "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "")?;
    let ours = crds.iter().filter(|crd| !excluded.contains(&name_of(crd)));
    Ok(TeardownResponse { custom: ours.filter_map(objects_of).collect(), ..TeardownResponse::default() })
}

/// The objects of one of Istio's CRDs, in a version that the cluster serves.
fn objects_of(crd: &Value) -> Option<ListQuery> {
    let group = crd["spec"]["group"].as_str().filter(|group| GROUPS.contains(group))?;
    Some(ListQuery {
        api_version: format!("{group}/{}", served(crd)?),
        kind: crd["spec"]["names"]["kind"].as_str()?.to_owned(),
        namespace: None,
        labels: None,
    })
}

/// The most stable version that is served: the one that later CRDs will serve too.
fn served(crd: &Value) -> Option<&str> {
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let names =
        versions.filter(|version| version["served"] == true).filter_map(|version| version["name"].as_str());
    names.max_by_key(|name| (!name.contains("alpha"), !name.contains("beta"), *name))
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn crd(plural: &str, group: &str, kind: &str, versions: &[(&str, bool)]) -> Value {
        let versions: Vec<Value> =
            versions.iter().map(|(name, served)| json!({ "name": name, "served": served })).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": { "group": group, "names": { "kind": kind }, "versions": versions },
        })
    }

    fn cluster() -> FakeCluster {
        FakeCluster::new()
            .with(crd(
                "gateways",
                "networking.istio.io",
                "Gateway",
                &[("v1alpha3", true), ("v1", true), ("v1beta1", true)],
            ))
            .with(crd("envoyfilters", "networking.istio.io", "EnvoyFilter", &[("v1alpha3", true)]))
            .with(crd(
                "peerauthentications",
                "security.istio.io",
                "PeerAuthentication",
                &[("v1", false), ("v1beta1", true)],
            ))
            .with(crd("telemetries", "telemetry.istio.io", "Telemetry", &[("v1", true), ("v1alpha1", true)]))
            .with(crd("wasmplugins", "extensions.istio.io", "WasmPlugin", &[("v1alpha1", true)]))
            .with(crd("istios", "sailoperator.io", "Istio", &[("v1", true)]))
            .with(crd("gateways", "gateway.networking.k8s.io", "Gateway", &[("v1", true)]))
    }

    fn custom(with: Value, cluster: &FakeCluster) -> Result<Vec<String>> {
        let config: Config = from_value(with).expect("a configuration");
        let response = teardown(&config, &cluster.cx("base"))?;
        assert_eq!((response.before.len(), response.leftovers.len(), response.diagnostics.len()), (0, 0, 0));
        let all = |query: &ListQuery| query.namespace.is_none() && query.labels.is_none();
        assert!(response.custom.iter().all(all));
        Ok(response.custom.into_iter().map(|query| format!("{} {}", query.api_version, query.kind)).collect())
    }

    #[test]
    fn every_kind_of_istio_is_backed_up_in_its_most_stable_served_version() -> Result<()> {
        assert_eq!(
            custom(json!({ "version": "1.30.3" }), &cluster())?,
            [
                "networking.istio.io/v1 Gateway",
                "networking.istio.io/v1alpha3 EnvoyFilter",
                "security.istio.io/v1beta1 PeerAuthentication",
                "telemetry.istio.io/v1 Telemetry",
                "extensions.istio.io/v1alpha1 WasmPlugin",
            ]
        );
        Ok(())
    }

    #[test]
    fn crd_that_the_release_leaves_out_is_somebody_elses() -> Result<()> {
        let with = json!({
            "version": "1.30.3", "values": { "base": { "excludedCRDs": ["gateways.networking.istio.io"] } },
        });
        let kinds = custom(with, &cluster())?;
        assert_eq!(kinds[0], "networking.istio.io/v1alpha3 EnvoyFilter");
        Ok(())
    }

    #[test]
    fn cluster_without_crds_has_nothing_to_back_up() -> Result<()> {
        assert!(custom(json!({ "version": "1.30.3" }), &FakeCluster::new().rehearsal())?.is_empty());
        Ok(())
    }
}
