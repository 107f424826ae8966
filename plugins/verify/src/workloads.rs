//! Pods and Services: do they run, are they ready, and if not, why.

use meshrun_mesh_facts::{count, items, namespace_of, some_of};
use meshrun_plugin_common::{checks, is_ready, name_of, pods};
use meshrun_sdk::prelude::{Check, Cx, ObjectRef, Result, Value};

use crate::config::Config;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let own = config.namespace.as_str();
    let mut found = vec![
        pods_of(cx, "pods", own)?,
        endpoints(cx, "istiod-endpoints", own, &config.control_plane().istiod())?,
    ];
    if let Some(gateway) = &config.gateway {
        let namespace = config.or_own(gateway.namespace.as_deref());
        if namespace != own {
            found.push(pods_of(cx, "gateway-pods", namespace)?);
        }
        found.push(endpoints(cx, "gateway-endpoints", namespace, &gateway.name)?);
    }
    if let Some(kiali) = &config.kiali {
        let namespace = config.or_own(kiali.namespace.as_deref());
        let deployment = ObjectRef::namespaced("apps/v1", "Deployment", namespace, &kiali.name);
        found.push(checks::deployment(cx, "kiali", &deployment, 1)?);
    }
    Ok(found)
}

fn pods_of(cx: &Cx<'_>, id: &str, namespace: &str) -> Result<Check> {
    let title = format!("pods of {namespace} run and are ready");
    match checks::needs_running(cx, id, &title) {
        Some(skipped) => Ok(skipped),
        None => Ok(judge(id, title, &pods(cx, Some(namespace), "")?)),
    }
}

fn endpoints(cx: &Cx<'_>, id: &str, namespace: &str, service: &str) -> Result<Check> {
    let title = format!("Service {namespace}/{service} has ready endpoints");
    match checks::needs_running(cx, id, &title) {
        Some(skipped) => Ok(skipped),
        None => checks::endpoints(cx, id, namespace, service),
    }
}

fn judge(id: &str, title: String, pods: &[Value]) -> Check {
    let bad: Vec<String> = pods
        .iter()
        .filter(|pod| !is_ready(pod))
        .map(|pod| format!("{}/{} ({})", namespace_of(pod), name_of(pod), trouble(pod)))
        .collect();
    match (pods.len(), bad.len()) {
        (0, _) => Check::failed(id, title, "there are none").with_hint("run the pipeline"),
        (all, 0) => Check::passed(id, title, format!("{all} of {all} are ready")),
        (all, failing) => {
            let check = Check::failed(
                id,
                title,
                format!("{failing} of {} not ready: {}", count(all, "pod"), some_of(&bad, 5)),
            );
            if pods.iter().any(never_injected) {
                check.with_hint(
                    "delete the pods with the image `auto`: they were created while no injector answered",
                )
            } else {
                check.with_hint("look at their events: kubectl describe pod")
            }
        }
    }
}

/// A gateway's Deployment asks for the image `auto`; the injector replaces it in the pod.
fn never_injected(pod: &Value) -> bool {
    items(&pod["spec"]["containers"]).iter().any(|container| container["image"] == "auto")
}

/// Why a pod is not ready, in the cluster's own words.
fn trouble(pod: &Value) -> String {
    let statuses = items(&pod["status"]["initContainerStatuses"])
        .iter()
        .chain(items(&pod["status"]["containerStatuses"]));
    let waiting = statuses.filter_map(|status| {
        let reason = status["state"]["waiting"]["reason"].as_str()?;
        let restarts = status["restartCount"].as_u64().filter(|restarts| *restarts > 0);
        Some(match restarts {
            Some(restarts) => format!("{reason}, restarted {restarts} times"),
            None => reason.to_owned(),
        })
    });
    let condition =
        items(&pod["status"]["conditions"]).iter().filter(|condition| condition["status"] == "False");
    let unscheduled = condition.filter_map(|condition| Some(condition["message"].as_str()?.to_owned()));
    let phase = || format!("phase {}", pod["status"]["phase"].as_str().unwrap_or("unknown"));
    waiting.chain(unscheduled).find(|reason| !reason.is_empty()).unwrap_or_else(phase)
}
