//! Helm values: typed ones below, raw ones on top.

use meshrun_sdk::{prelude::Value, serde_json::Map};

/// Merges `overlay` over `base`: objects key by key, everything else (lists too) as a whole; `null` takes a key out,
/// so that the chart's default counts again.
pub fn merge(base: &mut Value, overlay: &Value) {
    let Value::Object(overlay) = overlay else {
        *base = overlay.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Value::Object(base) = base else { return };
    for (key, value) in overlay {
        match value {
            Value::Null => {
                base.shift_remove(key);
            }
            Value::Object(_) => merge(base.entry(key.as_str()).or_insert(Value::Null), value),
            other => {
                base.insert(key.clone(), other.clone());
            }
        }
    }
}

/// Returns typed values with the raw ones of `with.values` over them.
#[must_use]
pub fn with_raw(mut typed: Value, raw: &Map<String, Value>) -> Value {
    merge(&mut typed, &Value::Object(raw.clone()));
    typed
}

/// Takes out nulls, and objects that are or become empty: what is not said is the chart's choice.
pub fn prune(values: &mut Value) {
    if let Value::Object(entries) = values {
        entries.values_mut().for_each(prune);
        entries
            .retain(|_, value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty()));
    }
}

/// Sets the value at a path, making the objects on the way.
pub fn set(values: &mut Value, path: &[&str], value: impl Into<Value>) {
    let nested = path
        .iter()
        .rev()
        .fold(value.into(), |inner, key| Value::Object(Map::from_iter([((*key).to_owned(), inner)])));
    merge(values, &nested);
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::prelude::json;

    use super::*;

    #[test]
    fn raw_values_go_over_typed_ones_and_null_takes_out() {
        let mut values = json!({ "a": { "b": 1, "c": [1, 2] }, "d": true, "e": { "f": 1 } });
        merge(&mut values, &json!({ "a": { "c": [3], "n": { "x": null, "y": 1 } }, "d": null, "e": 2 }));
        assert_eq!(values, json!({ "a": { "b": 1, "c": [3], "n": { "y": 1 } }, "e": 2 }));
    }

    #[test]
    fn object_replaces_a_plain_value() {
        let mut values = json!({ "a": 1 });
        merge(&mut values, &json!({ "a": { "b": 1 } }));
        assert_eq!(values, json!({ "a": { "b": 1 } }));
    }

    #[test]
    fn prune_leaves_only_what_is_said() {
        let mut values =
            json!({ "a": null, "b": { "c": {}, "d": { "e": null } }, "f": [], "g": "", "h": false });
        prune(&mut values);
        assert_eq!(values, json!({ "f": [], "g": "", "h": false }));
    }

    #[test]
    fn set_makes_the_objects_on_the_way() {
        let mut values = json!({ "pilot": { "env": { "A": "1" } } });
        set(&mut values, &["pilot", "env", "B"], "2");
        set(&mut values, &["global", "network"], "one");
        assert_eq!(
            values,
            json!({ "pilot": { "env": { "A": "1", "B": "2" } }, "global": { "network": "one" } })
        );
    }
}
