//! Whether the gateway runs, is injected, has an address and answers.

use meshrun_plugin_common::{
    checks::{self, counted},
    containers, labels_of, name_of, pods, reference,
};
use meshrun_sdk::prelude::{Check, Cx, Endpoint, ObjectRef, Result, Value};

use crate::{
    Config, Scheme, ServiceType,
    chart_values::{chart_values, min_replicas},
    default_gateway::has_key_pair,
    load_balancer,
    release::{NOT_INJECTED, deployment, pod_selector, service},
};

/// Port of the proxy's readiness, which injection always opens.
const STATUS_PORT: u16 = 15021;

pub(crate) fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let annotations = load_balancer::annotations(config, config.service.load_balancer.controller);
    let at_least = min_replicas(&chart_values(config, &annotations)).or(config.replicas).unwrap_or(1);
    let pods = pods(cx, Some(&config.namespace), &pod_selector(config))?;
    let mut checks = vec![
        checks::deployment(cx, "gateway-available", &deployment(config), at_least.into())?,
        injected(cx, &pods),
        answers_ready(cx, &pods),
    ];
    let gateway = match config.default_gateway.enabled {
        true => cx.get(&gateway_reference(config))?,
        false => None,
    };
    if config.default_gateway.enabled {
        checks.push(selects(config, cx, gateway.as_ref(), &pods));
        checks
            .extend(gateway.as_ref().map(|gateway| certificate(config, cx, gateway)).transpose()?.flatten());
    }
    if config.service.kind == ServiceType::LoadBalancer {
        let address = cx.get(&service(config))?.as_ref().and_then(address_of);
        checks.push(has_address(config, cx, address.as_deref()));
        checks.push(answers_http(config, cx, address.as_deref(), gateway.as_ref()));
    }
    Ok(checks)
}

fn gateway_reference(config: &Config) -> ObjectRef {
    let api_version = config.version.networking_api();
    ObjectRef::namespaced(api_version, "Gateway", &config.namespace, &config.default_gateway.name)
}

fn injected(cx: &Cx<'_>, pods: &[Value]) -> Check {
    let (id, title) = ("gateway-injected", "the gateway's pods have a proxy");
    if let Some(skipped) = checks::needs_running(cx, id, title) {
        return skipped;
    }
    let proxy = |pod: &Value| -> Option<String> {
        containers(pod)
            .iter()
            .find(|(container, _)| *container == "istio-proxy")
            .map(|(_, image)| (*image).to_owned())
    };
    let stuck: Vec<&str> =
        pods.iter().filter(|pod| proxy(pod).as_deref() == Some(NOT_INJECTED)).map(name_of).collect();
    let mut images: Vec<String> = pods.iter().filter_map(proxy).collect();
    images.sort();
    images.dedup();
    if !stuck.is_empty() {
        Check::failed(id, title, format!("image `{NOT_INJECTED}` in {}", stuck.join(", ")))
            .with_hint("they were made before the injector worked: run the pipeline, it replaces them")
    } else if images.is_empty() {
        Check::failed(id, title, "there are no pods")
            .with_hint("look at the events of the gateway's ReplicaSet")
    } else {
        Check::passed(id, title, images.join(", "))
    }
}

fn answers_ready(cx: &Cx<'_>, pods: &[Value]) -> Check {
    let (id, title) = ("gateway-ready", "the gateway's proxies say that they are ready");
    if let Some(skipped) = checks::needs_running(cx, id, title) {
        return skipped;
    }
    let mut wrong = Vec::new();
    let mut silent = Vec::new();
    for pod in pods {
        match cx.http_get(Endpoint::of_pod(&reference(pod), STATUS_PORT), "/healthz/ready") {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => wrong.push(format!("{} answered {}", name_of(pod), answer.status)),
            Err(error) => silent.push(format!("{}: {error}", name_of(pod))),
        }
    }
    if !wrong.is_empty() {
        Check::failed(id, title, wrong.join(", "))
            .with_hint("the proxy has no configuration from istiod: see its log")
    } else if !silent.is_empty() {
        Check::skipped(id, title, silent.join(", "))
    } else if pods.is_empty() {
        Check::failed(id, title, "there are no pods")
    } else {
        Check::passed(id, title, format!("{} answered 200 on port {STATUS_PORT}", counted(pods.len(), "pod")))
    }
}

