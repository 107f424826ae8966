//! Why something cannot be planned, with what to do about it.

use meshrun_protocol::Chart;

use crate::{
    cluster::ClusterError, exit_code::ExitCode, helm::HelmError, ids::StepId, plugin::PluginError,
    spec::SpecError,
};

/// Why a step, or the whole pipeline, cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The pipeline is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A plugin cannot answer.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A chart cannot be rendered.
    #[error(transparent)]
    Helm(#[from] HelmError),
    /// The cluster cannot be read, or would refuse an object.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A plugin or a chart made an object that no cluster takes.
    #[error("{object} is invalid: {problems}")]
    InvalidObject {
        /// The object, and what made it.
        object: String,
        /// Every problem: path and what is wrong there.
        problems: String,
    },
    /// An object of an API that neither the cluster nor a chart of the pipeline has.
    #[error("{object}: the cluster does not have the API {api_version}, kind {kind}")]
    UnknownApi {
        /// The object.
        object: String,
        /// `networking.istio.io/v1`.
        api_version: String,
        /// `Gateway`.
        kind: String,
    },
    /// A helm may be at work on a release.
    #[error("helm release {release} has been {status} for {age}: a helm may be at work on it")]
    HelmAtWork {
        /// `namespace/name`.
        release: String,
        /// `pending-upgrade`.
        status: String,
        /// For how long.
        age: String,
    },
    /// Two steps make one object in two ways.
    #[error("{object} is made by step {other} as well, in another way")]
    PlannedTwice {
        /// The object.
        object: String,
        /// The other step.
        other: StepId,
    },
    /// A plugin made a plan that cannot be carried out.
    #[error("the plugin's plan is wrong: {0}")]
    WrongPlan(String),
}

impl PlanError {
    /// Says which chart the object comes from.
    #[must_use]
    pub(super) fn of_chart(mut self, chart: &Chart) -> Self {
        if let Self::InvalidObject { object, .. } | Self::UnknownApi { object, .. } = &mut self {
            object.push_str(&format!(" of chart {} {}", chart.name, chart.version));
        }
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spec(_) => None,
            Self::Plugin(error) => error.hint(),
            Self::Helm(error) => error.hint(),
            Self::Cluster(error) => error.hint().map(Into::into),
            Self::InvalidObject { .. } => {
                Some("correct what the step's `with:` says for it, such as its `values`".into())
            }
            Self::UnknownApi { .. } => Some(
                "let this step need the one that installs its CRD, or check `apiVersion` and `kind`".into(),
            ),
            Self::HelmAtWork { .. } => Some(format!(
                "let it end; what a killed helm left behind is taken over once it is older than {}",
                humantime::format_duration(super::release::HELM_TAKES)
            )),
            Self::PlannedTwice { .. } => Some(
                "let one of them make it: other names, another namespace, or `create_namespace: false`"
                    .into(),
            ),
            Self::WrongPlan(_) => Some("tell the plugin's author".into()),
        }
    }

    /// How meshrun ends when nothing has been done yet.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Helm(error) => error.exit_code(),
            Self::Cluster(error) if error.kind == crate::cluster::ErrorKind::Invalid => ExitCode::BadInput,
            Self::Cluster(_) => ExitCode::Cluster,
            Self::HelmAtWork { .. } => ExitCode::Locked,
            Self::Plugin(PluginError::Failed { failure, .. }) if failure.code == "service" => {
                ExitCode::Cluster
            }
            _ => ExitCode::BadInput,
        }
    }

    /// Whether another attempt may succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Cluster(error) => error.retryable(),
            Self::Plugin(PluginError::Failed { failure, .. }) => failure.retryable,
            Self::Plugin(error) => {
                matches!(error, PluginError::Crashed { .. } | PluginError::TimedOut { .. })
            }
            _ => false,
        }
    }
}
