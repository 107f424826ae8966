//! Findings that need no cluster.

use meshrun_mesh_facts::mtls::Mode;
use meshrun_plugin_common::lint_objects;
use meshrun_sdk::prelude::{Diagnostic, Value};

use crate::config::{Config, Exception};

pub(crate) fn lint(config: &Config) -> Vec<Diagnostic> {
    let mut findings = modes(config);
    let exceptions = config.mtls.exceptions.iter().enumerate();
    findings.extend(exceptions.filter_map(|(index, exception)| self::exception(config, index, exception)));
    findings.extend(lint_objects("/authorization/objects", &config.authorization.objects));
    findings.extend(foreign_kinds(&config.authorization.objects));
    findings.extend(principals(config));
    findings.extend(lint_objects("/objects", &config.objects));
    findings
}

fn modes(config: &Config) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    if config.mtls.mode == Mode::Disable {
        findings.push(
            Diagnostic::warning("/mtls/mode", "DISABLE turns encryption off in the whole mesh")
                .with_code("istio/mtls-disabled")
                .with_hint("PERMISSIVE takes plaintext too and keeps encrypting between meshed pods"),
        );
    }
    if config.mtls.namespaces.contains_key(&config.namespace) {
        findings.push(
            Diagnostic::error(
                format!("/mtls/namespaces/{}", config.namespace),
                "a policy of the root namespace speaks for the whole mesh",
            )
            .with_code("istio/root-namespace")
            .with_hint("say it as `mtls.mode`"),
        );
    }
    if config.mtls.legacy_destination_rule {
        findings.push(
            Diagnostic::warning(
                "/mtls/legacy_destination_rule",
                "the rule sends mutual TLS to every service, also to those without a sidecar",
            )
            .with_code("istio/legacy-destination-rule")
            .with_hint("leave it out: Istio picks mutual TLS per endpoint by itself"),
        );
    }
    findings
}

fn exception(config: &Config, index: usize, exception: &Exception) -> Option<Diagnostic> {
    let at = format!("/mtls/exceptions/{index}");
    let finding = if exception.namespace == config.namespace {
        Diagnostic::error(format!("{at}/namespace"), "Istio ignores selectors in the root namespace")
            .with_hint("put the exception into the namespace of its workloads")
    } else if exception.match_labels.is_empty() {
        Diagnostic::error(format!("{at}/match_labels"), "an exception needs labels to select by")
            .with_hint("a mode for a whole namespace goes under `mtls.namespaces`")
    } else if exception.mode.is_none() && exception.ports.is_empty() {
        Diagnostic::error(at, "an exception needs a mode, or ports with modes")
    } else {
        return None;
    };
    Some(finding.with_code("istio/mtls-exception"))
}

fn foreign_kinds(objects: &[Value]) -> Vec<Diagnostic> {
    let ours = |object: &Value| {
        object["apiVersion"].as_str().is_none_or(|version| version.starts_with("security.istio.io/"))
    };
    let foreign = objects.iter().enumerate().filter(|(_, object)| !ours(object));
    foreign
        .map(|(index, object)| {
            let kind = object["kind"].as_str().unwrap_or("the object");
            Diagnostic::error(
                format!("/authorization/objects/{index}"),
                format!("{kind} is no authorization policy"),
            )
            .with_code("istio/authorization-kind")
            .with_hint("objects of other kinds go under `objects`")
        })
        .collect()
}

/// A principal comes out of a client certificate: without mutual TLS it is empty and never matches.
fn principals(config: &Config) -> Vec<Diagnostic> {
    let named = |object: &Value| {
        let rules = object.pointer("/spec/rules").map(Value::to_string).unwrap_or_default();
        ["\"principals\"", "\"notPrincipals\"", "\"namespaces\"", "\"notNamespaces\""]
            .iter()
            .any(|field| rules.contains(field))
    };
    let lax = |object: &Value| {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let mode = config.mtls.namespaces.get(namespace).copied().unwrap_or(config.mtls.mode);
        mode != Mode::Strict
    };
    let objects = config.authorization.objects.iter().enumerate();
    objects
        .filter(|(_, object)| named(object) && lax(object))
        .map(|(index, _)| {
            Diagnostic::warning(
                format!("/authorization/objects/{index}/spec/rules"),
                "principals and namespaces are known of mutual TLS clients only, and plaintext is taken here",
            )
            .with_code("istio/principals-need-mtls")
            .with_hint("plaintext clients match no such rule; set `mtls.mode: STRICT` once every client has a sidecar")
        })
        .collect()
}
