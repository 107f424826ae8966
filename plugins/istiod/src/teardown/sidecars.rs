//! Takes the sidecars off: labels of namespaces first, then a restart of what runs with a sidecar.
//!
//! All labels go before the first restart: the API server learns of them by watch, and a pod that is made before it
//! has would get a new sidecar. A pod says itself who injected it, so a second attempt finds what the first one left.

use std::collections::{BTreeMap, BTreeSet};

use meshrun_mesh_facts::{
    items, namespace_of,
    sidecar::{has_proxy, is_meshed},
    some_of,
};
use meshrun_plugin_common::{list, name_of, pods, reference};
use meshrun_sdk::{
    prelude::{Cx, Diagnostic, ObjectRef, Plan, Result, Value},
    protocol::Leftover,
};

use super::reach::Reach;

/// What runs with a sidecar in one namespace.
#[derive(Debug, Default)]
struct Meshed {
    workloads: BTreeSet<ObjectRef>,
    /// Pods that no restart reaches.
    pods: Vec<String>,
}

/// Returns the actions, and what keeps its sidecar all the same.
pub(super) fn take_off(reach: &Reach, cx: &Cx<'_>, mut plan: Plan) -> Result<(Plan, Vec<Leftover>)> {
    let mut staying = Vec::new();
    let mut asking = BTreeSet::new();
    for namespace in list(cx, "v1", "Namespace", None, "")? {
        let labels: Vec<_> = reach.asked_by(&namespace).into_iter().map(|label| (label, None)).collect();
        if !labels.is_empty() {
            let name = name_of(&namespace);
            plan = plan.label(&format!("label-{name}"), reference(&namespace), &labels);
            asking.insert(name.to_owned());
        }
    }
    let mut kept = Vec::new();
    for (namespace, meshed) in meshed(reach, cx, &asking)? {
        let mut restarted = Vec::new();
        for workload in meshed.workloads {
            let Some(object) = cx.get(&workload)? else { continue };
            let template = &object["spec"]["template"];
            if has_proxy(template) || reach.asked_by_template(template) {
                kept.push(workload);
            } else {
                restarted.push(workload);
            }
        }
        if !restarted.is_empty() {
            let reason = format!("pods run a proxy of {}", reach.plane.istiod());
            // A workload that does not come up again for reasons of its own must not keep the mesh from going: what still
            // has a sidecar at the end is reported.
            plan = plan.restart(&format!("restart-{namespace}"), restarted, &reason).optional();
        }
        if !meshed.pods.is_empty() {
            plan = plan.diagnostic(no_restart(&namespace, &meshed.pods));
            let pod = |name: &String| ObjectRef::namespaced("v1", "Pod", &namespace, name);
            let hint = kubectl_delete(&namespace, &meshed.pods);
            staying.push(sidecar_of(meshed.pods.iter().map(pod).collect(), hint));
        }
    }
    if !kept.is_empty() {
        plan = plan.diagnostic(own_wish(&kept));
        staying.push(sidecar_of(kept, OWN_WISH.to_owned()));
    }
    Ok((plan, staying))
}

/// Applications with a sidecar of this istiod, by namespace. Gateways are none: without an injector they get no image.
fn meshed(reach: &Reach, cx: &Cx<'_>, asking: &BTreeSet<String>) -> Result<BTreeMap<String, Meshed>> {
    let mut by_namespace: BTreeMap<String, Meshed> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for pod in pods(cx, None, "")? {
        let namespace = namespace_of(&pod);
        if namespace == reach.plane.namespace
            || !is_meshed(&pod)
            || !pod["metadata"]["deletionTimestamp"].is_null()
            || !reach.injected(&pod, asking.contains(namespace))
        {
            continue;
        }
        let meshed = by_namespace.entry(namespace.to_owned()).or_default();
        match workload(cx, &pod, &mut known)? {
            Some(workload) => {
                meshed.workloads.insert(workload);
            }
            None => meshed.pods.push(name_of(&pod).to_owned()),
        }
    }
    Ok(by_namespace)
}

/// The workload that a restart of makes a pod anew. `known` holds the workloads of the ReplicaSets seen so far.
fn workload(
    cx: &Cx<'_>,
    pod: &Value,
    known: &mut BTreeMap<ObjectRef, Option<ObjectRef>>,
) -> Result<Option<ObjectRef>> {
    let Some(owner) = controller(pod) else { return Ok(None) };
    if owner.kind != "ReplicaSet" {
        return Ok(restartable(owner));
    }
    if let Some(found) = known.get(&owner) {
        return Ok(found.clone());
    }
    let found = cx.get(&owner)?.as_ref().and_then(controller).and_then(restartable);
    known.insert(owner, found.clone());
    Ok(found)
}

