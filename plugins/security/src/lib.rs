//! The step `security`: the mesh's mutual TLS mode and its authorization policies.

mod authorization;
mod checks;
mod config;
mod gate;
mod lint;
mod peer_authentication;

pub use config::{Authorization, Config, Exception, Mtls};
use meshrun_sdk::prelude::{Check, Cx, Diagnostic, Plan, Result, Step};

/// Sets the mutual TLS mode of the mesh and its authorization policies.
pub struct Security;

impl Step for Security {
    const NAME: &'static str = "security";
    const SUMMARY: &'static str = "Sets the mesh's mutual TLS mode and authorization policies";
    const PROVIDES: &'static [&'static str] = &["mesh.security"];
    const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];
    const OUTPUTS: &'static [(&'static str, &'static str)] =
        &[("mode", "Mutual TLS mode of the mesh: PERMISSIVE, STRICT or DISABLE")];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        lint::lint(config)
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        let seen = gate::Seen::read(cx, &config.version)?;
        let mut plan = peer_authentication::plan(config, Plan::new());
        plan = authorization::plan(config, plan);
        if !config.objects.is_empty() {
            plan = plan.apply("objects", config.objects.clone());
        }
        let findings = gate::judge(config, &seen)?.into_iter().chain(authorization::findings(config, &seen));
        let plan = findings.fold(plan, Plan::diagnostic);
        Ok(plan.output("mode", config.mtls.mode.to_string()))
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        checks::checks(config, cx)
    }
}

meshrun_sdk::export_plugin!(Security);
