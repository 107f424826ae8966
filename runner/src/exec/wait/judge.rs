//! Whether a condition holds for an object: pure, from what was seen to a verdict with a reason.

use meshrun_protocol::{ObjectRef, WaitCondition};

use crate::{cluster::Object, plan::condition};

/// What an object says about a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds.
    Done,
    /// Not yet, and why.
    Pending(String),
    /// It cannot come true, and why.
    Never(String),
}

/// Judges a condition that the object itself answers; `object` is `None` where it does not exist.
pub(super) fn judge(reference: &ObjectRef, condition: &WaitCondition, object: Option<&Object>) -> Verdict {
    let object = match (condition, object) {
        (WaitCondition::Deleted, None) => return Verdict::Done,
        (WaitCondition::Deleted, Some(object)) => return deleted(reference, object),
        (_, None) => return Verdict::Pending(format!("{reference} does not exist")),
        (_, Some(object)) => object,
    };
    match condition {
        WaitCondition::Exists | WaitCondition::Deleted => Verdict::Done,
        WaitCondition::Established => established(reference, object),
        WaitCondition::Condition { condition, status } => condition_is(reference, object, condition, status),
        WaitCondition::Expression { cel } => match condition::holds(cel, object.json()) {
            Ok(true) => Verdict::Done,
            Ok(false) => Verdict::Pending(format!("{reference}: `{cel}` is not true yet")),
            Err(error) => Verdict::Never(format!("{reference}: `{cel}`: {error}")),
        },
        WaitCondition::LoadBalancerAddress => address(reference, object),
        WaitCondition::Available { .. } => workload(reference, object, 0),
        WaitCondition::WebhookReady { fail_closed } => webhook_configured(reference, object, *fail_closed),
    }
}

fn deleted(reference: &ObjectRef, object: &Object) -> Verdict {
    let finalizers: Vec<&str> =
        object.items("/metadata/finalizers").iter().filter_map(serde_json::Value::as_str).collect();
    if finalizers.is_empty() {
        return Verdict::Pending(format!("{reference} is still there"));
    }
    Verdict::Pending(format!("{reference} is being deleted, finalizers left: {}", finalizers.join(", ")))
}

fn established(reference: &ObjectRef, object: &Object) -> Verdict {
    if let Some(names) = object.condition("NamesAccepted")
        && names["status"] == "False"
    {
        let message = names["message"].as_str().unwrap_or("its names are taken");
        return Verdict::Never(format!("{reference} is refused: {message}"));
    }
    match object.condition("Established") {
        Some(condition) if condition["status"] == "True" => Verdict::Done,
        _ => Verdict::Pending(format!("{reference} is not established yet")),
    }
}

fn condition_is(reference: &ObjectRef, object: &Object, name: &str, status: &str) -> Verdict {
    match object.condition(name) {
        Some(condition) if condition["status"] == status => Verdict::Done,
        Some(condition) => {
            let is = condition["status"].as_str().unwrap_or("Unknown");
            let message = condition["message"].as_str().filter(|message| !message.is_empty());
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            Verdict::Pending(format!("{reference}: condition {name} is {is}, not {status}{message}"))
        }
        None => Verdict::Pending(format!("{reference} has no condition {name} yet")),
    }
}

fn address(reference: &ObjectRef, object: &Object) -> Verdict {
    if object.text("/spec/type") != "LoadBalancer" {
        let is = object.text("/spec/type");
        return Verdict::Never(format!(
            "{reference} has type {is}, not LoadBalancer: it never gets an address"
        ));
    }
    let has = object.items("/status/loadBalancer/ingress").iter().any(|ingress| {
        ["ip", "hostname"].iter().any(|key| ingress[*key].as_str().is_some_and(|value| !value.is_empty()))
    });
    if has {
        return Verdict::Done;
    }
    Verdict::Pending(format!("{reference} has no load balancer address yet"))
}

/// Judges a Deployment, StatefulSet or DaemonSet against the replicas it asks for, or `at_least`.
pub(super) fn workload(reference: &ObjectRef, object: &Object, at_least: u32) -> Verdict {
    let number = |pointer: &str| object.at(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Verdict::Pending(format!("{reference}: its controller has not seen the change yet"));
    }
    let (wanted, updated, ready, total) = if object.kind() == "DaemonSet" {
        (
            number("/status/desiredNumberScheduled"),
            number("/status/updatedNumberScheduled"),
            number("/status/numberReady"),
            number("/status/updatedNumberScheduled"),
        )
    } else {
        let asked = object.at("/spec/replicas").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let wanted = asked.max(u64::from(at_least));
        (
            wanted,
            number("/status/updatedReplicas"),
            number("/status/readyReplicas"),
            number("/status/replicas"),
        )
    };
    if updated < wanted {
        return Verdict::Pending(format!("{reference}: {updated} of {wanted} replicas are up to date"));
    }
    if total > updated {
        return Verdict::Pending(format!("{reference}: {} old replicas are still there", total - updated));
    }
    if ready < wanted {
        return Verdict::Pending(format!("{reference}: {ready} of {wanted} replicas are ready"));
    }
    Verdict::Done
}

/// Judges what a webhook configuration itself says; the endpoints behind it are another object's business.
pub(super) fn webhook_configured(reference: &ObjectRef, object: &Object, fail_closed: bool) -> Verdict {
    for webhook in object.items("/webhooks") {
        let name = webhook["name"].as_str().unwrap_or("?");
        if webhook["clientConfig"]["caBundle"].as_str().unwrap_or("").is_empty() {
            return Verdict::Pending(format!("{reference}: webhook {name} has no CA bundle yet"));
        }
        if fail_closed && webhook["failurePolicy"] != "Fail" {
            return Verdict::Pending(format!("{reference}: webhook {name} does not fail closed yet"));
        }
    }
    Verdict::Done
}