fn selects(config: &Config, cx: &Cx<'_>, gateway: Option<&Value>, pods: &[Value]) -> Check {
    let (id, title) =
        ("gateway-selector", format!("{} selects the gateway's pods", gateway_reference(config)));
    if let Some(skipped) = checks::needs_running(cx, id, &title) {
        return skipped;
    }
    let Some(gateway) = gateway else {
        return Check::failed(id, title, "it does not exist").with_hint("run the pipeline");
    };
    let selector = gateway["spec"]["selector"].as_object().cloned().unwrap_or_default();
    let selected = |pod: &&Value| {
        let labels = labels_of(pod);
        selector.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    };
    let wanted: Vec<String> =
        selector.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let evidence =
        format!("{} selects {}", wanted.join(","), counted(pods.iter().filter(selected).count(), "pod"));
    if pods.iter().any(|pod| selected(&pod)) {
        Check::passed(id, title, evidence)
    } else {
        Check::failed(id, title, evidence).with_hint("the label `istio` follows the name of the Helm release")
    }
}

fn certificate(config: &Config, cx: &Cx<'_>, gateway: &Value) -> Result<Option<Check>> {
    let servers = gateway["spec"]["servers"].as_array().into_iter().flatten();
    let Some(name) = servers.filter_map(|server| server["tls"]["credentialName"].as_str()).next() else {
        return Ok(None);
    };
    let (id, title) = ("gateway-certificate", format!("Secret {}/{name} serves HTTPS", config.namespace));
    let secret = cx.get(&ObjectRef::namespaced("v1", "Secret", &config.namespace, name))?;
    Ok(Some(match secret {
        Some(secret) if has_key_pair(&secret) => Check::passed(id, title, "it holds a certificate and a key"),
        Some(_) => Check::failed(id, title, "it holds no certificate and key"),
        None => {
            Check::failed(id, title, "it does not exist").with_hint("every TLS handshake on port 443 fails")
        }
    }))
}

fn address_of(service: &Value) -> Option<String> {
    let ingress = service.pointer("/status/loadBalancer/ingress/0")?;
    ingress["hostname"].as_str().or(ingress["ip"].as_str()).map(str::to_owned)
}

fn has_address(config: &Config, cx: &Cx<'_>, address: Option<&str>) -> Check {
    let (id, title) = ("gateway-address", format!("{} has an address", service(config)));
    if let Some(skipped) = checks::needs_running(cx, id, &title) {
        return skipped;
    }
    let hint = "the controller of the load balancer says why in the Service's events";
    match address {
        Some(address) => Check::passed(id, title, address),
        None if config.address.required => Check::failed(id, title, "none yet").with_hint(hint),
        None => Check::warning(id, title, "none yet").with_hint(hint),
    }
}

