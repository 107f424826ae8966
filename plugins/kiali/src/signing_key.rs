//! The key that signs Kiali's sessions: made once, kept in a Secret, never in the chart's values.
//!
//! The chart makes a new key at every render, which restarts Kiali at every run. The server reads the key from
//! `/kiali-override-secrets/login-token-signing-key/value.txt` instead, where a Secret is mounted there
//! (`config/config.go` of Kiali 1.74.0 and 2.29.0).

use base64::{Engine, engine::general_purpose::STANDARD};
use meshrun_plugin_common::{object, string_map};
use meshrun_sdk::prelude::{Cx, ObjectRef, Result, Value, json};

use crate::config::Config;

/// Name of the Secret.
pub(crate) const SECRET: &str = "kiali-signing-key";
/// The file name that the server looks for.
const KEY: &str = "value.txt";
/// Kiali takes 16, 24 or 32 characters.
const LENGTH: usize = 32;

/// How the chart's values name the key.
pub(crate) fn reference() -> String {
    format!("secret:{SECRET}:{KEY}")
}

/// The mount of the Secret, for charts that do not make it of the reference.
pub(crate) fn mount() -> Value {
    json!({ "name": SECRET, "mount": "/kiali-override-secrets/login-token-signing-key" })
}

/// The key that the raw values bring along, where they do.
pub(crate) fn given(config: &Config) -> Option<&str> {
    config.values.get("login_token").and_then(|token| token["signing_key"].as_str())
}

/// Returns the Secret: with the key the cluster has, else with a new one; `None` where the values bring one along.
///
/// # Errors
/// When the cluster cannot be read.
pub(crate) fn secret(config: &Config, cx: &Cx<'_>) -> Result<Option<Value>> {
    if given(config).is_some() {
        return Ok(None);
    }
    let reference = ObjectRef::namespaced("v1", "Secret", &config.namespace, SECRET);
    let existing = cx.get(&reference)?;
    let key = match existing.as_ref().and_then(|secret| secret["data"][KEY].as_str()) {
        Some(key) => key.to_owned(),
        None => STANDARD.encode(cx.random(LENGTH)?),
    };
    let secret = object("v1", "Secret", SECRET)
        .namespace(&config.namespace)
        .labels(&string_map([
            ("app.kubernetes.io/name", "kiali"),
            ("app.kubernetes.io/component", "signing-key"),
            ("app.kubernetes.io/managed-by", "meshrun"),
        ]))
        .field("type", json!("Opaque"))
        .field("data", json!({ KEY: key }));
    Ok(Some(secret.build()))
}
