//! Whether the mesh was told, and whether it knows the providers it was told of.

use meshrun_sdk::prelude::{Check, Cx, Result};

use crate::{config::Config, monitors, providers, resource};

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let mut checks = vec![telemetry(config, cx)?];
    let known = providers::in_cluster(cx, &config.control_plane())?;
    checks.push(known_providers(config, known.as_deref()));
    if config.monitors.enabled != Some(false) {
        checks.push(monitors(config, cx)?);
    }
    Ok(checks)
}

fn telemetry(config: &Config, cx: &Cx<'_>) -> Result<Check> {
    let reference = resource::reference(config);
    let title = format!("{reference} says what the mesh reports");
    Ok(match cx.get(&reference)? {
        Some(_) => Check::passed("telemetry", title, "it is there"),
        None => Check::failed("telemetry", title, "it does not exist").with_hint("run the pipeline"),
    })
}

fn known_providers(config: &Config, known: Option<&[String]>) -> Check {
    let (id, title) = ("providers", "every named provider is defined in the mesh");
    let Some(known) = known else {
        return Check::skipped(id, title, "there is no mesh configuration to look at");
    };
    let named = providers::named(config);
    let defined = |name: &str| providers::BUILT_IN.contains(&name) || known.iter().any(|known| known == name);
    let missing: Vec<&str> =
        named.iter().map(|provider| provider.name).filter(|name| !defined(name)).collect();
    if missing.is_empty() {
        let names: Vec<&str> = named.iter().map(|provider| provider.name).collect();
        Check::passed(id, title, names.join(", "))
    } else {
        Check::failed(id, title, format!("not defined: {}", missing.join(", ")))
            .with_hint("define them under `extension_providers` of the istiod step")
    }
}

fn monitors(config: &Config, cx: &Cx<'_>) -> Result<Check> {
    let (id, title) = ("monitors", "Prometheus is told to scrape istiod and the gateway");
    if !monitors::served(cx)? {
        return Ok(Check::skipped(id, title, "the cluster serves no ServiceMonitor"));
    }
    let mut missing = Vec::new();
    let references = monitors::references(config);
    for reference in &references {
        if cx.get(reference)?.is_none() {
            missing.push(reference.to_string());
        }
    }
    Ok(if missing.is_empty() {
        let names: Vec<String> = references.iter().map(ToString::to_string).collect();
        Check::passed(id, title, names.join(", "))
    } else {
        Check::failed(id, title, format!("missing: {}", missing.join(", "))).with_hint("run the pipeline")
    })
}
