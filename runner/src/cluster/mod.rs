//! One trait for a Kubernetes cluster: the real one ([`live`]) and the one in memory ([`rehearsal`]).

mod error;
#[cfg(test)]
pub(crate) mod flaky;
pub mod live;
mod object;
pub mod rehearsal;
pub mod schema;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::stream::BoxStream;
use meshrun_protocol::{
    ClusterInfo, ExecQuery, ExecResult, HttpQuery, HttpResult, ListQuery, LogsQuery, ObjectRef,
};
use serde_json::Value;

pub use error::{ClusterError, ErrorKind};
pub use object::Object;

/// Result of a request to a cluster.
pub type Result<T> = std::result::Result<T, ClusterError>;

/// A Kubernetes cluster as the engine sees it.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Version of the server, and whether this is a rehearsal.
    fn info(&self) -> ClusterInfo;

    /// How people call this cluster: the kubeconfig context and its server, or `rehearsal`.
    fn name(&self) -> String;

    /// Says whether an API is served and whether its objects live in namespaces; `None` where it is not served.
    /// Asks the server once per API; an API that was missing is asked for again.
    async fn scope(&self, api_version: &str, kind: &str) -> Result<Option<Scope>>;

    /// Every served API as helm's `--api-versions` writes it: `apps/v1` and `apps/v1/Deployment`.
    async fn api_versions(&self) -> Result<Vec<String>>;

    /// Every kind whose objects can be listed, once each, in the version that the server prefers.
    async fn kinds(&self) -> Result<Vec<Kind>>;

    /// Returns an object, or `None` where it or its API does not exist.
    async fn get(&self, object: &ObjectRef) -> Result<Option<Object>>;

    /// Returns objects, sorted by namespace and name; none where the API is not served.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>>;

    /// Server-side apply. Returns the object as the server has it afterwards (or would have it, in a dry run).
    async fn apply(&self, object: &Object, options: &ApplyOptions) -> Result<Object>;

    /// Creates an object.
    async fn create(&self, object: &Object) -> Result<Object>;

    /// Replaces an object; its `resourceVersion`, where given, must be the current one.
    async fn replace(&self, object: &Object) -> Result<Object>;

    /// JSON merge patch, of the object or of a subresource such as `scale`. An object that changed since can be
    /// refused by a `metadata.resourceVersion` in the patch.
    async fn patch(&self, object: &ObjectRef, patch: &Value, subresource: Option<&str>) -> Result<Object>;

    /// Deletes an object (background propagation). Returns `false` where it does not exist.
    async fn delete(&self, object: &ObjectRef) -> Result<bool>;

    /// Watches objects: first what is there, then each change, without end. A dropped connection is taken up again
    /// inside; an `Err` says why there is nothing to see at the moment and does not end the stream, unless it is
    /// one that trying again cannot mend (a missing right).
    fn watch(&self, query: WatchQuery) -> BoxStream<'static, Result<WatchEvent>>;

    /// The end of a container's log.
    async fn logs(&self, query: &LogsQuery) -> Result<String>;

    /// Runs a command in a container.
    async fn exec(&self, query: &ExecQuery) -> Result<ExecResult>;

    /// Sends an HTTP GET to a pod (by port-forward) or an address.
    async fn http(&self, query: &HttpQuery) -> Result<HttpResult>;
}

/// A kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// Cluster-wide.
    Cluster,
}

/// How to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Field manager: `meshrun`, or `helm` for objects of a Helm release.
    pub manager: String,
    /// Take fields over from other managers instead of failing with a conflict.
    pub force: bool,
    /// Ask the server what would come out, and change nothing.
    pub dry_run: bool,
}

/// Which objects to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WatchQuery {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Namespace; `None` watches all of them, and is the only choice for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// One object of this name; `None` watches all that `labels` selects.
    pub name: Option<String>,
    /// Label selector in Kubernetes syntax.
    pub labels: Option<String>,
}

impl WatchQuery {
    /// Watches one object.
    pub fn object(reference: &ObjectRef) -> Self {
        Self {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: Some(reference.name.clone()),
            labels: None,
        }
    }
}

/// What a watch sees.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// Everything that is there now: once at the start, and again after a lost connection.
    Listed(Vec<Object>),
    /// An object was created or changed.
    Changed(Object),
    /// An object was deleted; its last state.
    Deleted(Object),
}

/// The current state of watched objects, kept up by [`WatchEvent`]s.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    objects: BTreeMap<ObjectRef, Object>,
}

impl Seen {
    /// Takes an event in.
    pub fn take(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Listed(objects) => {
                self.objects = objects.into_iter().map(|object| (object.reference(), object)).collect();
            }
            WatchEvent::Changed(object) => {
                self.objects.insert(object.reference(), object);
            }
            WatchEvent::Deleted(object) => {
                self.objects.remove(&object.reference());
            }
        }
    }

    /// The objects, sorted by reference.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }
}
