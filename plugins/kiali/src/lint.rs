//! Findings that need no cluster.

use meshrun_sdk::prelude::{Diagnostic, Value};

use crate::{
    config::{AuthStrategy, Config, Tracing, TracingProvider},
    signing_key,
};

/// Top-level values that the chart or the server reads, at any version from 1.74 to 2.29; both ignore all others.
const KNOWN_VALUES: &[&str] = &[
    "additional_display_details",
    "api",
    "auth",
    "chat_ai",
    "clustering",
    "custom_dashboards",
    "deployment",
    "extensions",
    "external_services",
    "fullnameOverride",
    "health_config",
    "identity",
    "in_cluster",
    "installation_tag",
    "isOpenShift",
    "istio_labels",
    "istio_namespace",
    "kiali_feature_flags",
    "kiali_internal",
    "kiali_route_url",
    "kubernetes_config",
    "login_token",
    "nameOverride",
    "server",
    "skipResources",
];

/// Values that Kiali 2 ignores or reads with a warning, and what stands in their place.
const RENAMED_IN_2: &[(&str, &str)] = &[
    (
        "/deployment/accessible_namespaces",
        "deployment.cluster_wide_access and deployment.discovery_selectors",
    ),
    ("/external_services/grafana/in_cluster_url", "external_services.grafana.internal_url"),
    ("/external_services/grafana/url", "external_services.grafana.external_url"),
    ("/external_services/tracing/in_cluster_url", "external_services.tracing.internal_url"),
    ("/external_services/tracing/url", "external_services.tracing.external_url"),
    ("/istio_namespace", "external_services.istio.root_namespace"),
    ("/kiali_feature_flags/clustering", "clustering"),
    ("/server/metrics_enabled", "server.observability.metrics.enabled"),
    ("/server/metrics_port", "server.observability.metrics.port"),
];

pub(crate) fn lint(config: &Config) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    findings.extend(version(config));
    findings.extend(access(config));
    findings.extend(openshift(config));
    findings.extend(config.tracing.as_ref().and_then(|tracing| self::tracing(config, tracing)));
    findings.extend(apart(config));
    findings.extend(web_root(config));
    findings.extend(key(config));
    findings.extend(values(config));
    findings
}

fn version(config: &Config) -> Option<Diagnostic> {
    if !config.version.at_least(1, 74) {
        return Some(
            Diagnostic::error("/version", format!("Kiali {} is older than 1.74", config.version))
                .with_code("kiali/version")
                .with_hint("this step writes the settings of Kiali 1.74 and newer"),
        );
    }
    config.version.at_least(3, 0).then(|| {
        Diagnostic::warning("/version", "this step was made for Kiali 1.74 to 2.29")
            .with_code("kiali/version")
    })
}

/// Without a login, everybody who reaches Kiali has its rights.
fn access(config: &Config) -> Option<Diagnostic> {
    if config.auth_strategy != AuthStrategy::Anonymous {
        return None;
    }
    let finding = match (config.view_only, exposed(config)) {
        (false, true) => Diagnostic::error(
            "/view_only",
            "Kiali would let everybody outside the cluster change the mesh: no login, write access, and exposed",
        ),
        (false, false) => Diagnostic::warning(
            "/view_only",
            "Kiali would let everybody who reaches it change the mesh: no login and write access",
        ),
        (true, true) => Diagnostic::warning(
            "/auth_strategy",
            "everybody outside the cluster would see the mesh: no login",
        ),
        (true, false) => return None,
    };
    Some(
        finding
            .with_code("kiali/anonymous")
            .with_hint("set `auth_strategy: token`, or leave `view_only` as it is"),
    )
}

fn exposed(config: &Config) -> bool {
    let Some(deployment) = config.values.get("deployment") else { return false };
    deployment["ingress"]["enabled"] == true
        || matches!(deployment["service_type"].as_str(), Some("LoadBalancer" | "NodePort"))
}

