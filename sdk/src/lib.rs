//! Write a meshrun step plugin: a typed configuration comes in, actions and checks go out.
//!
//! A plugin never changes the cluster. It says what should be there ([`Step::plan`]) and whether it is healthy
//! ([`Step::check`]); meshrun shows it, carries it out, waits for it, records it and takes it away again.

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
pub use step::{Error, Result, Step};
pub use {schemars, serde, serde_json};

/// What a plugin file imports: `use meshrun_sdk::prelude::*;`.
pub mod prelude {
    pub use meshrun_protocol::{
        Action, ActionKind, Chart, Check, CheckStatus, Diagnostic, Endpoint, Helm, HttpResult, ListQuery,
        ObjectRef, Severity, WaitCondition, WaitFor,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    pub use crate::{Cx, Error, Plan, Result, Step, export_plugin};
}
