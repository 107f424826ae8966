//! The step `istio-base`: Istio's namespace, CRDs and default validating webhook (chart `base`).

mod config;
mod health;
mod release;
mod teardown;

pub use config::Config;
use meshrun_sdk::{
    prelude::{Check, Cx, Diagnostic, Plan, Result, Step},
    protocol::TeardownResponse,
};

/// The step.
pub struct IstioBase;

impl Step for IstioBase {
    const NAME: &'static str = "istio-base";
    const SUMMARY: &'static str = "Creates Istio's namespace and installs its CRDs";
    const PROVIDES: &'static [&'static str] = &["mesh.crds"];
    const OUTPUTS: &'static [(&'static str, &'static str)] =
        &[("version", "Istio version of the CRDs."), ("namespace", "Namespace of the control plane.")];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        config.lint()
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        Ok(release::plan(config, cx))
    }

    fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
        teardown::teardown(config, cx)
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        health::check(config, cx)
    }
}

meshrun_sdk::export_plugin!(IstioBase);
