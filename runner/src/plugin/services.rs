//! What a plugin gets from its host while it answers, on the side of those who ask.

use std::time::Duration;

use async_trait::async_trait;
use meshrun_protocol::{Failure, LogEvent};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::frame::LARGEST_BODY;

/// Answers the read-only services of [`meshrun_protocol::service`].
#[async_trait]
pub trait HostServices: Send + Sync {
    /// Calls a service.
    ///
    /// # Errors
    /// What the plugin shall be told: unknown service, unreachable cluster, missing right.
    async fn call(&self, service: &str, request: Value) -> Result<Value, Failure>;

    /// Takes a log line.
    fn emit(&self, event: LogEvent);
}

/// The host where no cluster is within reach.
pub(super) struct NoServices;

#[async_trait]
impl HostServices for NoServices {
    async fn call(&self, service: &str, _request: Value) -> Result<Value, Failure> {
        Err(failure(
            "service",
            format!("{service} is out of reach here: only `plan` and `check` may look at the cluster"),
        ))
    }

    fn emit(&self, event: LogEvent) {
        tracing::debug!(target: "meshrun::plugin", level = event.level, "{}", event.message);
    }
}

/// How long a plugin may take for one answer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time of the plugin's own; what the host needs for its services does not count.
    pub timeout: Duration,
    /// Stops it at once.
    pub cancel: CancellationToken,
}

impl Limits {
    /// A time limit and nothing that cancels.
    pub fn timeout(timeout: Duration) -> Self {
        Self { timeout, cancel: CancellationToken::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::timeout(Duration::from_secs(30))
    }
}

/// Calls a service in the plugin's words: text in, text out.
pub(super) async fn answer(
    services: &dyn HostServices,
    service: &str,
    request: &str,
) -> Result<String, Failure> {
    let request = serde_json::from_str(request)
        .map_err(|error| failure("service", format!("read the request to {service}: {error}")))?;
    let answer = services.call(service, request).await?.to_string();
    if answer.len() > LARGEST_BODY {
        return Err(failure(
            "service",
            format!("the answer of {service} is too large: {} bytes", answer.len()),
        ));
    }
    Ok(answer)
}

/// Hands on a log line in the plugin's words; what cannot be read is a line all the same.
pub(super) fn emit(services: &dyn HostServices, event: &str) {
    let line = || LogEvent { level: "info".into(), message: event.to_owned() };
    services.emit(serde_json::from_str(event).unwrap_or_else(|_| line()));
}

pub(super) fn failure(code: &str, message: String) -> Failure {
    Failure { code: code.into(), message, path: None, hint: None, retryable: false }
}
