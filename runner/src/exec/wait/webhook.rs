//! The webhook gate: configured by its owner, and answering: a ready endpoint behind every service it names.

use std::collections::BTreeSet;

use futures::{StreamExt, stream::SelectAll};
use meshrun_protocol::{ListQuery, ObjectRef};
use serde_json::Value;

use super::{
    Context, Next, WaitError,
    board::Slot,
    judge::{Verdict, webhook_configured},
    single::{ended, newest},
};
use crate::cluster::{Object, Seen, WatchQuery};

/// A service behind a webhook: namespace and name.
type Service = (String, String);

pub(super) async fn wait(
    context: &Context<'_>,
    object: &ObjectRef,
    fail_closed: bool,
    slot: &Slot<'_>,
) -> Result<(), WaitError> {
    let mut reason = match first_look(context, object, fail_closed).await? {
        Verdict::Done => return Ok(()),
        Verdict::Never(reason) => return Err(WaitError::Never { reason }),
        Verdict::Pending(reason) => reason,
    };
    slot.waiting(reason.clone());

    let mut streams = SelectAll::new();
    // Source 0 is the configuration; source n + 1 are the endpoints of the n-th service.
    streams.push(context.cluster.watch(WatchQuery::object(object)).map(|event| (0, event)).boxed());
    let mut services: Vec<Service> = Vec::new();
    let mut seen = vec![Seen::default()];
    let mut trouble = None;
    loop {
        match context.next(streams.next()).await {
            Next::Cancelled => return Err(WaitError::Cancelled),
            Next::TimedOut => return Err(WaitError::TimedOut { reason }),
            Next::Event(Some((source, Ok(event)))) => {
                if let Some(seen) = seen.get_mut(source) {
                    seen.take(event);
                }
            }
            Next::Event(Some((_, Err(error)))) => {
                slot.waiting(error.to_string());
                trouble = Some(error);
                continue;
            }
            Next::Event(None) => return Err(ended(trouble, reason)),
        }
        for service in newest(&seen[0]).map(services_of).unwrap_or_default() {
            if !services.contains(&service) {
                let source = seen.len();
                let watch = context.cluster.watch(endpoints_query(&service));
                streams.push(watch.map(move |event| (source, event)).boxed());
                seen.push(Seen::default());
                services.push(service);
            }
        }
        let slices = |service: &Service| {
            let index = services.iter().position(|known| known == service);
            index
                .and_then(|index| seen.get(index + 1))
                .is_some_and(|seen| seen.objects().any(has_ready_endpoint))
        };
        match verdict(object, newest(&seen[0]), fail_closed, slices) {
            Verdict::Done => return Ok(()),
            Verdict::Never(reason) => return Err(WaitError::Never { reason }),
            Verdict::Pending(now) => reason = now,
        }
        slot.waiting(reason.clone());
    }
}

async fn first_look(
    context: &Context<'_>,
    object: &ObjectRef,
    fail_closed: bool,
) -> Result<Verdict, WaitError> {
    let Some(configuration) = context.cluster.get(object).await? else {
        return Ok(Verdict::Pending(format!("{object} does not exist")));
    };
    let mut ready = BTreeSet::new();
    for service in services_of(&configuration) {
        let query = endpoints_query(&service);
        let slices = context
            .cluster
            .list(&ListQuery {
                api_version: query.api_version,
                kind: query.kind,
                namespace: query.namespace,
                labels: query.labels,
            })
            .await?;
        if slices.iter().any(has_ready_endpoint) {
            ready.insert(service);
        }
    }
    Ok(verdict(object, Some(&configuration), fail_closed, |service| ready.contains(service)))
}

fn verdict(
    reference: &ObjectRef,
    configuration: Option<&Object>,
    fail_closed: bool,
    answers: impl Fn(&Service) -> bool,
) -> Verdict {
    let Some(configuration) = configuration else {
        return Verdict::Pending(format!("{reference} does not exist"));
    };
    for service in services_of(configuration) {
        if !answers(&service) {
            let (namespace, name) = &service;
            return Verdict::Pending(format!(
                "{reference}: service {namespace}/{name} has no ready endpoint"
            ));
        }
    }
    webhook_configured(reference, configuration, fail_closed)
}

fn services_of(configuration: &Object) -> BTreeSet<Service> {
    configuration
        .items("/webhooks")
        .iter()
        .filter_map(|webhook| {
            let service = &webhook["clientConfig"]["service"];
            Some((service["namespace"].as_str()?.to_owned(), service["name"].as_str()?.to_owned()))
        })
        .collect()
}

fn endpoints_query((namespace, name): &Service) -> WatchQuery {
    WatchQuery {
        api_version: "discovery.k8s.io/v1".into(),
        kind: "EndpointSlice".into(),
        namespace: Some(namespace.clone()),
        name: None,
        labels: Some(format!("kubernetes.io/service-name={name}")),
    }
}

fn has_ready_endpoint(slice: &Object) -> bool {
    slice.items("/endpoints").iter().any(|endpoint| {
        // Kubernetes: a missing `ready` means ready.
        endpoint["conditions"]["ready"].as_bool().unwrap_or(true)
            && endpoint["addresses"].as_array().is_some_and(|addresses: &Vec<Value>| !addresses.is_empty())
    })
}
