//! Which APIs the server has: all of them in two requests at the start, later only those that were missing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use kube::{
    Client,
    core::discovery::v2::{ACCEPT_AGGREGATED_DISCOVERY_V2, APIGroupDiscoveryList},
};
use tokio::sync::{Mutex, OnceCell};

use super::send::{self, Repeat};
use crate::cluster::{ErrorKind, Kind, Result, Scope};

/// Where objects of a kind are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// `/apis/apps/v1` or `/api/v1`.
    pub(super) base: String,
    /// `deployments`.
    pub(super) plural: String,
    pub(super) scope: Scope,
}

/// The resources of one group and version, by kind.
type Kinds = HashMap<String, Resource>;

/// What is known so far; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Discovery {
    /// What the server had when it was first asked, by `apiVersion`; empty where it is too old to say it at once.
    first: Arc<OnceCell<HashMap<String, Kinds>>>,
    /// What was asked for since. One lock per group and version: many objects of one API ask once, different APIs
    /// ask side by side.
    later: Arc<Mutex<HashMap<String, Arc<Mutex<Kinds>>>>>,
}

impl Discovery {
    /// Returns where objects of a kind are found, or `None` where the server does not have it now.
    pub(super) async fn resource(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>> {
        let first = self.first(client).await?;
        if let Some(resource) = first.get(api_version).and_then(|kinds| kinds.get(kind)) {
            return Ok(Some(resource.clone()));
        }
        let kinds = self.later.lock().await.entry(api_version.to_owned()).or_default().clone();
        let mut kinds = kinds.lock().await;
        if !kinds.contains_key(kind) {
            *kinds = read(client, api_version).await?;
        }
        Ok(kinds.get(kind).cloned())
    }

    /// Every API that the server had when it was first asked, as helm's `--api-versions` writes it.
    pub(super) async fn api_versions(&self, client: &Client) -> Result<Vec<String>> {
        let first = self.first(client).await?;
        if first.is_empty() {
            return one_by_one(client).await;
        }
        let names =
            first.iter().flat_map(|(version, kinds)| names(version, kinds.keys().map(String::as_str)));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Reads what the server has, the first time.
    pub(super) async fn first(&self, client: &Client) -> Result<&HashMap<String, Kinds>> {
        self.first.get_or_try_init(|| read_all(client)).await
    }
}

/// Reads every API in two requests (Kubernetes 1.26 and newer; an older server answers with nothing of use).
async fn read_all(client: &Client) -> Result<HashMap<String, Kinds>> {
    let doing = "read the server's APIs";
    let ask = async |target| {
        let request = Request::get(target).header(http::header::ACCEPT, ACCEPT_AGGREGATED_DISCOVERY_V2);
        send::send(client, doing, send::built(doing, request)?, Repeat::Safe).await
    };
    let (core, groups) = tokio::try_join!(ask("/api"), ask("/apis"))?;
    let mut all = aggregated(core);
    all.extend(aggregated(groups));
    Ok(all)
}

fn aggregated(list: APIGroupDiscoveryList) -> HashMap<String, Kinds> {
    let mut all = HashMap::new();
    for group in list.items {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for version in group.versions {
            // An aggregated API whose server is down: what is said of it is a memory.
            if version.freshness.as_deref() == Some("Stale") {
                continue;
            }
            let Some(number) = version.version else { continue };
            let api_version = match name.as_str() {
                "" => number,
                group => format!("{group}/{number}"),
            };
            let base = base(&api_version);
            let kinds = version.resources.into_iter().filter_map(|resource| {
                let scope = match resource.scope.as_deref() {
                    Some("Namespaced") => Scope::Namespaced,
                    _ => Scope::Cluster,
                };
                let kind = resource.response_kind?.kind?;
                Some((kind, Resource { base: base.clone(), plural: resource.resource?, scope }))
            });
            all.insert(api_version, kinds.collect());
        }
    }
    all
}

/// The path of an API: `/api/v1` for the core, else `/apis/GROUP/VERSION`.
fn base(api_version: &str) -> String {
    if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") }
}

async fn read(client: &Client, api_version: &str) -> Result<Kinds> {
    let base = base(api_version);
    let list: APIResourceList = match send::get(client, &format!("read the API {api_version}"), &base).await {
        Ok(list) => list,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Kinds::new()),
        Err(error) => return Err(error),
    };
    let resources = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
    Ok(resources
        .map(|resource| {
            let scope = if resource.namespaced { Scope::Namespaced } else { Scope::Cluster };
            (resource.kind, Resource { base: base.clone(), plural: resource.name, scope })
        })
        .collect())
}

/// Every API of a server that cannot say it at once.
async fn one_by_one(client: &Client) -> Result<Vec<String>> {
    let doing = "read the server's APIs";
    let groups: APIGroupList = send::get(client, doing, "/apis").await?;
    let mut lists: Vec<APIResourceList> = vec![send::get(client, doing, "/api/v1").await?];
    let versions = groups.groups.iter().flat_map(|group| &group.versions);
    let asked =
        versions.map(|version| async { send::get(client, doing, &base(&version.group_version)).await });
    for answer in futures::future::join_all(asked).await {
        match answer {
            Ok(list) => lists.push(list),
            // An aggregated API whose server is down, or a CRD that went away meanwhile: helm leaves it out as well.
            Err(error) => tracing::debug!(%error, "an API is listed but does not answer"),
        }
    }
    Ok(lists.iter().flat_map(listed_names).collect::<BTreeSet<_>>().into_iter().collect())
}

fn listed_names(list: &APIResourceList) -> Vec<String> {
    let kinds = list.resources.iter().filter(|resource| !resource.name.contains('/'));
    names(&list.group_version, kinds.map(|resource| resource.kind.as_str()))
}

fn names<'a>(version: &str, kinds: impl Iterator<Item = &'a str>) -> Vec<String> {
    std::iter::once(version.to_owned()).chain(kinds.map(|kind| format!("{version}/{kind}"))).collect()
}

