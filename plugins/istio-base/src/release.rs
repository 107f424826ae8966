//! What should be there: the namespace, the release, and all CRDs established.

use meshrun_plugin_common::{ISTIO_CHARTS, crds, object, values};
use meshrun_sdk::prelude::{Cx, Helm, ObjectRef, Plan, Value, WaitCondition, WaitFor, json};

use crate::Config;

const NETWORK_LABEL: &str = "topology.istio.io/network";

pub(crate) fn plan(config: &Config, cx: &Cx<'_>) -> Plan {
    let mut plan = Plan::new();
    if let Some(diagnostic) = config.version.kubernetes("/version", &cx.cluster().kubernetes_version) {
        plan = plan.diagnostic(diagnostic);
    }
    if config.create_namespace {
        plan = plan.apply("namespace", vec![namespace(config)]);
    }
    plan.helm("chart", release(config))
        .wait_all("crds", crds_established(config))
        .output("version", config.version.as_str())
        .output("namespace", config.namespace.as_str())
}

fn namespace(config: &Config) -> Value {
    let mut labels = config.namespace_labels.clone();
    if let Some(network) = &config.network {
        labels.insert(NETWORK_LABEL.into(), network.as_str().into());
    }
    object("v1", "Namespace", &config.namespace).labels(&labels).build()
}

fn release(config: &Config) -> Helm {
    let mut typed = json!({
        "global": { "istioNamespace": config.namespace },
        "defaultRevision": config.default_revision,
    });
    values::prune(&mut typed);
    Helm {
        release: config.release.clone(),
        namespace: config.namespace.clone(),
        chart: config.chart.chart("base", config.version.as_str(), ISTIO_CHARTS),
        values: values::with_raw(typed, &config.values),
    }
}

fn crds_established(config: &Config) -> Vec<WaitFor> {
    let excluded = excluded(config);
    crds(&config.version)
        .into_iter()
        .filter(|name| !excluded.contains(name))
        .map(|name| WaitFor {
            object: ObjectRef::cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition", name),
            until: WaitCondition::Established,
        })
        .collect()
}

/// CRDs that raw values leave out (`base.excludedCRDs`).
pub(crate) fn excluded(config: &Config) -> Vec<&str> {
    let list = config.values.get("base").and_then(|base| base["excludedCRDs"].as_array());
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{Step, serde_json::from_value, testing::FakeCluster};

    use super::*;
    use crate::IstioBase;

    fn config(with: Value) -> Config {
        from_value(with).expect("a configuration")
    }

    #[test]
    fn guide_step_1_and_2() {
        let config = config(json!({
            "version": "1.19.3",
            "namespace_labels": { "app.kubernetes.io/managed-by": "manual" },
        }));
        let plan = plan(&config, &FakeCluster::new().cx("base"));
        insta::assert_json_snapshot!(plan.into_response());
    }

    #[test]
    fn newer_version_network_and_revision() {
        let config = config(json!({
            "version": "1.30.3", "namespace": "mesh", "network": "eks-cluster", "default_revision": "1-30",
            "values": { "base": { "excludedCRDs": ["envoyfilters.networking.istio.io"] } },
        }));
        let response = plan(&config, &FakeCluster::new().cx("base")).into_response();
        insta::assert_json_snapshot!(response.actions[0].kind, @r#"
        {
          "type": "apply",
          "objects": [
            {
              "apiVersion": "v1",
              "kind": "Namespace",
              "metadata": {
                "name": "mesh",
                "labels": {
                  "topology.istio.io/network": "eks-cluster"
                }
              }
            }
          ]
        }
        "#);
        let values = json!(response.actions[1].kind)["values"].clone();
        assert_eq!(
            values,
            json!({
                "global": { "istioNamespace": "mesh" }, "defaultRevision": "1-30",
                "base": { "excludedCRDs": ["envoyfilters.networking.istio.io"] },
            })
        );
        assert_eq!(json!(response.actions[2].kind)["for"].as_array().map(Vec::len), Some(14));
    }

    #[test]
    fn existing_namespace_is_left_alone() {
        let config = config(json!({ "version": "1.30.3", "create_namespace": false, "network": "one" }));
        let plan = plan(&config, &FakeCluster::new().cx("base"));
        assert_eq!(
            plan.actions().iter().map(|action| action.id.as_str()).collect::<Vec<_>>(),
            ["chart", "crds"]
        );
        let lint = IstioBase::lint(&config);
        assert_eq!(lint.len(), 1);
        assert_eq!(lint[0].message, "the namespace gets no labels, because `create_namespace` is false");
    }

    #[test]
    fn too_old_cluster_is_refused() {
        let config = config(json!({ "version": "1.30.3" }));
        let response = plan(&config, &FakeCluster::new().version("v1.28.2").cx("base")).into_response();
        assert_eq!(
            response.diagnostics.iter().map(|found| found.message.as_str()).collect::<Vec<_>>(),
            ["Istio 1.30.3 needs Kubernetes 1.32, the cluster has v1.28.2"]
        );
    }

    #[test]
    fn unknown_field_is_an_error() {
        let error =
            from_value::<Config>(json!({ "version": "1.30.3", "namespce": "x" })).expect_err("a typo");
        assert!(
            error.to_string().starts_with("unknown field `namespce`, expected one of `version`"),
            "{error}"
        );
    }
}
