//! Requests and limits of containers.

use std::{borrow::Cow, fmt};

use meshrun_sdk::{
    schemars::{JsonSchema, Schema, SchemaGenerator, json_schema},
    serde::{Deserialize, Deserializer, Serialize, de},
};

/// An amount as Kubernetes writes it: `100m`, `2`, `1Gi`. A number is taken too and becomes a string, because the
/// schema of Istio's gateway chart refuses numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(crate = "meshrun_sdk::serde", transparent)]
pub struct Quantity(String);

impl Quantity {
    /// The amount as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in its base unit (cores, bytes), or `None` where it is not an amount.
    pub fn value(&self) -> Option<f64> {
        let split = self.0.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(self.0.len());
        let (number, unit) = self.0.split_at(split);
        let factor = match unit {
            "" => 1.0,
            "m" => 1e-3,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "Ki" => 1024.0,
            "Mi" => 1024.0 * 1024.0,
            "Gi" => 1024.0 * 1024.0 * 1024.0,
            "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        number.parse::<f64>().ok().map(|number| number * factor)
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount such as `100m`, `2` or `1Gi`")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Quantity, E> {
                let quantity = Quantity(value.to_owned());
                match quantity.value() {
                    Some(_) => Ok(quantity),
                    None => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
                Ok(Quantity(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Quantity, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount as Kubernetes writes it: 100m, 2, 1Gi.",
            "type": ["string", "number"],
            "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
            "minimum": 0,
        })
    }
}

/// Amounts of one kind; what is not said is the chart's choice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Quantities {
    /// CPU: `100m`, `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory: `128Mi`, `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl Quantities {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Requests and limits of a container; what is not said is the chart's choice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Resources {
    /// What is reserved.
    #[serde(default, skip_serializing_if = "Quantities::is_empty")]
    pub requests: Quantities,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Quantities::is_empty")]
    pub limits: Quantities,
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{Value, json},
        serde_json::from_value,
    };

    use super::*;

    fn read(value: Value) -> Result<Resources, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_become_strings_and_what_is_not_said_stays_away() {
        let resources = read(json!({ "limits": { "cpu": 2, "memory": "1Gi" } })).expect("amounts");
        assert_eq!(json!(resources), json!({ "limits": { "cpu": "2", "memory": "1Gi" } }));
        let resources = read(json!({ "requests": { "cpu": 0.5 } })).expect("amounts");
        assert_eq!(json!(resources), json!({ "requests": { "cpu": "0.5" } }));
        assert_eq!(json!(Resources::default()), json!({}));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        assert_eq!(
            read(json!({ "requests": { "memory": "128MB" } })).expect_err("no unit of Kubernetes"),
            "invalid value: string \"128MB\", expected an amount such as `100m`, `2` or `1Gi`"
        );
    }

    #[test]
    fn amounts_compare_in_base_units() {
        assert_eq!(Quantity::from("100m").value(), Some(0.1));
        assert_eq!(Quantity::from("2Ki").value(), Some(2048.0));
        assert_eq!(Quantity::from("").value(), None);
    }
}