fn restartable(owner: ObjectRef) -> Option<ObjectRef> {
    let kind = matches!(owner.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet");
    (kind && owner.group() == "apps").then_some(owner)
}

fn controller(object: &Value) -> Option<ObjectRef> {
    let owners = items(&object["metadata"]["ownerReferences"]);
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some(ObjectRef::namespaced(
        owner["apiVersion"].as_str()?,
        owner["kind"].as_str()?,
        namespace_of(object),
        owner["name"].as_str()?,
    ))
}

/// Objects of others that keep a sidecar.
fn sidecar_of(objects: Vec<ObjectRef>, hint: String) -> Leftover {
    Leftover { objects, owner: "others, its sidecar by istiod".to_owned(), delete: false, hint: Some(hint) }
}

fn kubectl_delete(namespace: &str, pods: &[String]) -> String {
    format!(
        "keep the manifest of what nobody makes again, then run `kubectl delete pod -n {namespace} {}`",
        pods.join(" ")
    )
}

fn no_restart(namespace: &str, pods: &[String]) -> Diagnostic {
    let names = some_of(pods, 5);
    let message = match pods {
        [_] => format!(
            "pod {names} in namespace {namespace} keeps its sidecar: no Deployment or the like made it"
        ),
        _ => format!(
            "pods {names} in namespace {namespace} keep their sidecars: no Deployment or the like made them"
        ),
    };
    Diagnostic::warning("", message)
        .with_code("istio/sidecar-stays")
        .with_hint(kubectl_delete(namespace, pods))
}

const OWN_WISH: &str = "take the labels sidecar.istio.io/inject and istio.io/rev, and a container istio-proxy, out of the template";

fn own_wish(workloads: &[ObjectRef]) -> Diagnostic {
    let names: Vec<String> = workloads.iter().map(ToString::to_string).collect();
    let (names, verb) = (some_of(&names, 5), if workloads.len() == 1 { "asks" } else { "ask" });
    let message =
        format!("{names} {verb} for a sidecar in the pod template, so a restart would bring a new one");
    Diagnostic::warning("", message).with_code("istio/sidecar-stays").with_hint(OWN_WISH)
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{Action, json},
        protocol::PlanResponse,
        testing::FakeCluster,
    };

    use super::{
        super::tests::{config, namespace, object},
        *,
    };

    fn owned(mut object: Value, kind: &str, name: &str) -> Value {
        object["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true }]);
        object
    }

    fn pod(namespace: &str, name: &str, revision: &str) -> Value {
        let mut pod = object("v1", "Pod", namespace, name, json!({}));
        pod["metadata"]["annotations"] = json!({ "istio.io/rev": revision });
        pod["spec"] = json!({ "containers": [{ "name": "app" }, { "name": "istio-proxy" }] });
        pod
    }

    /// A Deployment with a pod behind its ReplicaSet.
    fn deployment(cluster: FakeCluster, namespace: &str, name: &str, revision: &str) -> FakeCluster {
        let set = format!("{name}-5d4f8");
        cluster
            .with(object("apps/v1", "Deployment", namespace, name, json!({})))
            .with(owned(object("apps/v1", "ReplicaSet", namespace, &set, json!({})), "Deployment", name))
            .with(owned(pod(namespace, &format!("{set}-a"), revision), "ReplicaSet", &set))
            .with(owned(pod(namespace, &format!("{set}-b"), revision), "ReplicaSet", &set))
    }

    fn run(with: Value, cluster: &FakeCluster) -> Result<(PlanResponse, Vec<Leftover>)> {
        let cx = cluster.cx("istiod");
        let (plan, staying) = take_off(&Reach::read(&config(with), &cx)?, &cx, Plan::new())?;
        Ok((plan.into_response(), staying))
    }

    /// Actions as `id: what`.
    fn actions(response: &PlanResponse) -> Vec<String> {
        let say = |action: &Action| {
            let kind = json!(action.kind);
            let of =
                |object: &Value| format!("{} {}", object["kind"].as_str().unwrap_or("?"), object["name"]);
            let what = match kind["type"].as_str() {
                Some("label") => format!("{} {}", of(&kind["object"]), kind["labels"]),
                _ => items(&kind["workloads"]).iter().map(of).collect::<Vec<_>>().join(", "),
            };
            format!("{}: {what}", action.id).replace('"', "")
        };
        response.actions.iter().map(say).collect()
    }

    #[test]
    fn labels_go_first_then_workloads_restart_and_strangers_are_left_alone() -> Result<()> {
        let mut cluster = FakeCluster::new()
            .with(namespace("istio-system", json!({ "istio-injection": "enabled" })))
            .with(namespace("bank", json!({ "istio.io/rev": "default" })))
            .with(namespace("shop", json!({ "istio-injection": "enabled" })))
            .with(namespace("stranger", json!({ "istio.io/rev": "1-31" })))
            .with(owned(pod("shop", "db-0", "default"), "StatefulSet", "db"))
            .with(object("apps/v1", "StatefulSet", "shop", "db", json!({})));
        for (namespace, name, revision) in [
            ("shop", "cart", "default"),
            ("shop", "web", "default"),
            ("bank", "vault", "default"),
            ("stranger", "other", "1-31"),
            ("istio-system", "kiali", "default"),
        ] {
            cluster = deployment(cluster, namespace, name, revision);
        }
        let (response, staying) = run(json!({}), &cluster)?;
        assert_eq!(
            actions(&response),
            [
                "label-bank: Namespace bank {istio.io/rev:null}",
                "label-shop: Namespace shop {istio-injection:null}",
                "restart-bank: Deployment vault",
                "restart-shop: Deployment cart, Deployment web, StatefulSet db",
            ]
        );
        assert_eq!(response.diagnostics, []);
        assert_eq!(staying, []);
        assert_eq!(json!(response.actions[2].kind)["reason"], "pods run a proxy of istiod");
        Ok(())
    }

    #[test]
    fn revision_takes_its_own_pods_only() -> Result<()> {
        let mut cluster = FakeCluster::new()
            .with(namespace("moving", json!({ "istio.io/rev": "1-30" })))
            .with(namespace("shop", json!({ "istio-injection": "enabled" })));
        cluster = deployment(cluster, "moving", "old", "default");
        cluster = deployment(cluster, "moving", "new", "1-30");
        cluster = deployment(cluster, "shop", "web", "default");
        assert_eq!(
            actions(&run(json!({ "revision": "1-30" }), &cluster)?.0),
            ["label-moving: Namespace moving {istio.io/rev:null}", "restart-moving: Deployment new"]
        );
        Ok(())
    }

    #[test]
    fn second_attempt_finds_pods_whose_namespace_has_lost_its_label() -> Result<()> {
        let cluster = FakeCluster::new().with(namespace("shop", json!({})));
        let mut native = pod("shop", "late-0", "default");
        native["spec"] =
            json!({ "containers": [{ "name": "app" }], "initContainers": [{ "name": "istio-proxy" }] });
        let cluster = cluster.with(object("apps/v1", "DaemonSet", "shop", "late", json!({}))).with(owned(
            native,
            "DaemonSet",
            "late",
        ));
        assert_eq!(actions(&run(json!({}), &cluster)?.0), ["restart-shop: DaemonSet late"]);
        Ok(())
    }

    #[test]
    fn gateways_are_not_restarted() -> Result<()> {
        let mut gateway = pod("edge", "istio-gateway-a", "default");
        gateway["spec"] = json!({ "containers": [{ "name": "istio-proxy" }] });
        let cluster = FakeCluster::new()
            .with(namespace("edge", json!({ "istio-injection": "enabled" })))
            .with(owned(gateway, "DaemonSet", "istio-gateway"))
            .with(object("apps/v1", "DaemonSet", "edge", "istio-gateway", json!({})));
        assert_eq!(
            actions(&run(json!({}), &cluster)?.0),
            ["label-edge: Namespace edge {istio-injection:null}"]
        );
        Ok(())
    }

    #[test]
    fn pods_that_no_restart_reaches_are_named_with_the_command() -> Result<()> {
        let mut without_annotation = pod("shop", "debug", "");
        without_annotation["metadata"]["annotations"] = json!({});
        let cluster = FakeCluster::new()
            .with(namespace("shop", json!({ "istio-injection": "enabled" })))
            .with(without_annotation)
            .with(owned(pod("shop", "nightly-x", "default"), "Job", "nightly"));
        let (response, staying) = run(json!({}), &cluster)?;
        assert_eq!(actions(&response), ["label-shop: Namespace shop {istio-injection:null}"]);
        assert_eq!(
            response.diagnostics[0].message,
            "pods debug, nightly-x in namespace shop keep their sidecars: no Deployment or the like made them"
        );
        let hint = "keep the manifest of what nobody makes again, then run `kubectl delete pod -n shop debug nightly-x`";
        assert_eq!(response.diagnostics[0].hint.as_deref(), Some(hint));
        let pods: Vec<String> = staying[0].objects.iter().map(ToString::to_string).collect();
        assert_eq!(
            (pods.as_slice(), staying[0].delete),
            (&["Pod shop/debug".into(), "Pod shop/nightly-x".into()][..], false)
        );
        assert_eq!(staying[0].hint.as_deref(), Some(hint));
        Ok(())
    }

    #[test]
    fn template_that_asks_for_a_sidecar_itself_is_left_to_its_owner() -> Result<()> {
        let mut asks = object("apps/v1", "StatefulSet", "shop", "db", json!({}));
        asks["spec"]["template"]["metadata"]["labels"] = json!({ "sidecar.istio.io/inject": "true" });
        let cluster = FakeCluster::new().with(namespace("shop", json!({}))).with(asks).with(owned(
            pod("shop", "db-0", "default"),
            "StatefulSet",
            "db",
        ));
        let (response, staying) = run(json!({}), &cluster)?;
        assert_eq!(actions(&response), Vec::<String>::new());
        assert_eq!(
            response.diagnostics[0].message,
            "StatefulSet shop/db asks for a sidecar in the pod template, so a restart would bring a new one"
        );
        assert_eq!(staying.len(), 1);
        assert_eq!(staying[0].objects, [ObjectRef::namespaced("apps/v1", "StatefulSet", "shop", "db")]);
        Ok(())
    }
}
