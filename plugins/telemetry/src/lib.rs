//! The step `telemetry`: what the mesh reports, to whom, and what Prometheus scrapes.

mod checks;
mod config;
mod lint;
mod monitors;
mod providers;
mod resource;

pub use config::{AccessLogging, Config, CustomTag, Gateway, Metrics, Monitors, Tracing};
use meshrun_sdk::prelude::{Check, Cx, Diagnostic, Plan, Result, Step};

/// Configures metrics, tracing, access logs and Prometheus monitors.
pub struct Telemetry;

impl Step for Telemetry {
    const NAME: &'static str = "telemetry";
    const SUMMARY: &'static str = "Configures metrics, tracing, access logs and Prometheus monitors";
    const PROVIDES: &'static [&'static str] = &["mesh.telemetry"];
    const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];
    const OUTPUTS: &'static [(&'static str, &'static str)] =
        &[("monitors", "Whether Prometheus monitors are there")];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        lint::lint(config)
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        let findings =
            providers::judge(config, providers::in_cluster(cx, &config.control_plane())?.as_deref())?;
        let plan = Plan::new().apply("telemetry", vec![resource::telemetry(config)]);
        let plan = findings.into_iter().chain(resource::rivals(config, cx)?).fold(plan, Plan::diagnostic);
        let plan = monitors::plan(config, cx, plan)?;
        Ok(if config.objects.is_empty() { plan } else { plan.apply("objects", config.objects.clone()) })
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        checks::checks(config, cx)
    }
}

meshrun_sdk::export_plugin!(Telemetry);
