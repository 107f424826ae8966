//! What the end of the gateway means for others: who sends traffic through it, and what its load balancer leaves.
//!
//! The gateway leaves no objects of its own. A load balancer goes by a finalizer of its Service, which meshrun waits
//! for; whatever keeps the cloud from deleting it has to be known before.

use meshrun_mesh_facts::{NETWORKING_BETA, items, list_served, namespace_of, some_of};
use meshrun_plugin_common::{labels_of, name_of};
use meshrun_sdk::{
    prelude::{Cx, Diagnostic, Result, Value},
    protocol::TeardownResponse,
};

use crate::{
    Config,
    release::{deployment, service},
};

const ATTRIBUTES: &str = "service.beta.kubernetes.io/aws-load-balancer-attributes";

pub(crate) fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
    let mut diagnostics = Vec::new();
    if let Some(deployment) = cx.get(&deployment(config))? {
        diagnostics.extend(traffic(config, cx, &deployment["spec"]["template"])?);
    }
    if let Some(service) = cx.get(&service(config))? {
        diagnostics.extend(load_balancer(&service));
    }
    Ok(TeardownResponse { diagnostics, ..TeardownResponse::default() })
}

/// Says which Gateways and VirtualServices of others lose their traffic. `pod` is the gateway's pod template.
fn traffic(config: &Config, cx: &Cx<'_>, pod: &Value) -> Result<Vec<Diagnostic>> {
    let apis = [config.version.networking_api(), NETWORKING_BETA];
    let labels = labels_of(pod);
    let selects = |gateway: &&Value| {
        let selector = gateway["spec"]["selector"].as_object().into_iter().flatten();
        let mut pairs = selector.map(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
        pairs.all(|same| same)
    };
    let gateways = list_served(cx, &apis, "Gateway")?;
    let served: Vec<&Value> = gateways.iter().filter(selects).collect();
    let names: Vec<String> = served.iter().map(|gateway| full_name(gateway)).collect();
    let attached = |route: &&Value| {
        items(&route["spec"]["gateways"]).iter().filter_map(Value::as_str).any(|name| {
            let name =
                if name.contains('/') { name.to_owned() } else { format!("{}/{name}", namespace_of(route)) };
            names.contains(&name)
        })
    };
    let routes = list_served(cx, &apis, "VirtualService")?;
    let others = |objects: Vec<&Value>| -> Vec<String> {
        objects.into_iter().filter(|object| !is_own(config, object)).map(full_name).collect()
    };
    let found =
        [("Gateways", others(served)), ("VirtualServices", others(routes.iter().filter(attached).collect()))];
    Ok(found
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| {
            Diagnostic::warning("", format!("nobody serves these {kind} any more: {}", some_of(&names, 5)))
                .with_code("istio/gateway-in-use")
                .with_hint("point them at another gateway first, or expect their hosts to be unreachable")
        })
        .collect())
}

/// Whether the step itself made a Gateway or VirtualService.
fn is_own(config: &Config, object: &Value) -> bool {
    let default = &config.default_gateway;
    let is_default = default.enabled
        && object["kind"] == "Gateway"
        && (namespace_of(object), name_of(object)) == (config.namespace.as_str(), default.name.as_str());
    is_default
        || config
            .objects
            .iter()
            .any(|own| own["kind"] == object["kind"] && full_name(own) == full_name(object))
}

fn full_name(object: &Value) -> String {
    format!("{}/{}", namespace_of(object), name_of(object))
}

