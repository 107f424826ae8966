//! The JSON Schema of pipeline files: it accepts what loading accepts and refuses what loading refuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::validate::config_schema;
use crate::spec::{PluginSchema, load, schema, steps};

fn whole() -> Value {
    let config = config_schema();
    schema(&[PluginSchema { name: "kiali", summary: "Installs Kiali.", config: &config }])
}

/// The messages of an editor about a pipeline.
fn check(pipeline: &Value) -> Vec<String> {
    let validator = jsonschema::options().offline().build(&whole()).expect("the schema is a schema");
    validator.iter_errors(pipeline).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn knows_the_keys_that_loading_knows() {
    let schema = whole();
    let keys = |pointer: &str| -> BTreeSet<String> {
        let properties = schema.pointer(pointer).and_then(Value::as_object);
        properties.expect("properties").keys().cloned().collect()
    };
    let known = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(keys("/properties"), known(&load::KEYS));
    assert_eq!(keys("/properties/target/properties"), known(&load::TARGET_KEYS));
    assert_eq!(keys("/properties/state/properties"), known(&load::STATE_KEYS));
    assert_eq!(keys("/properties/plugins/additionalProperties/properties"), known(&load::PLUGIN_KEYS));
    assert_eq!(keys("/properties/steps/items/properties"), known(&steps::KEYS));
    assert_eq!(keys("/properties/steps/items/properties/retry/properties"), known(&steps::RETRY_KEYS));
}

#[test]
fn accepts_expressions_in_place_of_values() {
    let with = json!({
        "version": "${{ vars.v }}", "replicas": "${{ vars.n }}", "strict": "${{ vars.s }}", "ports": "${{ vars.p }}",
        "kind": "${{ vars.k }}", "resources": { "cpu": "1" }, "route": "${{ vars.r }}",
    });
    let pipeline = json!({
        "name": "prod", "vars": { "v": 1 }, "x-anchors": {},
        "steps": [
            { "id": "a", "uses": "kiali", "with": with, "if": true, "timeout": "1h30m", "retry": { "attempts": 2 } },
            { "id": "b", "uses": "somebody-elses", "with": { "anything": 1 }, "needs": "a" },
        ],
    });
    assert_eq!(check(&pipeline), [] as [&str; 0]);
    assert_eq!(check(&json!({ "include": "base.yaml", "steps": [{ "id": "a" }] })), [] as [&str; 0]);
}

#[test]
fn refuses_what_is_wrong() {
    let refused = |pipeline: Value| !check(&pipeline).is_empty();
    let step = |with: Value| json!({ "steps": [{ "id": "a", "uses": "kiali", "with": with }] });
    assert!(!refused(step(json!({ "version": "1" }))));
    assert!(refused(step(json!({ "version": "1", "replicas": "two" }))));
    assert!(refused(step(json!({ "version": "1", "ports": ["x"] }))));
    assert!(refused(step(json!({ "version": "1", "kind": "x" }))));
    assert!(refused(step(json!({ "version": "1", "unknown": 1 }))));
    assert!(refused(step(json!({ "version": "1", "resources": { "cpus": 1 } }))));
    assert!(refused(json!({ "steps": [{ "id": "a" }] })));
    assert!(refused(json!({})));
    assert!(refused(json!({ "steps": [], "stepz": [] })));
}
