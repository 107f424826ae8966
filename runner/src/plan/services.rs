//! What a plugin may ask while it plans or checks: the cluster, read only.

use std::sync::Arc;

use async_trait::async_trait;
use meshrun_protocol::{ApiQuery, ApiServed, Failure, ListQuery, LogEvent, ObjectRef, RandomQuery, service};
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Object},
    ids::StepId,
    plugin::HostServices,
};

/// The cluster as a plugin sees it.
pub struct ReadOnly {
    cluster: Arc<dyn Cluster>,
    step: StepId,
}

impl ReadOnly {
    /// Lets the plugin of a step read a cluster.
    pub fn new(cluster: Arc<dyn Cluster>, step: StepId) -> Self {
        Self { cluster, step }
    }
}

#[async_trait]
impl HostServices for ReadOnly {
    async fn call(&self, name: &str, request: Value) -> Result<Value, Failure> {
        match name {
            service::GET => {
                let object = self.cluster.get(&read::<ObjectRef>(request)?).await.map_err(|error| (&error).into());
                Ok(object?.map_or(Value::Null, Object::into_json))
            }
            service::LIST => {
                let objects = self.cluster.list(&read::<ListQuery>(request)?).await.map_err(|error| (&error).into());
                let objects: Result<Vec<Object>, Failure> = objects;
                Ok(Value::Array(objects?.into_iter().map(Object::into_json).collect()))
            }
            service::API => {
                let query: ApiQuery = read(request)?;
                let scope = self.cluster.scope(&query.api_version, &query.kind).await;
                scope.map_err(|error| (&error).into()).and_then(|scope| write(&ApiServed { served: scope.is_some() }))
            }
            service::LOGS => self.cluster.logs(&read(request)?).await.map_err(|error| (&error).into()).map(Value::String),
            service::EXEC => {
                let result = self.cluster.exec(&read(request)?).await.map_err(|error| Failure::from(&error))?;
                write(&result)
            }
            service::HTTP => {
                let result = self.cluster.http(&read(request)?).await.map_err(|error| Failure::from(&error))?;
                write(&result)
            }
            service::RANDOM => {
                let query: RandomQuery = read(request)?;
                Ok(Value::String(random(query.length, self.cluster.info().rehearsal)))
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

fn read<T: DeserializeOwned>(request: Value) -> Result<T, Failure> {
    serde_json::from_value(request).map_err(|error| failure("service", format!("read the request: {error}")))
}

fn write<T: Serialize>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| failure("service", format!("write the answer: {error}")))
}

fn failure(code: &str, message: String) -> Failure {
    Failure { code: code.into(), message, path: None, hint: None, retryable: false }
}
