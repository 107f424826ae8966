//! Names that travel through the whole program.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

/// The id of a step, unique in its pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Wraps a name that [`StepId::is_valid`] accepts.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Whether a name can be a step's id: a lower-case letter, then lower-case letters, digits, `-` and `_`.
    pub fn is_valid(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` and not `write_str`: reporters align ids in columns.
        f.pad(&self.0)
    }
}

impl Borrow<str> for StepId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
