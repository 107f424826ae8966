//! Requests and answers of the read-only services that a plugin may call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ObjectRef;

/// Which objects to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Namespace; `None` lists all of them.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Label selector in Kubernetes syntax: `app=istiod`.
    #[serde(default)]
    pub labels: Option<String>,
}

/// Asks whether the cluster serves an API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiQuery {
    /// `monitoring.coreos.com/v1`.
    pub api_version: String,
    /// `ServiceMonitor`.
    pub kind: String,
}

/// Whether the cluster serves an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiServed {
    /// `true` when objects of this kind can be read now.
    pub served: bool,
}

/// Which log to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsQuery {
    /// Namespace of the pod.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Container; `None` takes the only or the default one.
    #[serde(default)]
    pub container: Option<String>,
    /// Lines from the end; 100 where not said.
    #[serde(default)]
    pub tail: Option<u32>,
}

/// A command to run in a container; it must only read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecQuery {
    /// Namespace of the pod.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Container; `None` takes the only or the default one.
    #[serde(default)]
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecResult {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code, where the cluster reports it.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

/// An HTTP GET; redirects are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpQuery {
    /// Whom to ask.
    pub endpoint: Endpoint,
    /// Path and query: `/debug/syncz`.
    pub path: String,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Time limit in seconds; 5 where not said.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

/// Where an HTTP request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Endpoint {
    /// A port of a pod, reached by port-forward.
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// Pod name.
        pod: String,
        /// Container port.
        port: u16,
    },
    /// `host:port` as seen from the host's machine.
    Address {
        /// `203.0.113.7:80`.
        address: String,
    },
}

impl Endpoint {
    /// A port of the pod that an [`ObjectRef`] names.
    pub fn of_pod(pod: &ObjectRef, port: u16) -> Self {
        Self::Pod { namespace: pod.namespace.clone().unwrap_or_default(), pod: pod.name.clone(), port }
    }
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResult {
    /// Status code.
    pub status: u16,
    /// Response headers, names in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, at most 1 MiB of it, as text.
    #[serde(default)]
    pub body: String,
}

/// Asks for random characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RandomQuery {
    /// How many characters of `[A-Za-z0-9]`.
    pub length: usize,
}
