//! Which APIs the server has: asked once per group and version, again only for what was missing.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use tokio::sync::Mutex;

use super::failure::failure;
use crate::cluster::{ErrorKind, Result, Scope};

/// Where objects of a kind are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// `/apis/apps/v1` or `/api/v1`.
    pub(super) base: String,
    /// `deployments`.
    pub(super) plural: String,
    pub(super) scope: Scope,
}

/// What is known so far, by `apiVersion`; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Discovery {
    known: Arc<Mutex<HashMap<String, Group>>>,
}

/// One lock per group and version: many objects of one API ask once, different APIs ask side by side.
type Group = Arc<Mutex<HashMap<String, Resource>>>;

impl Discovery {
    /// Returns where objects of a kind are found, or `None` where the server does not have it now.
    pub(super) async fn resource(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>> {
        let group = self.known.lock().await.entry(api_version.to_owned()).or_default().clone();
        let mut group = group.lock().await;
        if !group.contains_key(kind) {
            *group = read(client, api_version).await?;
        }
        Ok(group.get(kind).cloned())
    }
}

async fn read(client: &Client, api_version: &str) -> Result<HashMap<String, Resource>> {
    let (base, answer) = match api_version {
        "v1" => ("/api/v1".to_owned(), client.list_core_api_resources("v1").await),
        _ => (format!("/apis/{api_version}"), client.list_api_group_resources(api_version).await),
    };
    let list = match answer.map_err(|error| failure(format!("read the API {api_version}"), error)) {
        Ok(list) => list,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(HashMap::new()),
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

/// Every API as helm's `--api-versions` writes it.
pub(super) async fn api_versions(client: &Client) -> Result<Vec<String>> {
    let doing = "read the server's APIs";
    let groups = client.list_api_groups().await.map_err(|error| failure(doing, error))?;
    let mut lists = vec![client.list_core_api_resources("v1").await.map_err(|error| failure(doing, error))?];
    let versions =
        groups.groups.iter().flat_map(|group| &group.versions).map(|version| version.group_version.as_str());
    let answers =
        futures::future::join_all(versions.map(|version| client.list_api_group_resources(version))).await;
    for answer in answers {
        match answer.map_err(|error| failure(doing, error)) {
            Ok(list) => lists.push(list),
            // An aggregated API whose server is down, or a CRD that went away meanwhile: helm leaves it out as well.
            Err(error) => tracing::debug!(%error, "an API is listed but does not answer"),
        }
    }
    let mut all: Vec<String> = lists.iter().flat_map(names).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn names(list: &APIResourceList) -> Vec<String> {
    let version = &list.group_version;
    let kinds = list.resources.iter().filter(|resource| !resource.name.contains('/'));
    std::iter::once(version.clone())
        .chain(kinds.map(|resource| format!("{version}/{}", resource.kind)))
        .collect()
}
