//! Conditions over an object that a plugin writes as an expression.

use serde_json::Value;

/// Whether a CEL expression over `object` is true.
///
/// # Errors
/// What is wrong with the expression, or that it gives no boolean. A field that the object does not have yet is `false`.
pub fn holds(cel: &str, object: &Value) -> Result<bool, String> {
    crate::spec::expression_holds(cel, object)
}
