//! Whether the gateway would be of a later minor than the control plane: Istio's control plane goes first.

use meshrun_plugin_common::{ControlPlane, IstioVersion, ordered_version, refuse_skew};
use meshrun_sdk::prelude::{Cx, Diagnostic, Need, Result};

use crate::Config;

const CONTROL_PLANE: &str = "mesh.control-plane";

/// Refuses a gateway ahead of its control plane. A step of the same run that brings the control plane counts with what
/// it is going to install; else the cluster does with what is installed.
pub(crate) fn finding(config: &Config, cx: &Cx<'_>) -> Result<Option<Diagnostic>> {
    let plane = config.control_plane();
    let coming = cx.providers(CONTROL_PLANE).find(|provider| brings(provider, &plane));
    let (version, hint) = match coming {
        // Without a known version nothing can be said now; the step is planned again once the other has run.
        Some(provider) => {
            (version_of(provider), format!("raise the version of step `{}` as well", provider.step))
        }
        None => (ordered_version(cx, &plane)?, "upgrade the control plane first".to_owned()),
    };
    Ok(version.filter(|version| config.version.is_ahead_of(version, 0)).map(|version| {
        let message = format!(
            "the gateway's {} is of a later minor than the control plane's {version}",
            config.version
        );
        refuse_skew(cx, "/version", message)
            .with_code("istio/data-plane-ahead")
            .with_hint(format!("{hint}; `--allow-skip` insists"))
    }))
}

/// Whether a step's outputs are those of this control plane; what a step does not say does not tell it apart.
fn brings(provider: &Need, plane: &ControlPlane) -> bool {
    let is = |output: &str, wanted: &str| provider.outputs.get(output).is_none_or(|value| value == wanted);
    is("namespace", &plane.namespace) && is("revision", plane.rev())
}

fn version_of(provider: &Need) -> Option<IstioVersion> {
    provider.outputs.get("version")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{Value, json},
        serde_json::from_value,
        testing::FakeCluster,
    };

    use super::*;

    fn installed(version: &str) -> FakeCluster {
        FakeCluster::new().with(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istiod", "namespace": "istio-system" },
            "spec": { "template": { "spec": { "containers": [
                { "name": "discovery", "image": format!("docker.io/istio/pilot:{version}") },
            ] } } },
        }))
    }

    fn check(with: Value, cluster: &FakeCluster) -> Result<String> {
        let config: Config = from_value(with).expect("a configuration");
        let found = finding(&config, &cluster.cx("gateway"))?;
        Ok(found.map_or_else(String::new, |found| {
            format!("{:?} {} ({})", found.severity, found.message, found.hint.unwrap_or_default())
        }))
    }

    #[test]
    fn control_plane_goes_first() -> Result<()> {
        let wanted = json!({ "version": "1.30.3" });
        assert_eq!(check(wanted.clone(), &installed("1.30.0"))?, "");
        assert_eq!(check(wanted.clone(), &FakeCluster::new())?, "");
        assert_eq!(
            check(wanted.clone(), &installed("1.29.6"))?,
            "Error the gateway's 1.30.3 is of a later minor than the control plane's 1.29.6 (upgrade the control plane \
             first; `--allow-skip` insists)"
        );
        assert_eq!(
            check(wanted, &installed("1.29.6").allowing_skips())?,
            "Warning the gateway's 1.30.3 is of a later minor than the control plane's 1.29.6 (upgrade the control \
             plane first; `--allow-skip` insists)"
        );
        Ok(())
    }

    #[test]
    fn control_plane_that_is_upgraded_by_a_step_before_counts() -> Result<()> {
        let wanted = json!({ "version": "1.30.3" });
        let outputs =
            |version: &str| json!({ "version": version, "namespace": "istio-system", "revision": "default" });
        let step_to = |version: &str| installed("1.29.6").after(CONTROL_PLANE, outputs(version));
        assert_eq!(check(wanted.clone(), &step_to("1.30.3"))?, "");
        assert_eq!(
            check(wanted.clone(), &step_to("1.29.9"))?,
            "Error the gateway's 1.30.3 is of a later minor than the control plane's 1.29.9 (raise the version of step \
             `step-1` as well; `--allow-skip` insists)"
        );
        let unknown = installed("1.29.6").after(CONTROL_PLANE, json!({}));
        assert_eq!(check(wanted.clone(), &unknown)?, "");
        let canary = json!({ "version": "1.30.3", "namespace": "istio-system", "revision": "1-30" });
        assert!(check(wanted, &installed("1.29.6").after(CONTROL_PLANE, canary))?.starts_with("Error"));
        Ok(())
    }
}
