//! Whether Istio's CRDs are there, established and of the right version.

use meshrun_plugin_common::{checks, crds, labels_of, list, name_of};
use meshrun_sdk::prelude::{Check, Cx, Result};

use crate::{Config, release::excluded};

const VERSION_LABEL: &str = "app.kubernetes.io/version";

pub(crate) fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let excluded = excluded(config);
    let names: Vec<&str> =
        crds(&config.version).into_iter().filter(|name| !excluded.contains(name)).collect();
    Ok(vec![
        checks::crds_established(cx, "istio-crds", "Istio's CRDs are established", &names)?,
        apis_served(config, cx)?,
        crd_version(config, cx, &names)?,
    ])
}

fn apis_served(config: &Config, cx: &Cx<'_>) -> Result<Check> {
    let (id, title) = ("istio-apis", format!("the cluster serves Istio's APIs of {}", config.version));
    let wanted = [
        (config.version.networking_api(), "Gateway"),
        (config.version.security_api(), "PeerAuthentication"),
        (config.version.telemetry_api(), "Telemetry"),
    ];
    let mut missing = Vec::new();
    for (api_version, kind) in wanted {
        if !cx.serves(api_version, kind)? {
            missing.push(format!("{kind} in {api_version}"));
        }
    }
    let served = wanted.map(|(api_version, _)| api_version).join(", ");
    Ok(if missing.is_empty() {
        Check::passed(id, title, served)
    } else {
        Check::failed(id, title, format!("not served: {}", missing.join(", ")))
            .with_hint("the CRDs are older than the version asked for: run the pipeline, it upgrades them")
    })
}

fn crd_version(config: &Config, cx: &Cx<'_>, names: &[&str]) -> Result<Check> {
    let (id, title) = ("istio-crd-version", format!("the CRDs are those of {}", config.version));
    if !config.version.at_least(1, 24) {
        return Ok(Check::skipped(id, title, "CRDs carry a version from Istio 1.24 on"));
    }
    let crds = list(cx, "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "")?;
    let others: Vec<String> = crds
        .iter()
        .filter(|crd| names.contains(&name_of(crd)))
        .filter_map(|crd| {
            let labels = labels_of(crd);
            let version = labels.get(VERSION_LABEL).map_or("none", String::as_str);
            (version != config.version.as_str()).then(|| format!("{} ({version})", name_of(crd)))
        })
        .collect();
    Ok(if others.is_empty() {
        Check::passed(id, title, format!("label {VERSION_LABEL} says so"))
    } else {
        Check::warning(id, title, format!("of another version: {}", others.join(", ")))
            .with_hint("another release or tool may manage them")
    })
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{CheckStatus, Value, json},
        serde_json::from_value,
        testing::FakeCluster,
    };

    use super::*;

    fn crd(name: &str, version: &str) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": name, "labels": { VERSION_LABEL: version } },
            "status": { "conditions": [{ "type": "Established", "status": "True" }] },
        })
    }

    fn summary(version: &str, cluster: &FakeCluster) -> Result<Vec<(CheckStatus, String)>> {
        let config: Config = from_value(json!({ "version": version })).expect("a configuration");
        let checks = check(&config, &cluster.cx("base"))?;
        Ok(checks.into_iter().map(|check| (check.status, check.evidence)).collect())
    }

    #[test]
    fn healthy_base() -> Result<()> {
        let version = "1.30.3".parse().expect("a version");
        let cluster = crds(&version)
            .into_iter()
            .fold(FakeCluster::new(), |cluster, name| cluster.with(crd(name, "1.30.3")))
            .serving("networking.istio.io/v1", "Gateway")
            .serving("security.istio.io/v1", "PeerAuthentication")
            .serving("telemetry.istio.io/v1", "Telemetry");
        assert_eq!(
            summary("1.30.3", &cluster)?,
            [
                (CheckStatus::Passed, "15 CRDs are established".into()),
                (
                    CheckStatus::Passed,
                    "networking.istio.io/v1, security.istio.io/v1, telemetry.istio.io/v1".into()
                ),
                (CheckStatus::Passed, "label app.kubernetes.io/version says so".into()),
            ]
        );
        Ok(())
    }

    #[test]
    fn empty_cluster_names_what_is_missing() -> Result<()> {
        let summary = summary("1.19.3", &FakeCluster::new())?;
        assert_eq!(summary[1].0, CheckStatus::Failed);
        assert_eq!(
            summary[1].1,
            "not served: Gateway in networking.istio.io/v1beta1, PeerAuthentication in security.istio.io/v1beta1, \
             Telemetry in telemetry.istio.io/v1alpha1"
        );
        assert_eq!(summary[2], (CheckStatus::Skipped, "CRDs carry a version from Istio 1.24 on".into()));
        Ok(())
    }

    #[test]
    fn crd_of_another_version_is_a_warning() -> Result<()> {
        let cluster = FakeCluster::new().with(crd("gateways.networking.istio.io", "1.29.0"));
        let summary = summary("1.30.3", &cluster)?;
        assert_eq!(
            summary[2],
            (CheckStatus::Warning, "of another version: gateways.networking.istio.io (1.29.0)".into())
        );
        Ok(())
    }
}
