//! What the objects of a running mesh mean: which pods are in the mesh, and which mutual TLS mode holds where.
//!
//! Objects as read from the cluster go in, answers and text come out; only [`list_served`] reads by itself.

pub mod mtls;
pub mod sidecar;

use meshrun_plugin_common::list;
use meshrun_sdk::prelude::{Cx, Result, Value};

/// API version of policies that every Istio version serves.
pub const SECURITY_BETA: &str = "security.istio.io/v1beta1";

/// API version of traffic rules that every Istio version serves.
pub const NETWORKING_BETA: &str = "networking.istio.io/v1beta1";

/// Returns objects of all namespaces in the first of these API versions that the cluster serves: before an upgrade
/// the one that the new version writes may be missing.
///
/// # Errors
/// When the cluster cannot be read.
pub fn list_served(cx: &Cx<'_>, api_versions: &[&str], kind: &str) -> Result<Vec<Value>> {
    for api_version in api_versions {
        if cx.serves(api_version, kind)? {
            return list(cx, api_version, kind, None, "");
        }
    }
    Ok(Vec::new())
}

/// Returns `metadata.namespace`, empty for cluster-scoped objects.
pub fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// Returns an array's items, none where the value is no array.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns `a, b and 4 more`: at most `limit` of a list that may be long.
pub fn some_of<T: AsRef<str>>(names: &[T], limit: usize) -> String {
    let shown: Vec<&str> = names.iter().take(limit).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(limit) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns `1 pod`, `2 pods`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_counted() {
        assert_eq!(some_of(&["a", "b", "c"], 3), "a, b, c");
        assert_eq!(some_of(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(some_of::<&str>(&[], 2), "");
        assert_eq!((count(1, "pod"), count(2, "pod")), ("1 pod".into(), "2 pods".into()));
    }
}