/// Says what the end of the load balancer takes, and what keeps it from ending.
fn load_balancer(service: &Value) -> Vec<Diagnostic> {
    if service["spec"]["type"] != "LoadBalancer" {
        return Vec::new();
    }
    let attributes = service["metadata"]["annotations"][ATTRIBUTES].as_str().unwrap_or_default();
    let protected =
        attributes.split(',').any(|attribute| attribute.trim() == "deletion_protection.enabled=true");
    let protection = protected.then(|| {
        Diagnostic::warning("", "the load balancer is protected against deletion, so its Service cannot go")
            .with_code("istio/load-balancer-protected")
            .with_hint(format!(
                "set `deletion_protection.enabled: false` in {ATTRIBUTES} of Service {} first",
                full_name(service)
            ))
    });
    let ingress = &service["status"]["loadBalancer"]["ingress"][0];
    let address = ingress["hostname"].as_str().or_else(|| ingress["ip"].as_str());
    let given_up = address.map(|address| {
        Diagnostic::hint("", format!("the address {address} is given up"))
            .with_code("istio/gateway-address")
            .with_hint("DNS records that name it must be changed: a new load balancer gets a new address")
    });
    protection.into_iter().chain(given_up).collect()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        })
    }

    fn cluster() -> FakeCluster {
        FakeCluster::new().with(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istio-gateway", "namespace": "istio-system" },
            "spec": { "template": { "metadata": { "labels": { "app": "istio-gateway", "istio": "gateway" } } } },
        }))
    }

    fn with_service(annotations: Value) -> FakeCluster {
        cluster().with(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "istio-gateway", "namespace": "istio-system", "annotations": annotations },
            "spec": { "type": "LoadBalancer" },
            "status": { "loadBalancer": { "ingress": [{ "hostname": "lb.example.com" }] } },
        }))
    }

    fn findings(mut with: Value, cluster: &FakeCluster) -> Result<Vec<String>> {
        with["version"] = json!("1.30.3");
        let config: Config = from_value(with).expect("a configuration");
        let response = teardown(&config, &cluster.cx("gateway"))?;
        assert_eq!((response.before.len(), response.leftovers.len(), response.custom.len()), (0, 0, 0));
        Ok(response.diagnostics.into_iter().map(|found| found.message).collect())
    }

    #[test]
    fn names_what_others_serve_through_it() -> Result<()> {
        let ours = json!({ "istio": "gateway" });
        let cluster = cluster()
            .with(object("Gateway", "istio-system", "default-gateway", json!({ "selector": ours })))
            .with(object("Gateway", "shop", "web", json!({ "selector": ours })))
            .with(object("Gateway", "shop", "egress", json!({ "selector": { "istio": "egressgateway" } })))
            .with(object(
                "Gateway",
                "bank",
                "two",
                json!({ "selector": { "istio": "gateway", "app": "edge" } }),
            ))
            .with(object("VirtualService", "shop", "cart", json!({ "gateways": ["web", "mesh"] })))
            .with(object(
                "VirtualService",
                "bank",
                "api",
                json!({ "gateways": ["istio-system/default-gateway"] }),
            ))
            .with(object("VirtualService", "bank", "web", json!({ "gateways": ["web"] })))
            .with(object("VirtualService", "bank", "inside", json!({ "hosts": ["api"] })));
        assert_eq!(
            findings(json!({}), &cluster)?,
            [
                "nobody serves these Gateways any more: shop/web",
                "nobody serves these VirtualServices any more: shop/cart, bank/api",
            ]
        );
        Ok(())
    }

    #[test]
    fn own_objects_are_nobody_elses() -> Result<()> {
        let route = object(
            "VirtualService",
            "istio-system",
            "kiali",
            json!({ "gateways": ["istio-system/default-gateway"] }),
        );
        let cluster = cluster()
            .with(object(
                "Gateway",
                "istio-system",
                "default-gateway",
                json!({ "selector": { "istio": "gateway" } }),
            ))
            .with(route.clone());
        assert!(findings(json!({ "objects": [route] }), &cluster)?.is_empty());
        Ok(())
    }

    #[test]
    fn address_that_is_given_up_is_named() -> Result<()> {
        assert_eq!(
            findings(json!({}), &with_service(json!({})))?,
            ["the address lb.example.com is given up"]
        );
        Ok(())
    }

    #[test]
    fn protected_load_balancer_is_a_warning() -> Result<()> {
        let attributes = "load_balancing.cross_zone.enabled=true,deletion_protection.enabled=true";
        assert_eq!(
            findings(json!({}), &with_service(json!({ ATTRIBUTES: attributes })))?,
            [
                "the load balancer is protected against deletion, so its Service cannot go",
                "the address lb.example.com is given up",
            ]
        );
        Ok(())
    }

    #[test]
    fn gateway_that_is_not_there_has_nothing_to_say() -> Result<()> {
        let cluster = FakeCluster::new().rehearsal().with(object(
            "Gateway",
            "shop",
            "web",
            json!({ "selector": { "istio": "gateway" } }),
        ));
        assert!(findings(json!({}), &cluster)?.is_empty());
        Ok(())
    }
}
