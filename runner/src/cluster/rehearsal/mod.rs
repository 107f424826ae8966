//! A cluster in memory: what `meshrun rehearse` runs against, and what the engine's unit tests run against.
//!
//! It keeps objects as a server does (apply, conflicts, resource versions, watches, schemas) and plays the
//! controllers with readiness assumed. It is not an API server: [`LIMITS`] says what it cannot know.

mod controllers;
mod merge;
mod requests;
mod selector;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use meshrun_protocol::{
    ClusterInfo, ExecQuery, ExecResult, HttpQuery, HttpResult, ListQuery, LogsQuery, ObjectRef,
};
use serde_json::{Value, json};

use super::{
    ApplyOptions, Cluster, ClusterError, ErrorKind, Kind, Object, Result, Scope, WatchEvent, WatchQuery,
    schema::Schemas,
};
use controllers::Simulation;
use requests::{Refusal, State};

/// What a rehearsal cannot know, for its report.
pub const LIMITS: [&str; 5] = [
    "admission webhooks, sidecar injection, quotas and CEL rules of CRDs are not rehearsed",
    "image pulls, scheduling and the health of containers are not rehearsed: workloads count as ready",
    "autoscalers, cloud controllers and load balancers are not rehearsed: every address is `rehearsal.invalid`",
    "rights are not rehearsed: the cluster may forbid what a rehearsal allows",
    "what else is on the cluster is not known: a rehearsal starts empty",
];

const VERSION: &str = "v1.34.0";

/// A cluster in memory. Clones share it.
///
/// ```
/// use meshrun::cluster::{Cluster, Object, rehearsal::Rehearsal};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Rehearsal::builder().version("v1.36.1").build();
/// let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } });
/// cluster.create(&Object::new(namespace)?).await?;
/// assert_eq!(cluster.writes()[0].to_string(), "create Namespace istio-system");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rehearsal {
    version: String,
    state: Arc<Mutex<State>>,
}

/// One writing request that was carried out; dry runs and refused requests are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What was asked for.
    pub verb: Verb,
    /// Of which object.
    pub object: ObjectRef,
    /// Whether anything is different since.
    pub changed: bool,
}

/// Reads as `apply Deployment istio-system/istiod`.
impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb.name(), self.object)
    }
}

/// A kind of writing request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Server-side apply.
    Apply,
    /// Creation.
    Create,
    /// Replacement.
    Replace,
    /// A merge patch, of the object or of a subresource.
    Patch,
    /// Deletion.
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// A refusal that a test asks for.
#[derive(Debug)]
struct Fault {
    object: String,
    kind: ErrorKind,
    message: String,
    times: usize,
}

/// Sets up a [`Rehearsal`]. Objects are named as errors name them: `Deployment istio-system/istiod`.
#[derive(Debug)]
pub struct Builder {
    version: String,
    simulation: Simulation,
    faults: Vec<Fault>,
    objects: Vec<Object>,
}

impl Builder {
    /// Sets the version of the server: `v1.36.1`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Puts objects there before the rehearsal begins, in this order and as a manager called `before` would apply them.
    #[must_use]
    pub fn with(mut self, objects: impl IntoIterator<Item = Object>) -> Self {
        self.objects.extend(objects);
        self
    }

    /// Lets a workload, pod, CRD, Job, Service or webhook configuration never become ready; its pods wait for this
    /// reason: `ImagePullBackOff: no such image`.
    #[must_use]
    pub fn never_ready(mut self, object: impl Into<String>, why: impl Into<String>) -> Self {
        self.simulation.never_ready.insert(object.into(), why.into());
        self
    }

    /// Refuses to apply an object so many times; dry runs do not count.
    #[must_use]
    pub fn fail_apply(
        mut self,
        object: impl Into<String>,
        kind: ErrorKind,
        message: impl Into<String>,
        times: usize,
    ) -> Self {
        self.faults.push(Fault { object: object.into(), kind, message: message.into(), times });
        self
    }

    /// Gives no address to Services of type LoadBalancer.
    #[must_use]
    pub fn no_load_balancer(mut self) -> Self {
        self.simulation.load_balancer = false;
        self
    }

