//! What istiod made by itself and nobody takes away with its release.
//!
//! The names come from several Istio versions (`pilot/pkg/leaderelection/leaderelection.go`, `gatewayclass.go`,
//! `namespacecontroller.go`, `security/pkg/pki/ca/ca.go`): an upgrade leaves those of its older versions behind.

use meshrun_mesh_facts::{list_served, namespace_of, some_of};
use meshrun_plugin_common::{list, name_of, reference};
use meshrun_sdk::{
    prelude::{Cx, Diagnostic, ObjectRef, Result, Value},
    protocol::Leftover,
};

use super::reach::{REVISION_LABEL, Reach};

/// ConfigMaps that istiod puts into every namespace, with the label that says so.
const EVERYWHERE: [&str; 2] = ["istio-ca-root-cert", "istio-ca-crl"];
const EVERYWHERE_LABEL: &str = "istio.io/config=true";
/// Names of its leader elections; a Lease of one revision has `-<revision>` behind it.
const ELECTIONS: [&str; 12] = [
    "istio-analyze-leader",
    "istio-clustertrustbundle-controller-election",
    "istio-gateway-deployment",
    "istio-gateway-deployment-leader",
    "istio-gateway-inferencepool",
    "istio-gateway-status-leader",
    "istio-ip-autoallocate",
    "istio-leader",
    "istio-namespace-controller-election",
    "istio-node-untaint",
    "istio-serviceexport-controller-election",
    "istio-status-leader",
];
/// GatewayClasses that istiod makes where they are missing; others with its controller were made by people.
const CLASSES: [&str; 4] = ["istio", "istio-east-west", "istio-remote", "istio-waypoint"];
const GATEWAY_API: [&str; 2] = ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"];
const CA_SECRET: &str = "istio-ca-secret";

/// What is left, and what is worth saying about it.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) leftovers: Vec<Leftover>,
    pub(super) findings: Vec<Diagnostic>,
}

pub(super) fn find(reach: &Reach, cx: &Cx<'_>) -> Result<Left> {
    let deployment = reach.plane.deployment();
    let mut others: Vec<ObjectRef> =
        list(cx, "apps/v1", "Deployment", None, "app=istiod")?.iter().map(reference).collect();
    others.retain(|other| *other != deployment);
    let beside = others.iter().any(|other| other.namespace == deployment.namespace);

    let mut left = Left::default();
    let mut own = elections(reach, cx, !beside)?;
    if !beside && let Some(secret) = ca_secret(reach, cx)? {
        left.findings.push(new_root(&secret));
        own.push(secret);
    }
    if others.is_empty() {
        own.extend(in_every_namespace(cx)?);
        let classes = list_served(cx, &GATEWAY_API, "GatewayClass")?;
        let classes: Vec<&Value> = classes.iter().filter(|class| is_istios(class)).collect();
        left.findings.extend(uncontrolled(&classes, cx)?);
        own.extend(classes.into_iter().filter(|class| CLASSES.contains(&name_of(class))).map(reference));
    } else {
        left.findings.push(shared(&others, beside));
    }
    left.add("istiod", own);
    left.add("istioctl tag", tags(reach, cx)?);
    Ok(left)
}

impl Left {
    fn add(&mut self, owner: &str, objects: Vec<ObjectRef>) {
        if !objects.is_empty() {
            self.leftovers.push(Leftover { objects, owner: owner.to_owned(), delete: true, hint: None });
        }
    }
}

/// Objects of the leader elections: those of this revision, and with `all` those that revisions share.
fn elections(reach: &Reach, cx: &Cx<'_>, all: bool) -> Result<Vec<ObjectRef>> {
    let mut found = Vec::new();
    for (api_version, kind) in [("v1", "ConfigMap"), ("coordination.k8s.io/v1", "Lease")] {
        found.extend(list(cx, api_version, kind, Some(&reach.plane.namespace), "")?);
    }
    let suffix = format!("-{}", reach.plane.rev());
    let is_one = |object: &&Value| {
        let name = name_of(object);
        (all && ELECTIONS.contains(&name))
            || name.strip_suffix(&suffix).is_some_and(|name| ELECTIONS.contains(&name))
    };
    Ok(found.iter().filter(is_one).map(reference).collect())
}

fn ca_secret(reach: &Reach, cx: &Cx<'_>) -> Result<Option<ObjectRef>> {
    let secret = ObjectRef::namespaced("v1", "Secret", &reach.plane.namespace, CA_SECRET);
    Ok(cx.get(&secret)?.map(|_| secret))
}

