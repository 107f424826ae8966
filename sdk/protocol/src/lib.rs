//! The JSON messages between meshrun and its step plugins: serde types in, serde types out, no I/O.
//!
//! Rules of evolution: both sides ignore fields they do not know; a field is only ever added, with a default;
//! methods and host services carry their version in their name (`plan/v1`), and `/v2` stands beside `/v1`.
//! A plugin answers the [`method`]s and may call the read-only [`service`]s of the host while it does.

mod action;
mod check;
mod describe;
mod diagnostic;
mod host;
mod object;
mod step;
mod upgrade;

pub use action::{
    Action, ActionKind, Apply, Chart, Delete, Helm, Http, Label, Probe, ProbeTarget, Restart, Scale, Wait,
    WaitCondition, WaitFor,
};
pub use check::{Check, CheckStatus};
pub use describe::{Description, OutputSpec};
pub use diagnostic::{Diagnostic, Severity};
pub use host::{
    ApiQuery, ApiServed, Endpoint, ExecQuery, ExecResult, HttpQuery, HttpResult, ListQuery, LogsQuery,
    RandomQuery,
};
pub use object::ObjectRef;
pub use step::{
    CheckRequest, CheckResponse, ClusterInfo, Failure, Leftover, LintRequest, LintResponse, LogEvent, Need,
    Output, PlanRequest, PlanResponse, TeardownRequest, TeardownResponse,
};
pub use upgrade::{Hop, UpgradeRequest, UpgradeResponse};

/// Version of this vocabulary, as `describe` reports it; informative, never compared.
pub const PROTOCOL_VERSION: &str = "1.0";

/// Names of the methods that the host calls on a plugin.
pub mod method {
    /// [`crate::LintRequest`] in, [`crate::LintResponse`] out; the cluster is out of reach.
    pub const LINT: &str = "lint/v1";
    /// [`crate::PlanRequest`] in, [`crate::PlanResponse`] out.
    pub const PLAN: &str = "plan/v1";
    /// [`crate::TeardownRequest`] in, [`crate::TeardownResponse`] out; a plugin without it has nothing to say.
    pub const TEARDOWN: &str = "teardown/v1";
    /// [`crate::CheckRequest`] in, [`crate::CheckResponse`] out.
    pub const CHECK: &str = "check/v1";
    /// [`crate::UpgradeRequest`] in, [`crate::UpgradeResponse`] out; the cluster is out of reach. Optional: only a
    /// plugin that lists it in [`crate::Description::methods`] is asked.
    pub const UPGRADE: &str = "upgrade/v1";
}

/// Names of the read-only services that a plugin may call on its host.
pub mod service {
    /// [`crate::ObjectRef`] in; the object, or `null` where it does not exist.
    pub const GET: &str = "cluster.get/v1";
    /// [`crate::ListQuery`] in; an array of objects out (empty where the API is not served).
    pub const LIST: &str = "cluster.list/v1";
    /// [`crate::ApiQuery`] in, [`crate::ApiServed`] out.
    pub const API: &str = "cluster.api/v1";
    /// [`crate::LogsQuery`] in; a string out.
    pub const LOGS: &str = "cluster.logs/v1";
    /// [`crate::ExecQuery`] in, [`crate::ExecResult`] out.
    pub const EXEC: &str = "cluster.exec/v1";
    /// [`crate::HttpQuery`] in, [`crate::HttpResult`] out.
    pub const HTTP: &str = "http.get/v1";
    /// [`crate::RandomQuery`] in; a string of random characters out (a fixed one in a rehearsal).
    pub const RANDOM: &str = "random/v1";
    /// All of them.
    pub const ALL: &[&str] = &[GET, LIST, API, LOGS, EXEC, HTTP, RANDOM];
}
