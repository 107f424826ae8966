//! Watches: the list first, then each change; a lost connection is taken up again with a growing pause.

use futures::{StreamExt, stream, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};

use super::{
    discovery::{Discovery, Resource},
    failure::failure,
};
use crate::cluster::{ClusterError, ErrorKind, Object, Result, Scope, WatchEvent, WatchQuery};

/// Opens a watch.
pub(super) fn watch(
    client: Client,
    discovery: Discovery,
    query: WatchQuery,
) -> BoxStream<'static, Result<WatchEvent>> {
    let doing = describe(&query);
    stream::once(async move {
        match discovery.resource(&client, &query.api_version, &query.kind).await {
            Ok(Some(resource)) => events(client, &query, &resource, doing),
            Ok(None) => {
                let message = format!("the server does not have the API {}", query.api_version);
                failing(ClusterError::new(doing, ErrorKind::NotServed, message))
            }
            Err(error) => failing(error),
        }
    })
    .flatten()
    .boxed()
}

fn failing(error: ClusterError) -> BoxStream<'static, Result<WatchEvent>> {
    stream::iter([Err(error)]).boxed()
}

fn events(
    client: Client,
    query: &WatchQuery,
    resource: &Resource,
    doing: String,
) -> BoxStream<'static, Result<WatchEvent>> {
    let (group, version) = query.api_version.split_once('/').unwrap_or(("", &query.api_version));
    let api_resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: query.api_version.clone(),
        kind: query.kind.clone(),
        plural: resource.plural.clone(),
    };
    let api: Api<DynamicObject> = match (resource.scope, query.namespace.as_deref()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client, namespace, &api_resource),
        _ => Api::all_with(client, &api_resource),
    };
    let mut config = watcher::Config::default();
    config.label_selector.clone_from(&query.labels);
    config.field_selector = query.name.as_ref().map(|name| format!("metadata.name={name}"));

    let kinds = (query.api_version.clone(), query.kind.clone());
    let mut listed: Vec<Object> = Vec::new();
    watcher(api, config)
        .default_backoff()
        // A right that is missing stays missing: say so and end instead of asking for ever.
        .scan(false, |over, event| {
            let last = std::mem::replace(over, event.as_ref().is_err_and(forbidden));
            futures::future::ready((!last).then_some(event))
        })
        .filter_map(move |event| {
            let answer = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => match convert(object, &kinds, &doing) {
                    Ok(object) => {
                        listed.push(object);
                        None
                    }
                    Err(error) => Some(Err(error)),
                },
                Ok(watcher::Event::InitDone) => Some(Ok(WatchEvent::Listed(std::mem::take(&mut listed)))),
                Ok(watcher::Event::Apply(object)) => {
                    Some(convert(object, &kinds, &doing).map(WatchEvent::Changed))
                }
                Ok(watcher::Event::Delete(object)) => {
                    Some(convert(object, &kinds, &doing).map(WatchEvent::Deleted))
                }
                Err(error) => Some(Err(watch_failure(&doing, error))),
            };
            futures::future::ready(answer)
        })
        .boxed()
}

fn forbidden(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    matches!(status.code, 401 | 403)
}

fn watch_failure(doing: &str, error: watcher::Error) -> ClusterError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => failure(doing, error),
        watcher::Error::WatchError(status) => failure(doing, kube::Error::Api(status)),
        other @ watcher::Error::NoResourceVersion => {
            ClusterError::new(doing, ErrorKind::Other, other.to_string())
        }
    }
}

fn convert(object: DynamicObject, (api_version, kind): &(String, String), doing: &str) -> Result<Object> {
    let other = |message: String| ClusterError::new(doing, ErrorKind::Other, message);
    let mut value = serde_json::to_value(object).map_err(|error| other(error.to_string()))?;
    // Objects of a list come without them.
    value["apiVersion"] = api_version.clone().into();
    value["kind"] = kind.clone().into();
    Object::new(value).map_err(|missing| other(format!("an object in the server's answer {missing}")))
}

fn describe(query: &WatchQuery) -> String {
    match (&query.namespace, &query.name) {
        (Some(namespace), Some(name)) => format!("watch {} {namespace}/{name}", query.kind),
        (None, Some(name)) => format!("watch {} {name}", query.kind),
        (_, None) => format!("watch {} of {}", query.kind, query.api_version),
    }
}