fn in_every_namespace(cx: &Cx<'_>) -> Result<Vec<ObjectRef>> {
    let maps = list(cx, "v1", "ConfigMap", None, EVERYWHERE_LABEL)?;
    Ok(maps.iter().filter(|map| EVERYWHERE.contains(&name_of(map))).map(reference).collect())
}

/// Webhooks and Services of tags that no Helm release holds: `istioctl tag set`, or a rendered and applied template.
fn tags(reach: &Reach, cx: &Cx<'_>) -> Result<Vec<ObjectRef>> {
    let services = list(cx, "v1", "Service", Some(&reach.plane.namespace), "app=istiod")?;
    let of_a_tag = services.iter().filter(|service| {
        let labels = &service["metadata"]["labels"];
        labels["istio.io/tag"].is_string() && labels[REVISION_LABEL] == reach.plane.rev()
    });
    let in_release =
        |object: &&Value| object["metadata"]["annotations"]["meta.helm.sh/release-name"].is_string();
    Ok(reach.tags.iter().chain(of_a_tag).filter(|tag| !in_release(tag)).map(reference).collect())
}

fn is_istios(class: &Value) -> bool {
    class["spec"]["controllerName"].as_str().is_some_and(|controller| controller.starts_with("istio.io/"))
}

/// Says which Gateways of the Gateway API lose their controller.
fn uncontrolled(classes: &[&Value], cx: &Cx<'_>) -> Result<Option<Diagnostic>> {
    let of_a_class =
        |gateway: &&Value| classes.iter().any(|class| gateway["spec"]["gatewayClassName"] == name_of(class));
    let gateways = list_served(cx, &GATEWAY_API, "Gateway")?;
    let names: Vec<String> = gateways
        .iter()
        .filter(of_a_class)
        .map(|gateway| format!("{}/{}", namespace_of(gateway), name_of(gateway)))
        .collect();
    Ok((!names.is_empty()).then(|| {
        Diagnostic::warning("", format!("nobody looks after these Gateways any more: {}", some_of(&names, 5)))
            .with_code("istio/gateway-api")
            .with_hint("delete them: their Deployments and Services go with them")
    }))
}

fn new_root(secret: &ObjectRef) -> Diagnostic {
    let namespace = secret.namespace.as_deref().unwrap_or_default();
    Diagnostic::warning(
        "",
        format!("{secret} goes, and with it the mesh's root of trust: a reinstalled mesh gets a new one"),
    )
    .with_code("istio/ca-secret")
    .with_hint(format!(
        "to keep it: `kubectl get secret -n {namespace} {CA_SECRET} -o yaml`; it holds a private key"
    ))
}

