//! The step `verify`: looks at the installed mesh from all sides and changes nothing.

mod config;
mod control_plane;
mod gateway;
mod gateway_objects;
mod mtls;
mod proxies;
mod workloads;

pub use config::{Config, Gateway, Kiali};
use meshrun_sdk::prelude::{Check, Cx, Diagnostic, Plan, Result, Step};

/// Checks the installed mesh and shows the evidence.
pub struct Verify;

/// One side of the mesh: reads what it needs, judges it.
type Topic = fn(&Config, &Cx<'_>) -> Result<Vec<Check>>;

/// All sides, most basic first.
const TOPICS: &[(&str, Topic)] = &[
    ("workloads", workloads::checks),
    ("control-plane", control_plane::checks),
    ("proxies", proxies::checks),
    ("gateway", gateway::checks),
    ("gateway-objects", gateway_objects::checks),
    ("mtls", mtls::checks),
];

impl Step for Verify {
    const NAME: &'static str = "verify";
    const SUMMARY: &'static str = "Checks the installed mesh and shows the evidence";
    const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        let codes = config.gateway.iter().flat_map(|gateway| &gateway.status).enumerate();
        codes
            .filter(|(_, code)| !(100..600).contains(*code))
            .map(|(index, code)| {
                Diagnostic::error(
                    format!("/gateway/status/{index}"),
                    format!("{code} is no HTTP status code"),
                )
                .with_code("http/status")
            })
            .collect()
    }

    fn plan(_config: &Config, _cx: &Cx<'_>) -> Result<Plan> {
        Ok(Plan::new())
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        let looked_at = TOPICS.iter().flat_map(|(id, topic)| {
            // What may not be read is no evidence against the mesh, and must not hide what may be.
            topic(config, cx).unwrap_or_else(|error| {
                vec![Check::skipped(*id, format!("{id} can be looked at"), error.to_string())]
            })
        });
        Ok(looked_at.collect())
    }
}

meshrun_sdk::export_plugin!(Verify);
