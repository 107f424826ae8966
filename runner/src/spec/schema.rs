//! The JSON Schema of pipeline files, with every plugin's configuration in it, for editors.

use serde_json::{Map, Value, json};

use super::{load, pipeline::Isolation, steps};

/// What the schema says about a plugin.
#[derive(Debug, Clone)]
pub struct PluginSchema<'p> {
    /// What `uses:` says.
    pub name: &'p str,
    /// One sentence about it.
    pub summary: &'p str,
    /// JSON Schema of its `with:`.
    pub config: &'p Value,
}

/// Returns the JSON Schema (draft 2020-12) of pipeline files. Expressions are allowed wherever a value is.
pub fn schema(plugins: &[PluginSchema<'_>]) -> Value {
    let mut definitions = Map::new();
    definitions.insert(
        "expression".into(),
        json!({ "type": "string", "pattern": "\\$\\{\\{", "description": "An expression: `${{ vars.NAME }}`." }),
    );
    definitions.insert("duration".into(), json!({ "type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$" }));
    for plugin in plugins {
        definitions.insert(format!("with-{}", plugin.name), embed(plugin));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meshrun pipeline",
        "type": "object",
        "properties": top(step(plugins)),
        "patternProperties": { "^x-": { "description": "Anything, for anchors." } },
        "additionalProperties": false,
        // A file that includes others is an overlay: its steps may leave out what they do not change.
        "if": { "not": { "required": ["include"] } },
        "then": {
            "required": ["steps"],
            "properties": { "steps": { "items": { "required": ["uses"] } } },
        },
        "$defs": definitions,
    })
}

fn top(step: Value) -> Value {
    let list = |what: &str| json!({ "type": "array", "items": { "type": "object" }, "description": what });
    json!({
        "name": { "type": "string", "description": "Name of the pipeline: a DNS label, unique in the cluster. Default: the file's name." },
        "include": {
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "description": "Files that this one is laid over, in order."
        },
        "target": {
            "type": "object",
            "description": "The cluster this is meant for; a run against another one is refused.",
            "properties": {
                "context": { "type": "string", "description": "The kubeconfig context." },
                "server": { "type": "string", "description": "The address of the API server." }
            },
            "minProperties": 1,
            "additionalProperties": false
        },
        "vars": { "type": "object", "description": "Values for `${{ vars.NAME }}`; `--var NAME=VALUE` changes them." },
        "matrix": {
            "type": "object",
            "description": "Lists of values; a run takes one combination of them (`--matrix NAME=VALUE`).",
            "properties": {
                "include": list("Combinations to add, or values to add to combinations."),
                "exclude": list("Combinations to leave out.")
            },
            "additionalProperties": { "type": "array", "minItems": 1 }
        },
        "plugins": {
            "type": "object",
            "description": "Plugins that are not found by their name alone.",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "path": { "type": "string", "description": "The shared library, relative to this file." },
                    "sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Digest that the library must have." }
                },
                "required": ["path"],
                "additionalProperties": false
            }
        },
        "charts": { "type": "string", "description": "Directory of vendored charts, relative to this file." },
        "state": {
            "type": "object",
            "description": "Where lock and inventory are kept.",
            "properties": { "namespace": { "type": "string", "default": "default" } },
            "additionalProperties": false
        },
        "concurrency": { "type": "integer", "minimum": 1, "maximum": load::MAX_CONCURRENCY, "default": 8, "description": "Steps that may run at the same time." },
        "steps": { "type": "array", "items": step, "description": "What to roll out." }
    })
}

