//! Kiali versions, and what changed between them.

use std::{borrow::Cow, fmt};

use meshrun_sdk::{
    schemars::{JsonSchema, Schema, SchemaGenerator, json_schema},
    serde::{Deserialize, Deserializer, de},
};

/// An exact Kiali version: `2.29.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KialiVersion {
    text: String,
    major: u32,
    minor: u32,
}

impl KialiVersion {
    /// The version as the chart repository writes it: `1.74.0`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is this minor or a later one.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// Whether the server speaks to Tempo and not to Jaeger alone.
    pub(crate) fn knows_tempo(&self) -> bool {
        self.at_least(1, 75)
    }

    /// Whether URLs are called `internal_url` and `external_url`, and Istio's components are found by the server itself.
    pub(crate) fn second_generation(&self) -> bool {
        self.at_least(2, 0)
    }

    /// Whether the chart mounts a Secret that a value refers to as `secret:NAME:KEY`.
    pub(crate) fn mounts_secret_references(&self) -> bool {
        self.at_least(2, 21)
    }
}

impl fmt::Display for KialiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for KialiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not an exact Kiali version such as `2.29.0`");
        let parts: Vec<u32> =
            text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| unknown())?;
        match parts[..] {
            [major, minor, _patch] => Ok(Self { text: text.to_owned(), major, minor }),
            _ => Err(unknown()),
        }
    }
}

impl<'de> Deserialize<'de> for KialiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for KialiVersion {
    fn schema_name() -> Cow<'static, str> {
        "KialiVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact Kiali version: 2.29.0.",
            "type": "string",
            "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_follow_the_version() {
        let version = |text: &str| text.parse::<KialiVersion>().expect("a version");
        assert!(!version("1.74.0").knows_tempo() && version("1.75.0").knows_tempo());
        assert!(!version("1.89.8").second_generation() && version("2.0.0").second_generation());
        assert!(
            !version("2.20.0").mounts_secret_references() && version("2.21.0").mounts_secret_references()
        );
    }

    #[test]
    fn refuses_what_is_no_exact_version() {
        for text in ["v1.74.0", "2.29", "latest"] {
            assert_eq!(
                text.parse::<KialiVersion>(),
                Err(format!("`{text}` is not an exact Kiali version such as `2.29.0`"))
            );
        }
    }
}
