//! A cluster for a plugin's own tests: objects put in by hand, no server, no meshrun.

use std::collections::BTreeMap;

use meshrun_protocol::{
    ApiQuery, ApiServed, ClusterInfo, Endpoint, Failure, HttpQuery, HttpResult, ListQuery, LogEvent, Need,
    ObjectRef, service,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Cx, Error, Host};

/// Answers a plugin's questions from objects and replies given to it.
///
/// ```
/// use meshrun_sdk::{prelude::*, testing::FakeCluster};
/// let cluster = FakeCluster::new().with(json!({
///     "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" },
/// }));
/// let namespace = ObjectRef::cluster("v1", "Namespace", "istio-system");
/// assert!(cluster.cx("base").get(&namespace)?.is_some());
/// # Ok::<(), meshrun_sdk::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FakeCluster {
    objects: Vec<Value>,
    apis: Vec<(String, String)>,
    http: BTreeMap<String, HttpResult>,
    forbidden: Option<String>,
    info: ClusterInfo,
    needs: Vec<Need>,
    allow_skip: bool,
}

impl FakeCluster {
    /// An empty cluster of version v1.34.0 that serves the built-in APIs only.
    pub fn new() -> Self {
        Self {
            info: ClusterInfo { kubernetes_version: "v1.34.0".into(), rehearsal: false },
            ..Self::default()
        }
    }

    /// Adds an object; its API counts as served.
    #[must_use]
    pub fn with(mut self, object: Value) -> Self {
        self.objects.push(object);
        self
    }

    /// Serves an API that has no object yet.
    #[must_use]
    pub fn serving(mut self, api_version: &str, kind: &str) -> Self {
        self.apis.push((api_version.into(), kind.into()));
        self
    }

    /// Answers HTTP GETs for `target`: `pod NAMESPACE/NAME:PORT/PATH` or `ADDRESS/PATH`.
    #[must_use]
    pub fn answering(mut self, target: &str, status: u16, body: &str) -> Self {
        let headers = BTreeMap::new();
        self.http.insert(target.into(), HttpResult { status, headers, body: body.into() });
        self
    }

    /// Refuses every read with this message, as an API server does where a right is missing.
    #[must_use]
    pub fn forbidding(mut self, message: &str) -> Self {
        self.forbidden = Some(message.into());
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.info.kubernetes_version = version.into();
        self
    }

    /// Makes it a rehearsal: no HTTP, no logs.
    #[must_use]
    pub fn rehearsal(mut self) -> Self {
        self.info.rehearsal = true;
        self
    }

    /// Puts a step before the one under test: the capability it brings, and an object of its outputs.
    #[must_use]
    pub fn after(mut self, capability: &str, outputs: Value) -> Self {
        let outputs = outputs.as_object().cloned().unwrap_or_default();
        let step = format!("step-{}", self.needs.len() + 1);
        self.needs.push(Need { step, provides: vec![capability.into()], outputs });
        self
    }

    /// Insists on jumps between versions, as `--allow-skip` does.
    #[must_use]
    pub fn allowing_skips(mut self) -> Self {
        self.allow_skip = true;
        self
    }

    /// The view that a plugin gets for a step.
    pub fn cx<'a>(&'a self, step: &'a str) -> Cx<'a> {
        Cx::new(self, step, self.info.clone()).with_needs(self.needs.clone()).with_allow_skip(self.allow_skip)
    }

    fn is(object: &Value, api_version: &str, kind: &str) -> bool {
        object["apiVersion"] == api_version && object["kind"] == kind
    }

    fn serves(&self, query: &ApiQuery) -> bool {
        let group = query.api_version.split_once('/').map_or("", |(group, _)| group);
        let builtin = group.is_empty() || !group.contains('.') || group.ends_with(".k8s.io");
        (builtin && group != "gateway.networking.k8s.io")
            || self.objects.iter().any(|object| Self::is(object, &query.api_version, &query.kind))
            || self.apis.contains(&(query.api_version.clone(), query.kind.clone()))
    }

    fn list(&self, query: &ListQuery) -> Vec<Value> {
        let wanted: Vec<(&str, &str)> = query
            .labels
            .iter()
            .flat_map(|labels| labels.split(','))
            .filter_map(|pair| pair.split_once('='))
            .collect();
        self.objects
            .iter()
            .filter(|object| Self::is(object, &query.api_version, &query.kind))
            .filter(|object| {
                query
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| object["metadata"]["namespace"] == namespace.as_str())
            })
            .filter(|object| wanted.iter().all(|(key, value)| object["metadata"]["labels"][key] == *value))
            .cloned()
            .collect()
    }

    fn http(&self, query: &HttpQuery) -> Result<HttpResult, Failure> {
        let target = match &query.endpoint {
            Endpoint::Pod { namespace, pod, port } => format!("pod {namespace}/{pod}:{port}{}", query.path),
            Endpoint::Address { address } => format!("{address}{}", query.path),
        };
        self.http.get(&target).cloned().ok_or_else(|| Error::new(format!("no answer from {target}")).0)
    }
}

impl Host for FakeCluster {
    fn call(&self, name: &str, request: Value) -> Result<Value, Failure> {
        if let Some(message) = &self.forbidden {
            return Err(Error::new(message.clone()).0);
        }
        match name {
            service::GET => {
                let reference: ObjectRef = query(request)?;
                let found = self.objects.iter().find(|object| {
                    Self::is(object, &reference.api_version, &reference.kind)
                        && object["metadata"]["name"] == reference.name.as_str()
                        && object["metadata"]["namespace"].as_str() == reference.namespace.as_deref()
                });
                Ok(found.cloned().unwrap_or(Value::Null))
            }
            service::LIST => Ok(Value::Array(self.list(&query(request)?))),
            service::API => Ok(json!(ApiServed { served: self.serves(&query(request)?) })),
            service::HTTP => self.http(&query(request)?).map(|answer| json!(answer)),
            service::RANDOM => {
                let length = request["length"].as_u64().unwrap_or(0);
                Ok(json!("r".repeat(usize::try_from(length).unwrap_or(0))))
            }
            other => Err(Error::new(format!("the fake cluster has no {other}")).0),
        }
    }

    fn emit(&self, _event: LogEvent) {}

    fn cancelled(&self) -> bool {
        false
    }
}

fn query<T: DeserializeOwned>(request: Value) -> Result<T, Failure> {
    serde_json::from_value(request).map_err(|error| Error::new(error.to_string()).0)
}
