//! From a JSON message to a [`Step`]'s method and back: what the ABI glue calls.

use meshrun_protocol::{
    CheckRequest, CheckResponse, Description, Failure, LintRequest, LintResponse, OutputSpec,
    PROTOCOL_VERSION, PlanRequest, TeardownRequest, UpgradeRequest, method,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Cx, Error, Host, Step};

/// The version of a plugin, taken from its own package by `export_plugin!`.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// `CARGO_PKG_VERSION` of the plugin.
    pub version: &'static str,
}

/// Returns a step's self-description.
pub fn describe<S: Step>(entry: Entry) -> Description {
    let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let mut methods = owned(&[method::LINT, method::PLAN, method::CHECK, method::TEARDOWN]);
    methods.extend(S::UPGRADE_PATH.map(|_| method::UPGRADE.to_owned()));
    Description {
        protocol: PROTOCOL_VERSION.into(),
        sdk: env!("CARGO_PKG_VERSION").into(),
        name: S::NAME.into(),
        version: entry.version.into(),
        summary: S::SUMMARY.into(),
        methods,
        services: Vec::new(),
        provides: owned(S::PROVIDES),
        requires: owned(S::REQUIRES),
        config_schema: schemars::schema_for!(S::Config).to_value(),
        outputs: S::OUTPUTS
            .iter()
            .map(|(name, description)| OutputSpec {
                name: (*name).into(),
                description: (*description).into(),
            })
            .collect(),
        panic: if cfg!(panic = "unwind") { "unwind" } else { "abort" }.into(),
    }
}

/// Answers one method.
///
/// # Errors
/// A [`Failure`]: the message or the configuration cannot be read, the method is unknown, or the step says so.
pub fn call<S: Step>(host: &dyn Host, name: &str, message: &str) -> Result<Value, Failure> {
    match name {
        method::LINT => {
            let request: LintRequest = message_from(message)?;
            respond(&LintResponse { diagnostics: S::lint(&config::<S>(request.config)?) })
        }
        method::PLAN => {
            let request: PlanRequest = message_from(message)?;
            let cx = Cx::new(host, &request.step, request.cluster)
                .with_needs(request.needs)
                .with_allow_skip(request.allow_skip);
            let plan = S::plan(&config::<S>(request.config)?, &cx).map_err(|error| error.0)?;
            respond(&plan.into_response())
        }
        method::TEARDOWN => {
            let request: TeardownRequest = message_from(message)?;
            let cx = Cx::new(host, &request.step, request.cluster);
            respond(&S::teardown(&config::<S>(request.config)?, &cx).map_err(|error| error.0)?)
        }
        method::CHECK => {
            let request: CheckRequest = message_from(message)?;
            let cx = Cx::new(host, &request.step, request.cluster);
            let checks = S::check(&config::<S>(request.config)?, &cx).map_err(|error| error.0)?;
            respond(&CheckResponse { checks })
        }
        method::UPGRADE => {
            let path = S::UPGRADE_PATH.ok_or_else(|| unknown(name))?;
            let request: UpgradeRequest = message_from(message)?;
            respond(&path(&request).map_err(|error| error.0)?)
        }
        other => Err(unknown(other)),
    }
}

fn unknown(method: &str) -> Failure {
    failure("unknown-method", format!("method {method} is not known to this plugin"))
}

fn config<S: Step>(value: Value) -> Result<S::Config, Failure> {
    // An absent `with:` arrives as null; a configuration made of defaults alone must still work.
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().iter().fold(String::new(), |mut pointer, segment| {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => {
                    pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
                }
                Segment::Enum { .. } | Segment::Unknown => {}
            }
            pointer
        });
        Failure { path: Some(path), ..failure("config", error.into_inner().to_string()) }
    })
}

fn message_from<T: DeserializeOwned>(message: &str) -> Result<T, Failure> {
    serde_json::from_str(message)
        .map_err(|error| failure("plugin", format!("read the host's message: {error}")))
}

fn respond<T: Serialize>(response: &T) -> Result<Value, Failure> {
    serde_json::to_value(response).map_err(|error| failure("plugin", format!("write the answer: {error}")))
}

fn failure(code: &str, message: String) -> Failure {
    Failure { code: code.into(), ..Error::new(message).0 }
}
