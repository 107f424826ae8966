//! What can be said about a configuration without a cluster.

use meshrun_plugin_common::{StringMap, lint_objects};
use meshrun_sdk::prelude::{Diagnostic, Value, json};

use crate::{
    Autoscaling, Config, Controller, ServiceType, TlsMode,
    chart_values::{chart_values, min_replicas},
    load_balancer,
};

const DEPRECATED_CROSS_ZONE: &str =
    "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled";

pub(crate) fn lint(config: &Config) -> Vec<Diagnostic> {
    let annotations = load_balancer::annotations(config, config.service.load_balancer.controller);
    let values = chart_values(config, &annotations);
    let mut found: Vec<Diagnostic> = config.version.support("/version").into_iter().collect();
    found.extend(namespace(config));
    found.extend(texts(&values));
    found.extend(load_balancer_words(config, &annotations));
    found.extend(replicas(config));
    found.extend(budget(config, &values));
    found.extend(tls(config));
    found.extend(redirect(config));
    found.extend(ports(config));
    found.extend(address(config));
    found.extend(lint_objects("/objects", &config.objects));
    found
}

fn namespace(config: &Config) -> Option<Diagnostic> {
    (config.namespace == config.istio_namespace).then(|| {
        Diagnostic::warning(
            "/namespace",
            "the gateway may read every Secret beside it, the CA key of the mesh included",
        )
        .with_code("istio/gateway-namespace")
        .with_hint("give it a namespace of its own: `namespace: istio-ingress`, `create_namespace: true`")
    })
}

/// Annotations of raw values that are no text: Kubernetes refuses the whole Service for one of them.
fn texts(values: &Value) -> Vec<Diagnostic> {
    ["/service/annotations", "/annotations", "/podAnnotations", "/labels"]
        .into_iter()
        .filter_map(|place| values.pointer(place)?.as_object().map(|entries| (place, entries)))
        .flat_map(|(place, entries)| entries.iter().map(move |(key, value)| (place, key, value)))
        .filter(|(_, _, value)| !value.is_string())
        .map(|(place, key, value)| {
            let key_in_path = key.replace('~', "~0").replace('/', "~1");
            Diagnostic::error(
                format!("/values{place}/{key_in_path}"),
                format!("{key} is `{value}`, which is no text"),
            )
            .with_code("istio/annotation-text")
            .with_hint(format!("put it in quotes: \"{value}\""))
        })
        .collect()
}

fn load_balancer_words(config: &Config, annotations: &StringMap) -> Option<Diagnostic> {
    let wanted = &config.service.load_balancer;
    let unread = |path: &str, reader: &str| {
        Diagnostic::warning(format!("/service/load_balancer/{path}"), format!("only {reader} reads it"))
            .with_code("istio/load-balancer")
    };
    match wanted.controller {
        Controller::AwsLbc if annotations.contains_key(DEPRECATED_CROSS_ZONE) => Some(
            Diagnostic::warning(
                "/service/annotations",
                "the AWS Load Balancer Controller gives up this cross-zone annotation",
            )
            .with_code("istio/load-balancer")
            .with_hint("say `load_balancer.cross_zone: true` instead"),
        ),
        Controller::AwsCcm if wanted.target_type.is_some() => {
            Some(unread("target_type", "the AWS Load Balancer Controller"))
        }
        Controller::AwsCcm if !wanted.attributes.is_empty() => {
            Some(unread("attributes", "the AWS Load Balancer Controller"))
        }
        Controller::None if wanted.scheme.is_some() => Some(unread("scheme", "an AWS controller")),
        _ => None,
    }
}

fn replicas(config: &Config) -> Option<Diagnostic> {
    let bounds = &config.autoscaling;
    if config.replicas.is_some() && *bounds != Autoscaling::default() {
        return Some(
            Diagnostic::error("/replicas", "`replicas` and `autoscaling` exclude each other")
                .with_code("istio/replicas")
                .with_hint("`replicas` switches the autoscaler off"),
        );
    }
    let (min, max) = (bounds.min.unwrap_or(1), bounds.max.unwrap_or(5));
    (min > max).then(|| {
        Diagnostic::error("/autoscaling", format!("at least {min} and at most {max} replicas cannot both be"))
            .with_code("istio/replicas")
            .with_hint("the chart's own maximum is 5")
    })
}

