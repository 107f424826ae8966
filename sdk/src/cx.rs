//! What a plugin may ask its host while it plans or checks: reading only.

use meshrun_protocol::{
    ApiQuery, ApiServed, ClusterInfo, Endpoint, ExecQuery, ExecResult, Failure, HttpQuery, HttpResult,
    ListQuery, LogEvent, LogsQuery, Need, ObjectRef, RandomQuery, service,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result};

/// The host as a plugin sees it: meshrun at work, [`crate::testing::FakeCluster`] in a test.
pub trait Host {
    /// Calls a service of [`meshrun_protocol::service`].
    ///
    /// # Errors
    /// What the host says: unknown service, unreachable cluster, missing right.
    fn call(&self, service: &str, request: Value) -> std::result::Result<Value, Failure>;
    /// Hands a log line to the host.
    fn emit(&self, event: LogEvent);
    /// Whether the run was cancelled; long loops should ask.
    fn cancelled(&self) -> bool;
}

/// Read-only access to the cluster.
pub struct Cx<'a> {
    host: &'a dyn Host,
    step: &'a str,
    cluster: ClusterInfo,
    needs: Vec<Need>,
    allow_skip: bool,
}

impl<'a> Cx<'a> {
    /// Wraps a host for one step.
    pub fn new(host: &'a dyn Host, step: &'a str, cluster: ClusterInfo) -> Self {
        Self { host, step, cluster, needs: Vec::new(), allow_skip: false }
    }

    /// Adds the steps that come before.
    #[must_use]
    pub fn with_needs(mut self, needs: Vec<Need>) -> Self {
        self.needs = needs;
        self
    }

    /// Says whether the user insists on a jump between versions.
    #[must_use]
    pub fn with_allow_skip(mut self, allow_skip: bool) -> Self {
        self.allow_skip = allow_skip;
        self
    }

    /// The step's id in the pipeline.
    pub fn step(&self) -> &str {
        self.step
    }

    /// Version of the cluster, and whether it is a rehearsal.
    pub fn cluster(&self) -> &ClusterInfo {
        &self.cluster
    }

    /// Steps of this run that come before this one and bring a capability. While the whole run is planned their work
    /// is still to come: what they put out counts more than what the cluster shows.
    pub fn providers<'s>(&'s self, capability: &'s str) -> impl Iterator<Item = &'s Need> {
        self.needs.iter().filter(move |need| need.provides.iter().any(|name| name == capability))
    }

    /// Whether the user insists on a jump between versions (`--allow-skip`).
    pub fn allow_skip(&self) -> bool {
        self.allow_skip
    }

    /// Whether the run was cancelled.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled()
    }

    /// Returns an object, or `None` where it (or its API) does not exist.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub fn get(&self, object: &ObjectRef) -> Result<Option<Value>> {
        self.call(service::GET, object)
    }

    /// Returns objects, sorted by namespace and name; none where the API is not served.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<Value>> {
        self.call(service::LIST, query)
    }

    /// Whether the cluster serves an API now.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub fn serves(&self, api_version: &str, kind: &str) -> Result<bool> {
        let query = ApiQuery { api_version: api_version.into(), kind: kind.into() };
        self.call::<_, ApiServed>(service::API, &query).map(|answer| answer.served)
    }

    /// Returns the end of a container's log.
    ///
    /// # Errors
    /// When there is no such container, or in a rehearsal.
    pub fn logs(&self, query: &LogsQuery) -> Result<String> {
        self.call(service::LOGS, query)
    }

    /// Runs a reading command in a container.
    ///
    /// # Errors
    /// When it cannot be run, or in a rehearsal.
    pub fn exec(&self, query: &ExecQuery) -> Result<ExecResult> {
        self.call(service::EXEC, query)
    }

    /// Sends an HTTP GET to a pod (by port-forward) or an address; redirects are not followed.
    ///
    /// # Errors
    /// When there is no answer, or in a rehearsal.
    pub fn http_get(&self, endpoint: Endpoint, path: &str) -> Result<HttpResult> {
        let query = HttpQuery {
            endpoint,
            path: path.into(),
            headers: std::collections::BTreeMap::new(),
            timeout_seconds: None,
        };
        self.call(service::HTTP, &query)
    }

    /// Returns random characters of `[A-Za-z0-9]` from the host (fixed ones in a rehearsal), for keys that are made
    /// once and then read back from the cluster.
    ///
    /// # Errors
    /// When the host has no random source.
    pub fn random(&self, length: usize) -> Result<String> {
        self.call(service::RANDOM, &RandomQuery { length })
    }

    /// Writes a line to meshrun's log at level `info`.
    pub fn log(&self, message: impl Into<String>) {
        self.host.emit(LogEvent { level: "info".into(), message: message.into() });
    }

    fn call<Q: Serialize, A: DeserializeOwned>(&self, name: &str, query: &Q) -> Result<A> {
        let request = serde_json::to_value(query).map_err(|error| Error::new(error.to_string()))?;
        let answer = self.host.call(name, request)?;
        serde_json::from_value(answer)
            .map_err(|error| Error::new(format!("read the answer of {name}: {error}")))
    }
}
