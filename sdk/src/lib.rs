//! Write a meshrun step plugin: a typed configuration comes in, actions and checks go out.
//!
//! A plugin never changes the cluster. It says what should be there ([`Step::plan`]) and whether it is healthy
//! ([`Step::check`]); meshrun shows it, carries it out, waits for it, records it and takes it away again.
//!
//! This is a whole plugin; its `Cargo.toml` needs `crate-type = ["cdylib", "rlib"]` and this crate, nothing else:
//!
//! ```
//! use meshrun_sdk::prelude::*;
//!
//! /// What `with:` may say; the comments become the help text in editors.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
//! #[schemars(crate = "meshrun_sdk::schemars")]
//! pub struct Config {
//!     /// Namespace to label.
//!     namespace: String,
//!     /// Revision of the control plane whose proxy its pods get.
//!     #[serde(default = "default_revision")]
//!     revision: String,
//! }
//!
//! fn default_revision() -> String {
//!     "default".into()
//! }
//!
//! pub struct Inject;
//!
//! impl Step for Inject {
//!     const NAME: &'static str = "inject";
//!     const SUMMARY: &'static str = "Puts the pods of a namespace into the mesh.";
//!     const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];
//!     type Config = Config;
//!
//!     fn plan(config: &Config, _: &Cx<'_>) -> Result<Plan> {
//!         let namespace = json!({
//!             "apiVersion": "v1", "kind": "Namespace",
//!             "metadata": { "name": config.namespace, "labels": { "istio.io/rev": config.revision } },
//!         });
//!         Ok(Plan::new().apply("label", vec![namespace]))
//!     }
//!
//!     fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
//!         let namespace = cx.get(&ObjectRef::cluster("v1", "Namespace", &config.namespace))?;
//!         let found = namespace.map(|object| object["metadata"]["labels"]["istio.io/rev"].clone());
//!         Ok(vec![match found {
//!             Some(revision) if revision == config.revision => Check::passed("label", "the label is set", config.revision.clone()),
//!             found => Check::failed("label", "the label is set", format!("found {found:?}")),
//!         }])
//!     }
//! }
//!
//! export_plugin!(Inject);
//! # fn main() {}
//! ```
//!
//! `docs/plugin-guide.md` goes from an empty directory to a step in a pipeline; `sdk/examples/echo` has tests as well.

mod cx;
mod dispatch;
#[doc(hidden)]
pub mod glue;
mod plan;
mod step;
pub mod testing;

pub use cx::{Cx, Host};
pub use dispatch::{Entry, call, describe};
pub use meshrun_protocol as protocol;
pub use plan::Plan;
pub use step::{Error, Result, Step, UpgradePath};
pub use {schemars, serde, serde_json};

/// What a plugin file imports: `use meshrun_sdk::prelude::*;`.
pub mod prelude {
    pub use meshrun_protocol::{
        Action, ActionKind, Chart, Check, CheckStatus, Diagnostic, Endpoint, Helm, Hop, HttpResult,
        ListQuery, Need, ObjectRef, Severity, UpgradeRequest, UpgradeResponse, WaitCondition, WaitFor,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    pub use crate::{Cx, Error, Plan, Result, Step, export_plugin};
}