fn budget(config: &Config, values: &Value) -> Option<Diagnostic> {
    let budget = &config.pod_disruption_budget;
    let path = "/pod_disruption_budget";
    if budget.min_available.is_some() && budget.max_unavailable.is_some() {
        return Some(
            Diagnostic::error(path, "`min_available` and `max_unavailable` exclude each other")
                .with_code("istio/disruption-budget"),
        );
    }
    let replicas = config.replicas.or(min_replicas(values)).unwrap_or(1);
    let stays = budget.min_available?;
    if stays < replicas {
        return None;
    }
    let hint = "set `autoscaling.min` above `min_available`";
    // From 1.28 on the chart leaves the budget out where there is one replica.
    Some(if replicas == 1 && config.version.at_least(1, 28) {
        Diagnostic::hint(path, "the chart leaves the budget out where there is one replica")
            .with_code("istio/disruption-budget")
            .with_hint(hint)
    } else {
        Diagnostic::warning(
            path,
            format!("{stays} of {replicas} replicas must stay, which blocks the drain of nodes"),
        )
        .with_code("istio/disruption-budget")
        .with_hint(hint)
    })
}

fn tls(config: &Config) -> Vec<Diagnostic> {
    let Some(tls) = &config.default_gateway.tls else { return Vec::new() };
    let mut found = Vec::new();
    let mut say = |field: &str, message: &str, hint: &str| {
        let diagnostic = Diagnostic::error(format!("/default_gateway/tls/{field}"), message);
        found.push(diagnostic.with_code("istio/tls").with_hint(hint));
    };
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => say("certificate", "there is a certificate without a key", "give `key` as well"),
        (None, Some(_)) => say("key", "there is a key without a certificate", "give `certificate` as well"),
        _ => {}
    }
    let pem = |text: &Option<String>, label: &str| {
        text.as_ref().is_none_or(|text| text.contains("-----BEGIN ") && text.contains(label))
    };
    for (field, text, label) in [
        ("certificate", &tls.certificate, "CERTIFICATE-----"),
        ("key", &tls.key, "PRIVATE KEY-----"),
        ("ca", &tls.ca, "CERTIFICATE-----"),
    ] {
        if !pem(text, label) {
            say(
                field,
                &format!("there is no `-----BEGIN ... {label}` in it"),
                "PEM is needed: the text, not its path",
            );
        }
    }
    let verifies = tls.mode != TlsMode::Simple;
    if verifies && tls.certificate.is_some() && tls.ca.is_none() {
        say("ca", "clients cannot be verified without their CA", "give `ca`, or `mode: SIMPLE`");
    }
    found
}

fn redirect(config: &Config) -> Option<Diagnostic> {
    let gateway = &config.default_gateway;
    (gateway.https_redirect == Some(true) && gateway.tls.is_none()).then(|| {
        Diagnostic::warning(
            "/default_gateway/https_redirect",
            "there is no redirect, because HTTPS is not served",
        )
        .with_code("istio/redirect")
        .with_hint("add `tls: { secret: ... }`")
    })
}

fn ports(config: &Config) -> Option<Diagnostic> {
    let ports = &config.service.ports;
    let gateway = &config.default_gateway;
    let needed = [Some(80), gateway.tls.as_ref().map(|_| 443)];
    let missing =
        needed.into_iter().flatten().find(|number| !ports.iter().any(|port| port.port == *number))?;
    (gateway.enabled && !ports.is_empty()).then(|| {
        let message = format!("the default Gateway listens on {missing}, which is no port of the Service");
        Diagnostic::warning("/service/ports", message).with_code("istio/gateway-port").with_hint(
            json!({ "name": if missing == 80 { "http2" } else { "https" }, "port": missing }).to_string(),
        )
    })
}