fn shared(others: &[ObjectRef], beside: bool) -> Diagnostic {
    let names: Vec<String> = others.iter().map(ToString::to_string).collect();
    let what = if beside {
        "root certificates, CA, leader elections and GatewayClasses"
    } else {
        "root certificates and GatewayClasses"
    };
    Diagnostic::hint("", format!("{what} stay: {} needs them", some_of(&names, 3)))
        .with_code("istio/shared-control-plane")
        .with_hint("they go with the last istiod")
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, testing::FakeCluster};

    use super::{
        super::tests::{config, istiod, object, tag},
        *,
    };

    const LEASE: &str = "coordination.k8s.io/v1";

    /// What an istiod 1.30 of the default revision leaves, and what looks like it.
    fn cluster() -> FakeCluster {
        let map =
            |namespace: &str, name: &str, labels: Value| object("v1", "ConfigMap", namespace, name, labels);
        let class = |name: &str, controller: &str| {
            let mut class = object(GATEWAY_API[0], "GatewayClass", "", name, json!({}));
            class["spec"] = json!({ "controllerName": controller });
            class
        };
        let marked = || json!({ "istio.io/config": "true" });
        FakeCluster::new()
            .with(istiod("istio-system", "istiod"))
            .with(map("istio-system", "istio", json!({})))
            .with(map("istio-system", "istio-leader", json!({})))
            .with(map("istio-system", "istio-gateway-status-leader", json!({})))
            .with(map("istio-system", "istio-ca-root-cert", marked()))
            .with(map("shop", "istio-ca-root-cert", marked()))
            .with(map("copied", "istio-ca-root-cert", json!({})))
            .with(map("shop", "istio-leader", json!({})))
            .with(object("v1", "Secret", "istio-system", CA_SECRET, json!({})))
            .with(object(LEASE, "Lease", "istio-system", "istio-gateway-deployment-default", json!({})))
            .with(object(LEASE, "Lease", "istio-system", "istio-gateway-deployment-1-31", json!({})))
            .with(class("istio", "istio.io/gateway-controller"))
            .with(class("people", "istio.io/gateway-controller"))
            .with(class("nginx", "example.com/nginx"))
    }

    fn run(with: Value, cluster: &FakeCluster) -> Result<(Vec<String>, Vec<String>)> {
        let cx = cluster.cx("istiod");
        let left = find(&Reach::read(&config(with), &cx)?, &cx)?;
        assert!(left.leftovers.iter().all(|leftover| leftover.delete));
        let objects = left.leftovers.iter().flat_map(|leftover| &leftover.objects);
        Ok((
            objects.map(ToString::to_string).collect(),
            left.findings.into_iter().map(|found| found.message).collect(),
        ))
    }

    const NEW_ROOT: &str = "Secret istio-system/istio-ca-secret goes, and with it the mesh's root of trust: a \
                            reinstalled mesh gets a new one";

    #[test]
    fn last_istiod_leaves_nothing_that_is_its_own() -> Result<()> {
        let (objects, findings) = run(json!({}), &cluster())?;
        assert_eq!(
            objects,
            [
                "ConfigMap istio-system/istio-leader",
                "ConfigMap istio-system/istio-gateway-status-leader",
                "Lease istio-system/istio-gateway-deployment-default",
                "Secret istio-system/istio-ca-secret",
                "ConfigMap istio-system/istio-ca-root-cert",
                "ConfigMap shop/istio-ca-root-cert",
                "GatewayClass istio",
            ]
        );
        assert_eq!(findings, [NEW_ROOT]);
        Ok(())
    }

    #[test]
    fn what_another_revision_shares_stays() -> Result<()> {
        let cluster = cluster().with(istiod("istio-system", "istiod-1-31"));
        let (objects, findings) = run(json!({}), &cluster)?;
        assert_eq!(objects, ["Lease istio-system/istio-gateway-deployment-default"]);
        assert_eq!(
            findings,
            ["root certificates, CA, leader elections and GatewayClasses stay: Deployment \
                 istio-system/istiod-1-31 needs them"]
        );
        Ok(())
    }

    #[test]
    fn istiod_of_another_namespace_has_a_ca_of_its_own() -> Result<()> {
        let (objects, findings) = run(json!({}), &cluster().with(istiod("mesh", "istiod")))?;
        assert_eq!(objects.len(), 4);
        assert_eq!(objects[3], "Secret istio-system/istio-ca-secret");
        assert_eq!(
            findings,
            [NEW_ROOT, "root certificates and GatewayClasses stay: Deployment mesh/istiod needs them"]
        );
        Ok(())
    }

    #[test]
    fn tags_outside_a_release_are_left_over() -> Result<()> {
        let mut released = tag("prod", "default");
        released["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "istiod" });
        let labels = json!({ "app": "istiod", "istio.io/tag": "stable", "istio.io/rev": "default" });
        let cluster = FakeCluster::new()
            .with(released)
            .with(tag("stable", "default"))
            .with(tag("canary", "1-31"))
            .with(object("v1", "Service", "istio-system", "istiod-revision-tag-stable", labels))
            .with(object("v1", "Service", "istio-system", "istiod", json!({ "app": "istiod" })));
        assert_eq!(
            run(json!({}), &cluster)?.0,
            [
                "MutatingWebhookConfiguration istio-revision-tag-stable",
                "Service istio-system/istiod-revision-tag-stable",
            ]
        );
        Ok(())
    }

    #[test]
    fn gateways_of_the_gateway_api_that_lose_their_controller_are_named() -> Result<()> {
        let gateway = |name: &str, class: &str| {
            let mut gateway = object(GATEWAY_API[0], "Gateway", "shop", name, json!({}));
            gateway["spec"] = json!({ "gatewayClassName": class });
            gateway
        };
        let cluster = cluster()
            .with(gateway("web", "istio"))
            .with(gateway("api", "people"))
            .with(gateway("old", "nginx"));
        assert_eq!(
            run(json!({}), &cluster)?.1,
            [NEW_ROOT, "nobody looks after these Gateways any more: shop/web, shop/api"]
        );
        Ok(())
    }
}
