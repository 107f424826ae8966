//! The trait an author implements, and its error.

use std::fmt;

use meshrun_protocol::{Check, Diagnostic, Failure, TeardownResponse, UpgradeRequest, UpgradeResponse};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Cx, Plan};

/// One kind of pipeline step. Nothing is kept between calls: every question comes with the whole configuration.
pub trait Step: 'static {
    /// What `uses:` says: lower case, words joined by `-`.
    const NAME: &'static str;
    /// One sentence, third person.
    const SUMMARY: &'static str;
    /// Capabilities it brings, such as `mesh.dashboard`.
    const PROVIDES: &'static [&'static str] = &[];
    /// Capabilities that another step of the pipeline must bring.
    const REQUIRES: &'static [&'static str] = &[];
    /// Outputs: name and one sentence. A plan gives no others.
    const OUTPUTS: &'static [(&'static str, &'static str)] = &[];

    /// Says how to get from one version to another, for steps whose versions cannot be skipped; `None` offers nothing.
    const UPGRADE_PATH: Option<UpgradePath> = None;

    /// What `with:` may say. Put `#[serde(deny_unknown_fields)]` on it: a typo must be an error.
    type Config: DeserializeOwned + JsonSchema;

    /// Says what is wrong, doubtful or worth knowing about a configuration, without a cluster.
    fn lint(config: &Self::Config) -> Vec<Diagnostic> {
        let _ = config;
        Vec::new()
    }

    /// Says what should be there. Called more than once: it must give the same answer for the same cluster.
    ///
    /// # Errors
    /// When it cannot be said: the cluster could not be read, or holds something the step cannot work with.
    fn plan(config: &Self::Config, cx: &Cx<'_>) -> Result<Plan>;

    /// Says what has to happen when the step is taken away, besides the removal of what it made, which is meshrun's
    /// business.
    ///
    /// # Errors
    /// When the cluster could not be read.
    fn teardown(config: &Self::Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
        let _ = (config, cx);
        Ok(TeardownResponse::default())
    }

    /// Says whether the step is healthy, with evidence. A check without evidence is `skipped`, not `passed`.
    ///
    /// # Errors
    /// When the cluster could not be read at all; what can be judged belongs into a failed check instead.
    fn check(config: &Self::Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        let _ = (config, cx);
        Ok(Vec::new())
    }
}

/// Answers [`Step::UPGRADE_PATH`]: the versions to install one after another. What forbids the way is a diagnostic.
pub type UpgradePath = fn(&UpgradeRequest) -> Result<UpgradeResponse>;

/// Result of a plugin's method.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a plugin cannot answer: a message, perhaps a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub(crate) Failure);

impl Error {
    /// An error of the plugin: a lower-case fragment without a period.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Failure {
            code: "plugin".into(),
            message: message.into(),
            path: None,
            hint: None,
            retryable: false,
        })
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says that trying again later may help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Names the configuration value at fault, as a JSON pointer into `with:`.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
