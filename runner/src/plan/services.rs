//! What a plugin may ask while it plans or checks: the cluster, read only.

use std::sync::Arc;

use async_trait::async_trait;
use meshrun_protocol::{ApiQuery, ApiServed, Failure, LogEvent, ObjectRef, RandomQuery, service};
use rand::RngExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    cluster::{Cluster, ClusterError, Object},
    ids::StepId,
    plugin::HostServices,
};

/// The cluster as a plugin sees it.
pub struct ReadOnly {
    cluster: Arc<dyn Cluster>,
    step: StepId,
    /// Objects that are not shown.
    hidden: Vec<ObjectRef>,
}

impl ReadOnly {
    /// Lets the plugin of a step read a cluster.
    pub fn new(cluster: Arc<dyn Cluster>, step: StepId) -> Self {
        Self { cluster, step, hidden: Vec::new() }
    }

    /// Shows the cluster as it will be once these objects are gone.
    #[must_use]
    pub fn without(mut self, objects: Vec<ObjectRef>) -> Self {
        self.hidden = objects;
        self
    }

    fn is_hidden(&self, object: &ObjectRef) -> bool {
        self.hidden.iter().any(|hidden| hidden.is_same(object))
    }
}

#[async_trait]
impl HostServices for ReadOnly {
    async fn call(&self, name: &str, request: Value) -> Result<Value, Failure> {
        let cluster = &self.cluster;
        match name {
            service::GET => {
                let reference: ObjectRef = read(request)?;
                if self.is_hidden(&reference) {
                    return Ok(Value::Null);
                }
                let object = cluster.get(&reference).await.map_err(refused)?;
                Ok(object.map_or(Value::Null, Object::into_json))
            }
            service::LIST => {
                let objects = cluster.list(&read(request)?).await.map_err(refused)?;
                let shown = objects.into_iter().filter(|object| !self.is_hidden(&object.reference()));
                Ok(Value::Array(shown.map(Object::into_json).collect()))
            }
            service::API => {
                let ApiQuery { api_version, kind } = read(request)?;
                let scope = cluster.scope(&api_version, &kind).await.map_err(refused)?;
                write(&ApiServed { served: scope.is_some() })
            }
            service::LOGS => cluster.logs(&read(request)?).await.map_err(refused).map(Value::String),
            service::EXEC => write(&cluster.exec(&read(request)?).await.map_err(refused)?),
            service::HTTP => write(&cluster.http(&read(request)?).await.map_err(refused)?),
            service::RANDOM => {
                let RandomQuery { length } = read(request)?;
                Ok(Value::String(random(length, cluster.info().rehearsal)))
            }
            other => Err(failure("unknown-service", format!("this meshrun has no service {other}"))),
        }
    }

    fn emit(&self, event: LogEvent) {
        let step = &self.step;
        match event.level.as_str() {
            "error" => tracing::error!(%step, "{}", event.message),
            "warn" => tracing::warn!(%step, "{}", event.message),
            "info" => tracing::info!(%step, "{}", event.message),
            _ => tracing::debug!(%step, "{}", event.message),
        }
    }
}

/// Random characters; the same ones in every rehearsal, so that two rehearsals can be compared.
fn random(length: usize, rehearsal: bool) -> String {
    if rehearsal {
        return "rehearsal".chars().cycle().take(length).collect();
    }
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}

fn refused(error: ClusterError) -> Failure {
    Failure::from(&error)
}

fn read<T: DeserializeOwned>(request: Value) -> Result<T, Failure> {
    serde_json::from_value(request).map_err(|error| failure("service", format!("read the request: {error}")))
}

fn write<T: Serialize>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| failure("service", format!("write the answer: {error}")))
}

fn failure(code: &str, message: String) -> Failure {
    Failure { code: code.into(), message, path: None, hint: None, retryable: false }
}

#[cfg(test)]
mod tests {
    use meshrun_protocol::ListQuery;
    use serde_json::json;

    use super::*;
    use crate::cluster::rehearsal::Rehearsal;

    #[tokio::test]
    async fn objects_that_will_be_gone_are_not_shown() {
        let map = |name: &str| {
            let metadata = json!({ "name": name, "namespace": "mesh" });
            Object::new(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }))
                .expect("an object")
        };
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "mesh" } });
        let namespace = Object::new(namespace).expect("an object");
        let objects = [namespace, map("istiod"), map("istiod-1-31")];
        let cluster = Rehearsal::builder().with(objects).build();
        let gone = ObjectRef::namespaced("v1", "ConfigMap", "mesh", "istiod");
        let view = ReadOnly::new(Arc::new(cluster), StepId::new("istiod")).without(vec![gone]);

        let query = ListQuery {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("mesh".into()),
            labels: None,
        };
        let listed = view.call(service::LIST, json!(query)).await.expect("a list");
        let names: Vec<&Value> =
            listed.as_array().expect("objects").iter().map(|object| &object["metadata"]["name"]).collect();
        assert_eq!(names, ["istiod-1-31"]);
        let get = async |name: &str| {
            let reference = ObjectRef::namespaced("v1", "ConfigMap", "mesh", name);
            view.call(service::GET, json!(reference)).await.expect("an answer")
        };
        assert_eq!(get("istiod").await, Value::Null);
        assert_eq!(get("istiod-1-31").await["metadata"]["name"], "istiod-1-31");
    }
}
