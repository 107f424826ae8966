//! A plugin's configuration as people read it: its JSON Schema as an indented list of keys.

use serde_json::Value;

/// Levels of nested keys that are shown; `plugins inspect --json` has the rest.
const DEPTH: usize = 2;

/// Lists the keys of a schema: name, type, default, and the first sentence about it.
pub fn outline(schema: &Value) -> String {
    let mut text = String::new();
    keys(schema, schema, 0, &mut text);
    text
}

fn keys(root: &Value, schema: &Value, level: usize, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    for (name, property) in properties {
        let target = resolve(root, property);
        let mut line = format!("{}{name}: {}", "  ".repeat(level + 1), type_of(root, target));
        if required(name) {
            line.push_str(", required");
        }
        match &property["default"] {
            Value::Null | Value::Object(_) => {}
            Value::Array(items) if items.is_empty() => {}
            default => line.push_str(&format!(", default {default}")),
        }
        let about = [property, target].iter().find_map(|schema| schema["description"].as_str());
        if let Some(about) = about {
            line.push_str(&format!("  # {}", first_sentence(about)));
        }
        text.push_str(&line);
        text.push('\n');
        if level + 1 < DEPTH {
            keys(root, target, level + 1, text);
        }
    }
}

/// Follows `$ref`, and takes the one alternative that is not `null`.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
        return root.pointer(pointer).map_or(schema, |target| resolve(root, target));
    }
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, null] | [null, one]) if null["type"] == "null" => resolve(root, one),
        _ => schema,
    }
}

fn type_of(root: &Value, schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(text).collect::<Vec<_>>().join("|");
    }
    if let Some(choices) = schema["oneOf"].as_array()
        && choices.iter().all(|choice| choice.get("const").is_some())
    {
        return choices.iter().map(|choice| text(&choice["const"])).collect::<Vec<_>>().join("|");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter(|name| *name != "null").map(text).collect::<Vec<_>>().join("|")
        }
        _ => "any".into(),
    };
    match name.as_str() {
        "array" if schema["items"].is_object() => {
            format!("list of {}", type_of(root, resolve(root, &schema["items"])))
        }
        _ => name,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or(text).replace('\n', " ");
    line.split_once(". ").map_or(line.trim_end_matches('.').to_owned(), |(first, _)| first.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_keys_with_type_default_and_first_sentence() {
        let schema = json!({
            "properties": {
                "version": { "type": "string", "description": "The version. Exact." },
                "mtls": { "$ref": "#/$defs/Mtls" },
                "names": { "type": ["array", "null"], "items": { "type": "string" }, "default": [] },
            },
            "required": ["version"],
            "$defs": { "Mtls": { "type": "object", "description": "Mutual TLS.", "properties": {
                "gate": { "type": "boolean", "default": true },
                "mode": { "enum": ["PERMISSIVE", "STRICT"] },
            } } },
        });
        assert_eq!(
            outline(&schema),
            "  version: string, required  # The version\n  mtls: object  # Mutual TLS\n    gate: boolean, default \
             true\n    mode: PERMISSIVE|STRICT\n  names: list of string\n"
        );
    }
}
