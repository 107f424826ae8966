//! The step `kiali`: the Kiali dashboard, any version from 1.74 to 2.x.

mod chart_values;
mod checks;
mod config;
mod lint;
mod signing_key;
mod version;

pub use config::{AuthStrategy, Config, Grafana, Prometheus, Tracing, TracingProvider};
use meshrun_plugin_common::KIALI_CHARTS;
use meshrun_sdk::prelude::{Check, Cx, Diagnostic, Helm, Plan, Result, Step, WaitCondition};
pub use version::KialiVersion;

/// Installs the Kiali dashboard.
pub struct Kiali;

impl Step for Kiali {
    const NAME: &'static str = "kiali";
    const SUMMARY: &'static str = "Installs the Kiali dashboard";
    const PROVIDES: &'static [&'static str] = &["mesh.dashboard"];
    const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];
    const OUTPUTS: &'static [(&'static str, &'static str)] = &[
        ("web_root", "Path of the user interface."),
        ("port_forward", "Command that makes it reachable at `url`."),
        ("url", "Where it is while the command runs."),
    ];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        lint::lint(config)
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        let plan = match signing_key::secret(config, cx)? {
            Some(secret) => Plan::new().apply("signing-key", vec![secret]),
            None => Plan::new(),
        };
        let release = Helm {
            release: config.release.clone(),
            namespace: config.namespace.clone(),
            chart: config.chart.chart("kiali-server", config.version.as_str(), KIALI_CHARTS),
            values: chart_values::values(config),
        };
        let (namespace, instance, port) = (&config.namespace, config.instance(), config.port());
        Ok(plan
            .helm("chart", release)
            .wait(
                "available",
                config.deployment(),
                WaitCondition::Available { min_replicas: None, nudge: false },
            )
            .output("web_root", config.web_root.as_str())
            .output(
                "port_forward",
                format!("kubectl port-forward -n {namespace} svc/{instance} {port}:{port}"),
            )
            .output("url", format!("http://localhost:{port}{}", config.web_root)))
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        checks::checks(config, cx)
    }
}

meshrun_sdk::export_plugin!(Kiali);
