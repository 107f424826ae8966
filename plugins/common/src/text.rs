//! Text that YAML may have read as a bool or a number: labels, annotations, environment variables.
//!
//! Kubernetes takes strings only there; `enabled: true` in a pipeline file must become `"true"` in the cluster.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use meshrun_sdk::{
    prelude::Value,
    schemars::{JsonSchema, Schema, SchemaGenerator, json_schema},
    serde::{Deserialize, Deserializer, Serialize, de},
};

/// Labels, annotations or environment variables, by key.
pub type StringMap = BTreeMap<String, Text>;

/// A string. Bools and whole numbers are taken as they are written; a decimal number must stand in quotes, because
/// `1.10` has become `1.1` before anybody can ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(crate = "meshrun_sdk::serde", transparent)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text (a decimal number stands in quotes, so that no digit is lost)")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean", "integer"] })
    }
}

/// Makes a [`StringMap`] of pairs.
pub fn string_map<const N: usize>(pairs: [(&str, &str); N]) -> StringMap {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), Text::from(value))).collect()
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text.0)
    }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::prelude::json;

    use super::*;

    fn read(value: Value) -> Result<StringMap, String> {
        meshrun_sdk::serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn bools_and_whole_numbers_become_strings() {
        let map = read(json!({ "a": true, "b": 2, "c": -1, "d": "nlb" })).expect("all of it is text");
        assert_eq!(map, string_map([("a", "true"), ("b", "2"), ("c", "-1"), ("d", "nlb")]));
    }

    #[test]
    fn decimal_number_is_refused_because_digits_may_be_lost() {
        assert_eq!(
            read(json!({ "version": 1.1 })).expect_err("a decimal number"),
            "invalid type: floating point `1.1`, expected text (a decimal number stands in quotes, so that no digit \
             is lost)"
        );
    }
}
