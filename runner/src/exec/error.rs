//! Why an action or a step failed, with what to do about it.

use crate::{cluster::ClusterError, event::Problem};

use super::wait::WaitError;

/// Why an action or a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A wait ended without being done.
    #[error("{what} after {after}: {reason}")]
    NotReady {
        /// `not ready` or what else was waited for.
        what: String,
        /// How long was waited: `2m 30s`.
        after: String,
        /// What was still missing.
        reason: String,
    },
    /// A condition that can never hold.
    #[error("{0}")]
    Never(String),
    /// The step could not be planned.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// Checks of the step failed.
    #[error("{failed} of {all} checks failed: {first}")]
    Checks {
        /// How many failed.
        failed: usize,
        /// How many were made.
        all: usize,
        /// Title and evidence of the first that failed.
        first: String,
        /// What to do about the first.
        hint: Option<String>,
    },
    /// An object can only be changed by deleting it first, and nobody said yes to that.
    #[error("{doing}: {message}")]
    NeedsReplacement {
        /// `apply Service istio-system/istio-gateway`.
        doing: String,
        /// What the server said.
        message: String,
    },
    /// An object would be deleted that the plan did not show.
    #[error("{object} would have to go, which was not in the plan when it was asked for")]
    NotAgreed {
        /// `PodDisruptionBudget istio-system/istiod`.
        object: String,
    },
    /// The run was stopped.
    #[error("stopped")]
    Cancelled,
}

impl StepError {
    /// Turns the end of a wait into an error that says how long was waited.
    pub fn from_wait(error: WaitError, what: &str, waited: std::time::Duration) -> Self {
        match error {
            WaitError::TimedOut { reason } => {
                let after =
                    humantime::format_duration(std::time::Duration::from_secs(waited.as_secs())).to_string();
                Self::NotReady { what: what.into(), after, reason }
            }
            WaitError::Never { reason } => Self::Never(reason),
            WaitError::Cluster(error) => Self::Cluster(error),
            WaitError::Cancelled => Self::Cancelled,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint().map(Into::into),
            Self::Plan(error) => error.hint(),
            Self::Checks { hint, .. } => hint.clone(),
            Self::NotReady { reason, .. } => Some(advice(reason).into()),
            Self::NeedsReplacement { .. } => Some(
                "an immutable field changes: run with --yes to let meshrun delete and create it anew".into(),
            ),
            Self::NotAgreed { .. } => {
                Some("run again: it is in the plan now, and asked for; or run with --yes".into())
            }
            Self::Never(_) | Self::Cancelled => None,
        }
    }

    /// Whether another attempt of the step may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Cluster(error) => error.retryable(),
            Self::NotReady { .. } | Self::Checks { .. } => true,
            Self::Plan(error) => error.retryable(),
            Self::Never(_) | Self::NeedsReplacement { .. } | Self::NotAgreed { .. } | Self::Cancelled => {
                false
            }
        }
    }

    /// The error as reporters show it.
    pub fn problem(&self) -> Problem {
        Problem { message: chain(self), hint: self.hint() }
    }
}

/// What to do about something that did not become ready, by what stands in its way.
fn advice(reason: &str) -> &'static str {
    const ADVICE: [(&[&str], &str); 5] = [
        (
            &["ImagePull", "InvalidImageName"],
            "check the image's name and tag, and that the nodes reach its registry",
        ),
        (&["CrashLoopBackOff", "Error"], "read why it ended: `kubectl logs POD -n NAMESPACE --previous`"),
        (&["cannot be scheduled"], "add nodes, or lower the resources that the pods request"),
        (
            &["cannot create pods"],
            "look at what refuses the pods: a webhook, a quota, a missing ServiceAccount",
        ),
        (
            &["load balancer address"],
            "see the Service's events (`kubectl describe service`): nothing gives it an address",
        ),
    ];
    ADVICE
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| reason.contains(sign)))
        .map_or("raise the step's `timeout:` if it only needs longer", |(_, advice)| advice)
}

/// The texts of an error and its causes joined by `: `, without a cause that the text before it already says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
