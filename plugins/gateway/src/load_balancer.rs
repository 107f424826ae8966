//! Annotations that make the load balancer, by the controller that makes it.
//!
//! The two AWS controllers read different words. The AWS Load Balancer Controller takes over every new Service of type
//! LoadBalancer, whatever its annotations say, and makes it internal where no scheme is given.

use meshrun_plugin_common::{StringMap, list};
use meshrun_sdk::prelude::{Cx, Diagnostic, Result, Value};

use crate::{Config, Controller, LoadBalancer, Scheme, ServiceType, TargetType};

const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";
const CONTROLLER_WEBHOOK: &str = "mservice.elbv2.k8s.aws";

/// Settles `auto`.
pub(crate) fn detect(config: &Config, cx: &Cx<'_>) -> Result<Controller> {
    match config.service.load_balancer.controller {
        Controller::Auto if config.service.kind == ServiceType::LoadBalancer => found(cx).map_err(|error| {
            error.with_hint("say `service.load_balancer.controller`, then nobody has to look")
        }),
        Controller::Auto => Ok(Controller::None),
        said => Ok(said),
    }
}

fn found(cx: &Cx<'_>) -> Result<Controller> {
    let webhooks = list(cx, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None, "")?;
    let mutates_services = |configuration: &Value| {
        let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
        webhooks.filter_map(|webhook| webhook["name"].as_str()).any(|name| name == CONTROLLER_WEBHOOK)
    };
    if webhooks.iter().any(mutates_services) {
        return Ok(Controller::AwsLbc);
    }
    let nodes = list(cx, "v1", "Node", None, "")?;
    let on_aws =
        |node: &Value| node["spec"]["providerID"].as_str().is_some_and(|id| id.starts_with("aws://"));
    Ok(if nodes.iter().any(on_aws) { Controller::AwsCcm } else { Controller::None })
}

/// Annotations of the Service: those of the controller, and the configured ones over them.
pub(crate) fn annotations(config: &Config, controller: Controller) -> StringMap {
    let wanted = &config.service.load_balancer;
    let mut annotations = match controller {
        Controller::AwsLbc => load_balancer_controller(wanted),
        Controller::AwsCcm => cloud_controller(wanted),
        Controller::Auto | Controller::None => StringMap::new(),
    };
    annotations.extend(config.service.annotations.clone());
    annotations
}

fn load_balancer_controller(wanted: &LoadBalancer) -> StringMap {
    let mut attributes = wanted.attributes.clone();
    if let Some(cross_zone) = wanted.cross_zone {
        attributes.insert("load_balancing.cross_zone.enabled".into(), cross_zone.to_string().into());
    }
    let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let scheme = match wanted.scheme {
        Some(Scheme::Internal) => "internal",
        Some(Scheme::InternetFacing) | None => "internet-facing",
    };
    let target = wanted.target_type.map(|target| match target {
        TargetType::Ip => "ip",
        TargetType::Instance => "instance",
    });
    prefixed([
        ("type", Some("external".to_owned())),
        ("scheme", Some(scheme.to_owned())),
        ("nlb-target-type", target.map(str::to_owned)),
        ("attributes", (!attributes.is_empty()).then(|| attributes.join(","))),
    ])
}

fn cloud_controller(wanted: &LoadBalancer) -> StringMap {
    prefixed([
        ("type", Some("nlb".to_owned())),
        ("backend-protocol", Some("tcp".to_owned())),
        ("cross-zone-load-balancing-enabled", wanted.cross_zone.map(|cross_zone| cross_zone.to_string())),
        ("internal", (wanted.scheme == Some(Scheme::Internal)).then(|| "true".to_owned())),
    ])
}

fn prefixed<const N: usize>(annotations: [(&str, Option<String>); N]) -> StringMap {
    annotations
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (format!("{PREFIX}{name}"), value.into())))
        .collect()
}