fn answers_http(config: &Config, cx: &Cx<'_>, address: Option<&str>, gateway: Option<&Value>) -> Check {
    let (id, title) = ("gateway-http", "the gateway answers on port 80");
    if let Some(skipped) = checks::needs_running(cx, id, title) {
        return skipped;
    }
    let Some(address) = address else { return Check::skipped(id, title, "it has no address") };
    let servers = gateway.and_then(|gateway| gateway["spec"]["servers"].as_array());
    let redirects = servers.into_iter().flatten().any(|server| server["tls"]["httpsRedirect"] == true);
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    match cx.http_get(Endpoint::Address { address: format!("{host}:80") }, "/") {
        Ok(answer) if redirects => {
            let to = answer.headers.get("location").map_or("nowhere", String::as_str);
            let evidence = format!("{} to {to}", answer.status);
            if answer.status == 301 && to.starts_with("https://") {
                Check::passed(id, title, evidence)
            } else {
                Check::failed(id, title, evidence)
                    .with_hint("the default Gateway redirects to HTTPS: 301 is expected")
            }
        }
        // Without a VirtualService for the host, 404 is the gateway's own right answer.
        Ok(answer) if answer.status < 500 => Check::passed(id, title, format!("status {}", answer.status)),
        Ok(answer) => Check::failed(id, title, format!("status {}", answer.status))
            .with_hint("a VirtualService leads to a workload that does not answer"),
        Err(error) if config.service.load_balancer.scheme == Some(Scheme::Internal) => {
            Check::skipped(id, title, format!("an internal load balancer: {error}"))
        }
        Err(error) => Check::warning(id, title, error.to_string())
            .with_hint("a new name takes minutes to resolve; else check scheme, security groups and subnets"),
    }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn installed(image: &str, servers: Value, ingress: Value) -> FakeCluster {
        FakeCluster::new()
            .with(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "istio-gateway", "namespace": "istio-system" },
                "spec": { "replicas": 1 }, "status": { "readyReplicas": 1 },
            }))
            .with(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "istio-gateway-a", "namespace": "istio-system", "labels": { "istio": "gateway" },
                },
                "spec": { "containers": [{ "name": "istio-proxy", "image": image }] },
            }))
            .with(json!({
                "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
                "metadata": { "name": "default-gateway", "namespace": "istio-system" },
                "spec": { "selector": { "istio": "gateway" }, "servers": servers },
            }))
            .with(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "istio-gateway", "namespace": "istio-system" },
                "status": { "loadBalancer": { "ingress": ingress } },
            }))
    }

    fn report(with: Value, cluster: &FakeCluster) -> Result<String> {
        let config: Config = from_value(with).expect("a configuration");
        let line = |check: &Check| format!("{:?} {}: {}", check.status, check.title, check.evidence);
        Ok(check(&config, &cluster.cx("gateway"))?.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn healthy_http_gateway() -> Result<()> {
        let cluster = installed(
            "docker.io/istio/proxyv2:1.19.3",
            json!([{ "port": { "number": 80 } }]),
            json!([{ "hostname": "lb.example.com" }]),
        )
        .answering("pod istio-system/istio-gateway-a:15021/healthz/ready", 200, "")
        .answering("lb.example.com:80/", 404, "");
        insta::assert_snapshot!(report(json!({ "version": "1.19.3" }), &cluster)?, @r"
        Passed Deployment istio-system/istio-gateway is available: 1 of 1 replicas are ready
        Passed the gateway's pods have a proxy: docker.io/istio/proxyv2:1.19.3
        Passed the gateway's proxies say that they are ready: 1 pod answered 200 on port 15021
        Passed Gateway istio-system/default-gateway selects the gateway's pods: istio=gateway selects 1 pod
        Passed Service istio-system/istio-gateway has an address: lb.example.com
        Passed the gateway answers on port 80: status 404
        ");
        Ok(())
    }

    #[test]
    fn gateway_without_proxy_certificate_and_redirect() -> Result<()> {
        let servers = json!([
            { "port": { "number": 80 }, "tls": { "httpsRedirect": true } },
            { "port": { "number": 443 }, "tls": { "mode": "SIMPLE", "credentialName": "certs" } },
        ]);
        let cluster = installed("auto", servers, json!([{ "ip": "203.0.113.7" }]))
            .answering("pod istio-system/istio-gateway-a:15021/healthz/ready", 503, "")
            .answering("203.0.113.7:80/", 404, "");
        let with = json!({ "version": "1.19.3", "autoscaling": { "min": 2 } });
        insta::assert_snapshot!(report(with, &cluster)?, @r"
        Failed Deployment istio-system/istio-gateway is available: 1 of 2 replicas are ready
        Failed the gateway's pods have a proxy: image `auto` in istio-gateway-a
        Failed the gateway's proxies say that they are ready: istio-gateway-a answered 503
        Passed Gateway istio-system/default-gateway selects the gateway's pods: istio=gateway selects 1 pod
        Failed Secret istio-system/certs serves HTTPS: it does not exist
        Passed Service istio-system/istio-gateway has an address: 203.0.113.7
        Failed the gateway answers on port 80: 404 to nowhere
        ");
        Ok(())
    }

    #[test]
    fn address_that_is_still_to_come_fails_only_where_it_is_required() -> Result<()> {
        let cluster = installed("docker.io/istio/proxyv2:1.19.3", json!([]), json!([]));
        let last = |with: Value| -> Result<String> {
            let report = report(with, &cluster)?;
            Ok(report.lines().rev().take(2).collect::<Vec<_>>().join("\n"))
        };
        insta::assert_snapshot!(last(json!({ "version": "1.19.3" }))?, @r"
        Skipped the gateway answers on port 80: it has no address
        Warning Service istio-system/istio-gateway has an address: none yet
        ");
        insta::assert_snapshot!(last(json!({ "version": "1.19.3", "address": { "required": true } }))?, @r"
        Skipped the gateway answers on port 80: it has no address
        Failed Service istio-system/istio-gateway has an address: none yet
        ");
        Ok(())
    }
}