fn openshift(config: &Config) -> Option<Diagnostic> {
    let given = |pointer: &str| {
        let values = Value::Object(config.values.clone());
        values.pointer(pointer).is_some_and(|value| !value.is_null() && value != "")
    };
    let missing = config.auth_strategy == AuthStrategy::Openshift
        && !given("/kiali_route_url")
        && !given("/auth/openshift/redirect_uris");
    missing.then(|| {
        Diagnostic::error("/auth_strategy", "login with OpenShift needs Kiali's URL beforehand")
            .with_code("kiali/openshift-url")
            .with_hint("set `values.kiali_route_url`")
    })
}

fn tracing(config: &Config, tracing: &Tracing) -> Option<Diagnostic> {
    if tracing.provider == TracingProvider::Tempo && !config.version.knows_tempo() {
        return Some(
            Diagnostic::error(
                "/tracing/provider",
                format!("Kiali {} speaks to Jaeger only; Tempo came with 1.75", config.version),
            )
            .with_code("kiali/tempo")
            .with_hint("use Kiali 1.75 or newer, or leave `tracing` out"),
        );
    }
    let looks_like_tempo = tracing.url.contains("tempo") && tracing.provider == TracingProvider::Jaeger;
    looks_like_tempo.then(|| {
        Diagnostic::warning(
            "/tracing/url",
            "this looks like Tempo, and Kiali would speak Jaeger's language to it",
        )
        .with_code("kiali/tempo")
        .with_hint(if config.version.knows_tempo() {
            "set `tracing.provider: tempo`"
        } else {
            "use Kiali 1.75 or newer with `tracing.provider: tempo`, or leave `tracing` out"
        })
    })
}

/// Istio 1.30 answers its debug requests to its own namespace only (`ENABLE_DEBUG_ENDPOINT_AUTH`).
fn apart(config: &Config) -> Option<Diagnostic> {
    (config.istio_namespace() != config.namespace).then(|| {
        Diagnostic::hint(
            "/namespace",
            "away from the control plane Kiali sees no proxy status from Istio 1.30 on",
        )
        .with_code("kiali/namespace")
        .with_hint(format!(
            "give istiod the variable DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES: {}",
            config.namespace
        ))
    })
}

fn web_root(config: &Config) -> Option<Diagnostic> {
    (!config.web_root.starts_with('/')).then(|| {
        Diagnostic::error("/web_root", "the path must begin with a slash")
            .with_code("kiali/web-root")
            .with_hint(format!("web_root: /{}", config.web_root))
    })
}

fn key(config: &Config) -> Option<Diagnostic> {
    let key = signing_key::given(config).filter(|key| !key.starts_with("secret:"))?;
    let at = "/values/login_token/signing_key";
    let finding = if [16, 24, 32].contains(&key.len()) {
        Diagnostic::warning(at, "the key that signs sessions stands in the pipeline file")
    } else {
        Diagnostic::error(at, format!("a signing key has 16, 24 or 32 characters, this one {}", key.len()))
    };
    Some(finding.with_code("kiali/signing-key").with_hint("leave it out: one is made and kept in a Secret"))
}

fn values(config: &Config) -> Vec<Diagnostic> {
    let unknown = config.values.keys().filter(|key| !KNOWN_VALUES.contains(&key.as_str())).map(|key| {
        Diagnostic::warning(format!("/values/{key}"), format!("neither chart nor server reads `{key}`"))
            .with_code("kiali/unknown-value")
            .with_hint("they ignore what they do not know: look for a typo")
    });
    let raw = Value::Object(config.values.clone());
    let renamed = RENAMED_IN_2
        .iter()
        .filter(|(old, _)| config.version.second_generation() && raw.pointer(old).is_some())
        .map(|(old, new)| {
            Diagnostic::warning(format!("/values{old}"), "Kiali 2 has another name for this")
                .with_code("kiali/renamed-value")
                .with_hint(format!("use `{new}`"))
        });
    unknown.chain(renamed).collect()
}
