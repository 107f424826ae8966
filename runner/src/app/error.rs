//! Why meshrun ended without having done what was asked: one message, one hint, one exit code.

use std::error::Error as StdError;

use crate::{
    cluster::{ClusterError, ErrorKind},
    exit_code::ExitCode,
    helm::HelmError,
    ids::StepId,
    lock::LockFileError,
    plan::PlanError,
    plugin::PluginError,
    report::ReportError,
    spec::{Pipeline, SpecError},
    state::lock::LockError,
};

/// An error as it is printed and as it ends the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppError {
    /// The chain of causes as one text.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Findings in the pipeline file, rendered with place and source line; they replace the message.
    pub findings: Option<String>,
    /// How the process ends.
    pub code: ExitCode,
}

impl AppError {
    pub(super) fn new(code: ExitCode, message: String) -> Self {
        Self { message, hint: None, findings: None, code }
    }

    pub(super) fn usage(message: String) -> Self {
        Self::new(ExitCode::Usage, message).hint("see `meshrun --help`")
    }

    pub(super) fn internal(message: String) -> Self {
        Self::new(ExitCode::Internal, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of a step, before anything has run; where the input is to blame, at its place in the file.
    pub(super) fn of_step(pipeline: &Pipeline, step: &StepId, error: PlanError) -> Self {
        let mut error = Self::from(error);
        error.message = format!("step `{step}`: {}", error.message);
        if let (ExitCode::BadInput, None, Some(step)) =
            (error.code, &error.findings, pipeline.step(step.as_str()))
        {
            let findings = vec![step.error_of_uses(error.message.clone(), error.hint.take())];
            error.findings = Some(SpecError { findings }.render());
        }
        error
    }
}

/// The texts of an error and its causes joined by `: `.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<SpecError> for AppError {
    fn from(error: SpecError) -> Self {
        let findings = Some(error.render());
        Self { findings, ..Self::new(ExitCode::BadInput, error.to_string()) }
    }
}

impl From<PlanError> for AppError {
    fn from(error: PlanError) -> Self {
        let (code, hint) = (error.exit_code(), error.hint());
        match error {
            PlanError::Spec(error) => error.into(),
            error => Self { hint, ..Self::new(code, chain(&error)) },
        }
    }
}

impl From<PluginError> for AppError {
    fn from(error: PluginError) -> Self {
        Self { hint: error.hint(), ..Self::new(ExitCode::BadInput, chain(&error)) }
    }
}

impl From<HelmError> for AppError {
    fn from(error: HelmError) -> Self {
        Self { hint: error.hint(), ..Self::new(error.exit_code(), chain(&error)) }
    }
}

impl From<ClusterError> for AppError {
    fn from(error: ClusterError) -> Self {
        let hint = error.hint().map(Into::into);
        // An object that the server refuses is the pipeline's fault; everything else is between us and the cluster.
        let code = if error.kind == ErrorKind::Invalid { ExitCode::BadInput } else { ExitCode::Cluster };
        Self { hint, ..Self::new(code, chain(&error)) }
    }
}

impl From<LockError> for AppError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Cluster(error) => error.into(),
            LockError::Held { ref holder, .. } => {
                let left = holder.expires_in;
                Self::new(ExitCode::Locked, error.to_string())
                    .hint(format!("wait for it with --wait-lock 5m; a holder that died loses it in {left} s"))
            }
        }
    }
}

impl From<LockFileError> for AppError {
    fn from(error: LockFileError) -> Self {
        Self { hint: error.hint().map(Into::into), ..Self::new(ExitCode::BadInput, chain(&error)) }
    }
}

impl From<ReportError> for AppError {
    fn from(error: ReportError) -> Self {
        Self::new(ExitCode::Internal, chain(&error))
    }
}
