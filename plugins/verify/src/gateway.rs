//! The ingress gateway: has it an address, does it answer there, are its pods healthy.

use meshrun_mesh_facts::{items, some_of};
use meshrun_plugin_common::{checks, name_of, pods, reference};
use meshrun_sdk::prelude::{Check, Cx, Endpoint, HttpResult, ObjectRef, Result, Value};

use crate::config::{Config, Gateway};

/// Port of the proxy's health endpoint.
const STATUS_PORT: u16 = 15021;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let Some(gateway) = &config.gateway else { return Ok(Vec::new()) };
    let namespace = config.or_own(gateway.namespace.as_deref());
    let reference = ObjectRef::namespaced("v1", "Service", namespace, &gateway.name);
    let title = format!("{reference} has an address");
    let Some(service) = cx.get(&reference)? else {
        return Ok(vec![
            Check::failed("gateway-address", title, "it does not exist").with_hint("run the pipeline"),
        ]);
    };
    let address = address(&service);
    let mut found = vec![judge_address(title, &service, address, cx.cluster().rehearsal)];
    let title = "the gateway answers at its address";
    found.push(match checks::needs_running(cx, "gateway-answers", title) {
        Some(skipped) => skipped,
        None => answers(cx, gateway, title, &service, address),
    });
    let title = "the gateway's proxies are healthy";
    found.push(match checks::needs_running(cx, "gateway-health", title) {
        Some(skipped) => skipped,
        None => health(title, &probe(cx, namespace, &service)?),
    });
    Ok(found)
}

fn address(service: &Value) -> Option<&str> {
    let ingress = items(&service["status"]["loadBalancer"]["ingress"]).first()?;
    ingress["hostname"].as_str().or_else(|| ingress["ip"].as_str())
}

fn judge_address(title: String, service: &Value, address: Option<&str>, rehearsal: bool) -> Check {
    let id = "gateway-address";
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
    match address {
        Some(address) => Check::passed(id, title, address),
        None if kind != "LoadBalancer" => Check::skipped(id, title, format!("its type is {kind}")),
        None if rehearsal => Check::skipped(id, title, "nothing gives addresses in a rehearsal"),
        None => Check::warning(id, title, "no load balancer has given it one").with_hint(
            "look at its events: kubectl describe service; a cluster without a load balancer controller gives none",
        ),
    }
}

fn answers(cx: &Cx<'_>, gateway: &Gateway, title: &str, service: &Value, address: Option<&str>) -> Check {
    let id = "gateway-answers";
    let Some(address) = address else { return Check::skipped(id, title, "there is no address") };
    if !items(&service["spec"]["ports"]).iter().any(|port| port["port"] == 80) {
        return Check::skipped(id, title, "the Service has no port 80");
    }
    let host = if address.contains(':') { format!("[{address}]:80") } else { format!("{address}:80") };
    judge_answer(title, &gateway.status, address, cx.http_get(Endpoint::Address { address: host }, "/"))
}

fn judge_answer(title: &str, wanted: &[u16], address: &str, answer: Result<HttpResult>) -> Check {
    let id = "gateway-answers";
    match answer {
        Err(error) => Check::failed(id, title, format!("no answer from http://{address}/: {error}")).with_hint(
            "a new name resolves after minutes; an internal load balancer answers inside its network only; see the \
             security groups",
        ),
        Ok(answer) => {
            let target = answer.headers.get("location").map(|to| format!(", to {to}")).unwrap_or_default();
            let evidence = format!("http://{address}/ answers {}{target}", answer.status);
            if wanted.contains(&answer.status) {
                Check::passed(id, title, evidence)
            } else {
                let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                Check::failed(id, title, format!("{evidence}, not {}", wanted.join(" or ")))
                    .with_hint("no Gateway object listens on port 80, or what it routes to is broken")
            }
        }
    }
}

/// What each gateway pod answers.
type Answers = Vec<(String, Result<HttpResult>)>;

fn probe(cx: &Cx<'_>, namespace: &str, service: &Value) -> Result<Answers> {
    let selector: Vec<String> = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let pods = pods(cx, Some(namespace), &selector.join(","))?;
    let ask = |pod: &Value| cx.http_get(Endpoint::of_pod(&reference(pod), STATUS_PORT), "/healthz/ready");
    Ok(pods.iter().map(|pod| (name_of(pod).to_owned(), ask(pod))).collect())
}

fn health(title: &str, answers: &Answers) -> Check {
    let id = "gateway-health";
    let bad: Vec<String> = answers
        .iter()
        .filter_map(|(pod, answer)| match answer {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(format!("{pod} answers {}", answer.status)),
            Err(error) => Some(format!("{pod} does not answer: {error}")),
        })
        .collect();
    if answers.is_empty() {
        Check::failed(id, title, "there are no pods").with_hint("look at the events of its ReplicaSet")
    } else if bad.is_empty() {
        Check::passed(id, title, format!("{} of {} answer /healthz/ready", answers.len(), answers.len()))
    } else {
        Check::failed(id, title, some_of(&bad, 5)).with_hint("look at their logs: the proxy waits for istiod")
    }
}