/// Every kind that can be listed, in the first version of its group that has it: the preferred one comes first.
/// Asked anew each time: what was installed or removed since must show.
pub(super) async fn kinds(client: &Client) -> Result<Vec<Kind>> {
    let doing = "read the server's APIs";
    let groups: APIGroupList = send::get(client, doing, "/apis").await?;
    let versions =
        groups.groups.iter().flat_map(|group| &group.versions).map(|one| one.group_version.as_str());
    let mut seen = BTreeSet::new();
    let mut kinds = Vec::new();
    for version in ["v1"].into_iter().chain(versions) {
        let list: APIResourceList = match send::get(client, doing, &base(version)).await {
            Ok(list) => list,
            // An aggregated API whose server is down has nothing to list.
            Err(error) => {
                tracing::debug!(%error, version, "an API is listed but does not answer");
                continue;
            }
        };
        let group = version.split_once('/').map_or("", |(group, _)| group);
        for resource in list.resources {
            let listable = resource.verbs.iter().any(|verb| verb == "list") && !resource.name.contains('/');
            if listable && seen.insert((group.to_owned(), resource.kind.clone())) {
                let (api_version, namespaced) = (version.to_owned(), resource.namespaced);
                kinds.push(Kind { api_version, kind: resource.kind, namespaced });
            }
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_aggregated_discovery_without_what_is_stale() {
        let version = |version: &str, freshness: &str, plural: &str, kind: &str, scope: &str| {
            let resource = json!({ "resource": plural, "responseKind": { "kind": kind }, "scope": scope });
            json!({ "version": version, "freshness": freshness, "resources": [resource] })
        };
        let list = json!({ "items": [
            { "metadata": {}, "versions": [version("v1", "Current", "pods", "Pod", "Namespaced")] },
            { "metadata": { "name": "apps" }, "versions": [
                version("v1", "Current", "deployments", "Deployment", "Namespaced"),
                version("v1beta1", "Stale", "deployments", "Deployment", "Namespaced"),
            ] },
        ] });
        let list = serde_json::from_value(list).expect("a list of groups");
        let known = aggregated(list);
        let mut versions: Vec<&String> = known.keys().collect();
        versions.sort();
        assert_eq!(versions, ["apps/v1", "v1"]);
        let deployments =
            Resource { base: "/apis/apps/v1".into(), plural: "deployments".into(), scope: Scope::Namespaced };
        assert_eq!(known["apps/v1"]["Deployment"], deployments);
        assert_eq!(known["v1"]["Pod"].base, "/api/v1");
    }

    #[test]
    fn takes_the_answer_of_an_old_server_for_no_answer() {
        let list = json!({ "kind": "APIGroupList", "groups": [{ "name": "apps" }] });
        assert!(aggregated(serde_json::from_value(list).expect("unknown fields are ignored")).is_empty());
    }
}
