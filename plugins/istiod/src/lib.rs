//! The step `istiod`: Istio's control plane, up to the moment where its webhooks are in force.

mod chart_values;
mod config;
mod health;
mod lint;
mod release;
mod teardown;
mod upgrade;
mod upgrade_path;

pub use config::{Autoscale, Config};
use meshrun_sdk::{
    UpgradePath,
    prelude::{Check, Cx, Diagnostic, Plan, Result, Step},
    protocol::TeardownResponse,
};

/// The step.
pub struct Istiod;

impl Step for Istiod {
    const NAME: &'static str = "istiod";
    const SUMMARY: &'static str = "Installs Istio's control plane and waits until its webhooks are in force";
    const PROVIDES: &'static [&'static str] = &["mesh.control-plane"];
    const REQUIRES: &'static [&'static str] = &["mesh.crds"];
    const OUTPUTS: &'static [(&'static str, &'static str)] = &[
        ("version", "Istio version."),
        ("revision", "Revision: the value of the label `istio.io/rev`."),
        ("namespace", "Namespace of the control plane."),
        (
            "extension_providers",
            "Names that a Telemetry or AuthorizationPolicy may refer to, built-in ones included.",
        ),
    ];

    const UPGRADE_PATH: Option<UpgradePath> = Some(upgrade_path::path);

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        lint::lint(config)
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        release::plan(config, cx)
    }

    fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
        teardown::teardown(config, cx)
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        health::check(config, cx)
    }
}

meshrun_sdk::export_plugin!(Istiod);
