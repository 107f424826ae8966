//! Findings that need no cluster.

use meshrun_plugin_common::lint_objects;
use meshrun_sdk::prelude::Diagnostic;

use crate::{
    config::{Config, Tracing},
    providers,
};

pub(crate) fn lint(config: &Config) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    if let Some(defined) = &config.extension_providers {
        let known =
            |name: &str| providers::BUILT_IN.contains(&name) || defined.iter().any(|known| known == name);
        findings.extend(
            providers::named(config)
                .iter()
                .filter(|provider| !known(provider.name))
                .map(|provider| providers::unknown(provider, defined)),
        );
    }
    findings.extend(config.tracing.iter().flat_map(tracing));
    findings.extend(stdout_logs(config));
    findings.extend(lint_objects("/objects", &config.objects));
    findings
}

fn tracing(tracing: &Tracing) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    match tracing.providers[..] {
        [] => findings.push(
            Diagnostic::error("/tracing/providers", "tracing needs a provider")
                .with_code("istio/tracing-provider")
                .with_hint("leave `tracing` out to let the mesh configuration decide"),
        ),
        [_, _, ..] => findings.push(
            Diagnostic::warning("/tracing/providers", "Istio traces to one provider and takes the first")
                .with_code("istio/tracing-provider")
                .with_hint("let a collector pass the spans on"),
        ),
        [_] => {}
    }
    if tracing.sampling.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        findings.push(
            Diagnostic::error("/tracing/sampling", "sampling is a share in percent, between 0 and 100")
                .with_code("istio/tracing-sampling"),
        );
    }
    findings
}

/// A list of log providers replaces `meshConfig.accessLogFile`, and with it the logs on standard output.
fn stdout_logs(config: &Config) -> Option<Diagnostic> {
    let providers = &config.access_logging.as_ref()?.providers;
    let elsewhere = !providers.is_empty() && !providers.iter().any(|name| name == "envoy");
    elsewhere.then(|| {
        Diagnostic::warning("/access_logging/providers", "access logs no longer appear in `kubectl logs`")
            .with_code("istio/stdout-logs")
            .with_hint("add the built-in provider `envoy` to keep them on standard output as well")
    })
}