/// What is worth saying about the load balancer that is there (`service`) and the one that is asked for.
pub(crate) fn findings(
    config: &Config,
    controller: Controller,
    service: Option<&Value>,
    annotations: &StringMap,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if controller == Controller::AwsLbc && config.service.load_balancer.scheme.is_none() {
        found.push(
            Diagnostic::hint(
                "/service/load_balancer/scheme",
                "the load balancer will be reachable from the internet",
            )
            .with_code("istio/load-balancer-scheme")
            .with_hint("say `scheme: internet-facing` or `scheme: internal`"),
        );
    }
    let Some(service) = service.filter(|service| service["spec"]["type"] == "LoadBalancer") else {
        return found;
    };
    for name in ["type", "scheme", "internal"].map(|name| format!("{PREFIX}{name}")) {
        let is = service["metadata"]["annotations"][&name].as_str();
        let wanted = annotations.get(&name).map(|value| value.as_str());
        if is != wanted {
            let say = |value: Option<&str>| value.unwrap_or("not set").to_owned();
            found.push(
                Diagnostic::warning(
                    "/service/load_balancer",
                    format!(
                        "{name} changes from `{}` to `{}` on a load balancer that is there",
                        say(is),
                        say(wanted)
                    ),
                )
                .with_code("istio/load-balancer-change")
                .with_hint(
                    "AWS cannot change it in place: delete the Service first, and expect a new address",
                ),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn config(load_balancer: Value) -> Config {
        let with = json!({ "version": "1.30.3", "service": { "load_balancer": load_balancer } });
        from_value(with).expect("a configuration")
    }

    fn made(load_balancer: Value) -> Value {
        let config = config(load_balancer);
        json!(annotations(&config, config.service.load_balancer.controller))
    }

    #[test]
    fn load_balancer_controller_gets_its_own_words() {
        assert_eq!(
            made(json!({
                "controller": "aws-lbc", "scheme": "internal", "target_type": "ip", "cross_zone": true,
                "attributes": { "deletion_protection.enabled": true },
            })),
            json!({
                "service.beta.kubernetes.io/aws-load-balancer-type": "external",
                "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
                "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip",
                "service.beta.kubernetes.io/aws-load-balancer-attributes":
                    "deletion_protection.enabled=true,load_balancing.cross_zone.enabled=true",
            })
        );
        assert_eq!(
            made(json!({ "controller": "aws-lbc" })),
            json!({
                "service.beta.kubernetes.io/aws-load-balancer-type": "external",
                "service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing",
            })
        );
    }

    #[test]
    fn cloud_controller_gets_the_annotations_of_the_guide() {
        assert_eq!(
            made(json!({ "controller": "aws-ccm", "cross_zone": true })),
            json!({
                "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
                "service.beta.kubernetes.io/aws-load-balancer-backend-protocol": "tcp",
                "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled": "true",
            })
        );
    }

    #[test]
    fn configured_annotations_go_over_made_ones() {
        let config: Config = from_value(json!({
            "version": "1.30.3",
            "service": {
                "load_balancer": { "controller": "aws-ccm" },
                "annotations": { "service.beta.kubernetes.io/aws-load-balancer-type": "external", "a": true },
            },
        }))
        .expect("a configuration");
        let annotations = json!(annotations(&config, Controller::AwsCcm));
        assert_eq!(annotations["service.beta.kubernetes.io/aws-load-balancer-type"], "external");
        assert_eq!(annotations["a"], "true");
    }

    #[test]
    fn controller_is_found_by_its_webhook_or_the_nodes() -> Result<()> {
        let detect = |cluster: FakeCluster| detect(&config(json!({})), &cluster.cx("gateway"));
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "a" },
            "spec": { "providerID": "aws:///eu-west-1a/i-0" },
        });
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "aws-load-balancer-webhook" },
            "webhooks": [{ "name": "mpod.elbv2.k8s.aws" }, { "name": "mservice.elbv2.k8s.aws" }],
        });
        assert_eq!(detect(FakeCluster::new())?, Controller::None);
        assert_eq!(detect(FakeCluster::new().with(node.clone()))?, Controller::AwsCcm);
        assert_eq!(detect(FakeCluster::new().with(node).with(webhook))?, Controller::AwsLbc);
        Ok(())
    }

    #[test]
    fn cluster_that_may_not_be_read_needs_a_word() {
        let cluster = FakeCluster::new().forbidding("nodes is forbidden");
        let said = config(json!({ "controller": "none" }));
        assert_eq!(detect(&said, &cluster.cx("gateway")), Ok(Controller::None));
        let error = detect(&config(json!({})), &cluster.cx("gateway")).expect_err("no right to read");
        assert_eq!(error.to_string(), "nodes is forbidden");
    }

    #[test]
    fn change_of_a_load_balancer_that_is_there_is_a_warning() {
        let config = config(json!({ "controller": "aws-lbc", "scheme": "internal" }));
        let service = json!({
            "spec": { "type": "LoadBalancer" },
            "metadata": { "annotations": {
                "service.beta.kubernetes.io/aws-load-balancer-type": "external",
                "service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing",
            } },
        });
        let wanted = annotations(&config, Controller::AwsLbc);
        let found = findings(&config, Controller::AwsLbc, Some(&service), &wanted);
        assert_eq!(
            found.iter().map(|found| found.message.as_str()).collect::<Vec<_>>(),
            [
                "service.beta.kubernetes.io/aws-load-balancer-scheme changes from `internet-facing` to `internal` on a \
              load balancer that is there"
            ]
        );
        assert!(findings(&config, Controller::AwsLbc, None, &wanted).is_empty());
    }
}
