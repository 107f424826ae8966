//! The real cluster: one client from a kubeconfig (or from inside a pod), requests, watches, port-forwards.

mod client;
mod connect;
mod discovery;
mod failure;
mod http_get;
mod pods;
mod requests;
mod send;
mod watch;

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::Client;
use meshrun_protocol::{
    ClusterInfo, ExecQuery, ExecResult, HttpQuery, HttpResult, ListQuery, LogsQuery, ObjectRef,
};
use serde_json::Value;

pub use client::client;
pub use connect::ConnectOptions;

use super::{ApplyOptions, Cluster, Kind, Object, Result, Scope, WatchEvent, WatchQuery};

/// A cluster behind an API server.
pub struct Live {
    client: Client,
    context: Option<String>,
    server: String,
    version: String,
    discovery: discovery::Discovery,
}

impl Live {
    /// The kubeconfig context; `None` inside a pod.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The address of the API server, without a `/` at its end.
    pub fn server(&self) -> &str {
        &self.server
    }
}

#[async_trait]
impl Cluster for Live {
    fn info(&self) -> ClusterInfo {
        ClusterInfo { kubernetes_version: self.version.clone(), rehearsal: false }
    }

    fn name(&self) -> String {
        match &self.context {
            Some(context) => format!("{context} ({})", self.server),
            None => self.server.clone(),
        }
    }

    async fn scope(&self, api_version: &str, kind: &str) -> Result<Option<Scope>> {
        Ok(self.discovery.resource(&self.client, api_version, kind).await?.map(|resource| resource.scope))
    }

    async fn api_versions(&self) -> Result<Vec<String>> {
        self.discovery.api_versions(&self.client).await
    }

    async fn kinds(&self) -> Result<Vec<Kind>> {
        discovery::kinds(&self.client).await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Object>> {
        self.read(object).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>> {
        self.list_objects(query).await
    }

    async fn apply(&self, object: &Object, options: &ApplyOptions) -> Result<Object> {
        self.server_side_apply(object, options).await
    }

    async fn create(&self, object: &Object) -> Result<Object> {
        self.post(object).await
    }

    async fn replace(&self, object: &Object) -> Result<Object> {
        self.put(object).await
    }

    async fn patch(&self, object: &ObjectRef, patch: &Value, subresource: Option<&str>) -> Result<Object> {
        self.merge_patch(object, patch, subresource).await
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        self.remove(object).await
    }

    fn watch(&self, query: WatchQuery) -> BoxStream<'static, Result<WatchEvent>> {
        watch::watch(self.client.clone(), self.discovery.clone(), query)
    }

    async fn logs(&self, query: &LogsQuery) -> Result<String> {
        pods::logs(&self.client, query).await
    }

    async fn exec(&self, query: &ExecQuery) -> Result<ExecResult> {
        pods::exec(&self.client, query).await
    }

    async fn http(&self, query: &HttpQuery) -> Result<HttpResult> {
        http_get::get(&self.client, query).await
    }
}