fn address(config: &Config) -> Option<Diagnostic> {
    let never = config.address.required && config.service.kind != ServiceType::LoadBalancer;
    (never || (config.address.required && !config.address.wait)).then(|| {
        Diagnostic::error("/address/required", "an address is required that nobody waits for")
            .with_code("istio/address")
            .with_hint("it takes `service.type: LoadBalancer` and `address.wait: true`")
    })
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::serde_json::from_value;

    use super::*;

    fn check(mut with: Value) -> String {
        if with.get("version").is_none() {
            with["version"] = json!("1.30.3");
        }
        if with.get("namespace").is_none() {
            with["namespace"] = json!("istio-ingress");
        }
        let config: Config = from_value(with).expect("a configuration");
        let line = |found: &Diagnostic| {
            format!(
                "{:?} {} {}: {}",
                found.severity,
                found.path,
                found.code.as_deref().unwrap_or("-"),
                found.message
            )
        };
        lint(&config).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn sensible_configuration_has_no_findings() {
        assert_eq!(
            check(json!({
                "autoscaling": { "min": 2, "max": 4 }, "pod_disruption_budget": { "min_available": 1 },
                "service": { "load_balancer": { "controller": "aws-lbc", "scheme": "internal", "target_type": "ip" } },
            })),
            ""
        );
    }

    #[test]
    fn guide_step_5() {
        insta::assert_snapshot!(check(json!({
            "version": "1.19.3", "namespace": "istio-system",
            "autoscaling": { "min": 2, "max": 4 }, "pod_disruption_budget": { "min_available": 1 },
            "values": { "service": { "annotations": { "service.beta.kubernetes.io/x": true } } },
        })), @r"
        Warning /version istio/end-of-life: Istio 1.19 gets no security fixes any more
        Warning /namespace istio/gateway-namespace: the gateway may read every Secret beside it, the CA key of the mesh included
        Error /values/service/annotations/service.beta.kubernetes.io~1x istio/annotation-text: service.beta.kubernetes.io/x is `true`, which is no text
        ");
    }

    #[test]
    fn words_of_the_wrong_controller_are_pointed_out() {
        let of = |service: Value| check(json!({ "service": service }));
        assert_eq!(
            of(json!({
                "load_balancer": { "controller": "aws-lbc" }, "annotations": { DEPRECATED_CROSS_ZONE: true },
            })),
            "Warning /service/annotations istio/load-balancer: the AWS Load Balancer Controller gives up this \
             cross-zone annotation"
        );
        assert_eq!(
            of(json!({ "load_balancer": { "controller": "aws-ccm", "target_type": "ip" } })),
            "Warning /service/load_balancer/target_type istio/load-balancer: only the AWS Load Balancer Controller \
             reads it"
        );
    }

    #[test]
    fn budget_that_blocks_drains_is_pointed_out() {
        let of = |version: &str, min: u32| {
            check(json!({
                "version": version, "autoscaling": { "min": min }, "pod_disruption_budget": { "min_available": 2 },
            }))
        };
        assert_eq!(of("1.30.3", 3), "");
        assert_eq!(
            of("1.30.3", 2),
            "Warning /pod_disruption_budget istio/disruption-budget: 2 of 2 replicas must stay, which blocks the drain \
             of nodes"
        );
        assert_eq!(
            of("1.30.3", 1),
            "Hint /pod_disruption_budget istio/disruption-budget: the chart leaves the budget out where there is one \
             replica"
        );
    }

    #[test]
    fn half_a_certificate_is_refused() {
        insta::assert_snapshot!(check(json!({
            "default_gateway": { "tls": { "secret": "certs", "mode": "MUTUAL", "certificate": "/etc/tls.crt" } },
        })), @r"
        Error /default_gateway/tls/certificate istio/tls: there is a certificate without a key
        Error /default_gateway/tls/certificate istio/tls: there is no `-----BEGIN ... CERTIFICATE-----` in it
        Error /default_gateway/tls/ca istio/tls: clients cannot be verified without their CA
        ");
    }

    #[test]
    fn ports_redirect_and_address_must_fit() {
        insta::assert_snapshot!(check(json!({
            "service": { "type": "ClusterIP", "ports": [{ "name": "https", "port": 443 }] },
            "address": { "required": true },
            "default_gateway": { "https_redirect": true },
            "replicas": 2, "autoscaling": { "min": 2 },
            "objects": [{ "kind": "ConfigMap" }],
        })), @r"
        Error /replicas istio/replicas: `replicas` and `autoscaling` exclude each other
        Warning /default_gateway/https_redirect istio/redirect: there is no redirect, because HTTPS is not served
        Warning /service/ports istio/gateway-port: the default Gateway listens on 80, which is no port of the Service
        Error /address/required istio/address: an address is required that nobody waits for
        Error /objects/0 object/incomplete: the object has no apiVersion
        ");
    }
}