    /// Lets everything take this long to become ready, on tokio's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.simulation.delay = delay;
        self
    }

    /// Starts the cluster.
    ///
    /// # Panics
    /// Where an object of [`Builder::with`] is one that a server would refuse.
    #[must_use]
    pub fn build(self) -> Rehearsal {
        let mut state = State::new(self.simulation);
        let before = ApplyOptions { manager: "before".into(), force: true, dry_run: false };
        let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"].map(|name| {
            Object::new(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
                .expect("a namespace needs no more than a name")
        });
        for object in namespaces.iter().chain(&self.objects) {
            if let Err((_, message)) = state.apply(object, &before) {
                panic!("a rehearsal cannot begin with {object}: {message}");
            }
        }
        state.faults = self.faults;
        state.writes.clear();
        Rehearsal { version: self.version, state: Arc::new(Mutex::new(state)) }
    }
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Rehearsal {
    /// A cluster with its default namespaces where everything works at once.
    pub fn builder() -> Builder {
        let simulation =
            Simulation { delay: Duration::ZERO, never_ready: BTreeMap::new(), load_balancer: true };
        Builder { version: VERSION.into(), simulation, faults: Vec::new(), objects: Vec::new() }
    }

    /// Returns every write so far, in order.
    pub fn writes(&self) -> Vec<Write> {
        lock(&self.state).writes.clone()
    }

    fn request<T>(
        &self,
        doing: impl FnOnce() -> String,
        request: impl FnOnce(&mut State) -> std::result::Result<T, Refusal>,
    ) -> Result<T> {
        let mut state = lock(&self.state);
        state.settle();
        request(&mut state).map_err(|(kind, message)| ClusterError::new(doing(), kind, message))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic in a test must not hide behind a poisoned lock in another one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_rehearsed<T>(doing: String, message: &str) -> Result<T> {
    Err(ClusterError::new(doing, ErrorKind::NotInRehearsal, message))
}

#[async_trait]
impl Cluster for Rehearsal {
    fn info(&self) -> ClusterInfo {
        ClusterInfo { kubernetes_version: self.version.clone(), rehearsal: true }
    }

    fn name(&self) -> String {
        "rehearsal".into()
    }

    async fn scope(&self, api_version: &str, kind: &str) -> Result<Option<Scope>> {
        self.request(String::new, |state| Ok(state.store.schemas.scope(api_version, kind)))
    }

    async fn api_versions(&self) -> Result<Vec<String>> {
        self.request(String::new, |state| Ok(served(&state.store.schemas)))
    }

    async fn kinds(&self) -> Result<Vec<Kind>> {
        self.request(String::new, |state| {
            let mut seen = std::collections::BTreeSet::new();
            let apis = state.store.schemas.apis().filter(|api| {
                let group = api.api_version.split_once('/').map_or("", |(group, _)| group);
                seen.insert((group.to_owned(), api.kind.to_owned()))
            });
            Ok(apis
                .map(|api| Kind {
                    api_version: api.api_version.to_owned(),
                    kind: api.kind.to_owned(),
                    namespaced: api.scope == Scope::Namespaced,
                })
                .collect())
        })
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Object>> {
        self.request(|| format!("get {object}"), |state| state.get(object))
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>> {
        self.request(|| format!("list {}", query.kind), |state| state.list(query))
    }

    async fn apply(&self, object: &Object, options: &ApplyOptions) -> Result<Object> {
        self.request(|| format!("apply {object}"), |state| state.apply(object, options))
    }

    async fn create(&self, object: &Object) -> Result<Object> {
        self.request(|| format!("create {object}"), |state| state.create(object))
    }

    async fn replace(&self, object: &Object) -> Result<Object> {
        self.request(|| format!("replace {object}"), |state| state.replace(object))
    }

    async fn patch(&self, object: &ObjectRef, patch: &Value, subresource: Option<&str>) -> Result<Object> {
        self.request(|| format!("patch {object}"), |state| state.patch(object, patch, subresource))
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        self.request(|| format!("delete {object}"), |state| state.delete(object))
    }

    fn watch(&self, query: WatchQuery) -> BoxStream<'static, Result<WatchEvent>> {
        watch::watch(Arc::clone(&self.state), query)
    }

    async fn logs(&self, query: &LogsQuery) -> Result<String> {
        let doing = format!("read the log of Pod {}/{}", query.namespace, query.pod);
        not_rehearsed(doing, "nothing runs in a rehearsal, so there is no log")
    }

    async fn exec(&self, query: &ExecQuery) -> Result<ExecResult> {
        let doing = format!("run {} in Pod {}/{}", query.command.join(" "), query.namespace, query.pod);
        not_rehearsed(doing, "nothing runs in a rehearsal, so there is no container to run it in")
    }

    async fn http(&self, query: &HttpQuery) -> Result<HttpResult> {
        let doing = format!("GET {}", query.path);
        not_rehearsed(doing, "nothing runs in a rehearsal, so nothing answers")
    }
}

fn served(schemas: &Schemas) -> Vec<String> {
    let mut versions: Vec<_> = schemas
        .apis()
        .flat_map(|api| [api.api_version.to_owned(), format!("{}/{}", api.api_version, api.kind)])
        .collect();
    versions.sort();
    versions.dedup();
    versions
}
