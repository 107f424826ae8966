//! Health checks: what was seen, not what is hoped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Evidence says it is right.
    Passed,
    /// There was no evidence, or nothing to judge.
    Skipped,
    /// Evidence says it works but should be looked at.
    Warning,
    /// Evidence says it is wrong.
    Failed,
}

/// One check and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Stable name: `istiod-version`.
    pub id: String,
    /// What is checked, as a statement that should be true: `istiod runs 1.19.3`.
    pub title: String,
    /// The result.
    pub status: CheckStatus,
    /// What was seen; required for every status but `Skipped`, where it says why.
    pub evidence: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check that evidence confirms.
    pub fn passed(id: impl Into<String>, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(CheckStatus::Passed, id, title, evidence)
    }

    /// A check that could not be judged, and why.
    pub fn skipped(id: impl Into<String>, title: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(CheckStatus::Skipped, id, title, why)
    }

    /// A check that evidence puts in doubt.
    pub fn warning(id: impl Into<String>, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(CheckStatus::Warning, id, title, evidence)
    }

    /// A check that evidence refutes.
    pub fn failed(id: impl Into<String>, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(CheckStatus::Failed, id, title, evidence)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn new(
        status: CheckStatus,
        id: impl Into<String>,
        title: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), title: title.into(), status, evidence: evidence.into(), hint: None }
    }
}
