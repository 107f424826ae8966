//! Conditions over a Kubernetes object: the same language, with `object` as its only name.

use serde_json::Value;

use super::expr;

/// Whether an expression over `object` is true; `false` while the object lacks a field that it reads.
///
/// # Errors
/// What is wrong with the expression, or that it gives no boolean.
pub fn expression_holds(source: &str, object: &Value) -> Result<bool, String> {
    let expression = expr::parse(source).map_err(|error| error.message)?;
    if let Some(other) = expression.references.iter().find(|reference| reference.path[0] != "object") {
        return Err(format!("there is no `{}`, only `object`", other.path[0]));
    }
    match expression.evaluate([("object", object.clone())], None) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("it is {other}, not true or false")),
        Err(message) if message.starts_with(expr::MISSING) => Ok(false),
        Err(message) => Err(message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn judges_fields_and_waits_for_those_that_are_missing() {
        let pod = json!({ "status": { "phase": "Running" } });
        assert_eq!(expression_holds("object.status.phase == 'Running'", &pod), Ok(true));
        assert_eq!(expression_holds("object.status.phase == 'Failed'", &pod), Ok(false));
        assert_eq!(expression_holds("object.status.ready == true", &pod), Ok(false));
        assert!(expression_holds("object.status.phase", &pod).is_err());
        assert!(expression_holds("object.status ==", &pod).is_err());
    }
}