fn step(plugins: &[PluginSchema<'_>]) -> Value {
    let names = plugins.iter().map(|plugin| json!({ "const": plugin.name, "description": plugin.summary }));
    let mut uses: Vec<_> = names.collect();
    uses.push(json!({ "type": "string" }));
    let configs: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            json!({
                "if": { "properties": { "uses": { "const": plugin.name } }, "required": ["uses"] },
                "then": { "properties": { "with": { "$ref": format!("#/$defs/with-{}", plugin.name) } } },
            })
        })
        .collect();
    let isolation: Vec<_> = Isolation::NAMES.iter().map(|(name, _)| name).collect();
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "description": "Unique name of the step." },
            "name": { "type": "string", "description": "What people call it." },
            "uses": { "anyOf": uses, "description": "The plugin." },
            "needs": {
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                "description": "Steps that must be done first."
            },
            "if": {
                "anyOf": [{ "type": "string" }, { "type": "boolean" }],
                "description": "Whether to run: an expression; `success()` where nothing is said."
            },
            "with": { "type": "object", "description": "The plugin's configuration." },
            "timeout": { "$ref": "#/$defs/duration", "default": "10m", "description": "Time limit of the whole step." },
            "retry": {
                "type": "object",
                "description": "What happens after a failure that may pass.",
                "properties": {
                    "attempts": { "type": "integer", "minimum": 1, "maximum": steps::MAX_ATTEMPTS, "default": 1, "description": "How often it is tried in all." },
                    "backoff": { "$ref": "#/$defs/duration", "default": "5s", "description": "Time before the second attempt; it doubles from then on." },
                    "max-backoff": { "$ref": "#/$defs/duration", "default": "1m", "description": "The longest time between two attempts." }
                },
                "additionalProperties": false
            },
            "continue-on-error": { "type": "boolean", "default": false, "description": "Go on after this step failed." },
            "isolation": { "enum": isolation, "default": "process", "description": "Where the plugin runs; `in-process` is for debugging." }
        },
        "required": ["id"],
        "additionalProperties": false,
        "allOf": configs
    })
}

/// A plugin's schema as a definition: references lead into it, expressions are allowed in it.
fn embed(plugin: &PluginSchema<'_>) -> Value {
    let mut config = plugin.config.clone();
    if let Value::Object(root) = &mut config {
        root.remove("$schema");
        root.remove("$id");
    }
    allow_expressions_inside(&mut config);
    redirect(&mut config, &format!("#/$defs/with-{}", plugin.name));
    config
}

fn redirect(schema: &mut Value, root: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference)
                        if key == "$ref" && reference.starts_with('#') && reference != EXPRESSION =>
                    {
                        *reference = format!("{root}{}", &reference[1..]);
                    }
                    value => redirect(value, root),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, root)),
        _ => {}
    }
}

const EXPRESSION: &str = "#/$defs/expression";

/// Keywords that people see in an editor: they stay outside when a schema is wrapped.
const ANNOTATIONS: [&str; 6] =
    ["title", "description", "default", "examples", "deprecated", "markdownDescription"];

/// Allows an expression in place of every value inside of a schema.
fn allow_expressions_inside(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for (keyword, value) in map {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(properties)) => {
                properties.values_mut().for_each(allow_expression);
            }
            ("additionalProperties" | "unevaluatedProperties" | "items" | "contains", value) => {
                allow_expression(value)
            }
            ("prefixItems", Value::Array(items)) => items.iter_mut().for_each(allow_expression),
            ("anyOf" | "oneOf" | "allOf", Value::Array(forms)) => {
                forms.iter_mut().for_each(allow_expressions_inside);
            }
            ("$defs" | "definitions", Value::Object(definitions)) => {
                definitions.values_mut().for_each(allow_expressions_inside);
            }
            ("if" | "then" | "else", value) => allow_expressions_inside(value),
            _ => {}
        }
    }
}

fn allow_expression(schema: &mut Value) {
    allow_expressions_inside(schema);
    let Value::Object(map) = schema else { return };
    // A tag of an enum must stay a constant: editors choose the form by it.
    let any_text = map.get("type").is_some_and(|one| {
        one == "string" || one.as_array().is_some_and(|all| all.contains(&json!("string")))
    }) && !["enum", "pattern", "format", "minLength", "maxLength"]
        .iter()
        .any(|keyword| map.contains_key(*keyword));
    if map.is_empty() || any_text || map.contains_key("const") {
        return;
    }
    let mut outside = Map::new();
    for keyword in ANNOTATIONS {
        if let Some(value) = map.remove(keyword) {
            outside.insert(keyword.into(), value);
        }
    }
    let inside = std::mem::take(map);
    outside.insert("anyOf".into(), json!([inside, { "$ref": EXPRESSION }]));
    *map = outside;
}
