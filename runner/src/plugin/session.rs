//! A conversation with one plugin: typed questions in, typed answers out.

use std::{sync::Arc, time::Duration};

use meshrun_protocol::{
    CheckRequest, CheckResponse, Description, LintRequest, LintResponse, PlanRequest, PlanResponse,
    TeardownRequest, TeardownResponse, UpgradeRequest, UpgradeResponse, method,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Doing, HostServices, Isolation, Limits, PluginError,
    artifact::Artifact,
    frame::{Frame, Kind},
    in_process,
    process::PluginProcess,
    services::NoServices,
};

/// Time for what needs no cluster: to be loaded and to describe itself.
const START: Duration = Duration::from_secs(10);

/// A conversation with one plugin. Its process starts with the first question, serves them all, and ends with this
/// value; after a crash, the next question starts another one.
#[derive(Debug)]
pub struct Session {
    artifact: Arc<Artifact>,
    isolation: Isolation,
    process: Option<PluginProcess>,
}

impl Session {
    pub(super) fn new(artifact: Arc<Artifact>, isolation: Isolation) -> Self {
        Self { artifact, isolation, process: None }
    }

    /// Asks whether a configuration is sensible; the cluster is out of its reach.
    ///
    /// # Errors
    /// When the plugin cannot be started, fails, crashes, or exceeds its limits.
    pub async fn lint(
        &mut self,
        request: &LintRequest,
        limits: &Limits,
    ) -> Result<LintResponse, PluginError> {
        self.ask(method::LINT, request, &NoServices, limits).await
    }

    /// Asks what should be there.
    ///
    /// # Errors
    /// As [`Session::lint`].
    pub async fn plan(
        &mut self,
        request: &PlanRequest,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<PlanResponse, PluginError> {
        self.ask(method::PLAN, request, services, limits).await
    }

    /// Asks whether the step is healthy.
    ///
    /// # Errors
    /// As [`Session::lint`].
    pub async fn check(
        &mut self,
        request: &CheckRequest,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<CheckResponse, PluginError> {
        self.ask(method::CHECK, request, services, limits).await
    }

    /// Asks what has to happen when the step is taken away.
    ///
    /// # Errors
    /// As [`Session::lint`].
    pub async fn teardown(
        &mut self,
        request: &TeardownRequest,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<TeardownResponse, PluginError> {
        self.ask(method::TEARDOWN, request, services, limits).await
    }

    /// Asks for the way from one version to another; the cluster is out of its reach.
    ///
    /// # Errors
    /// As [`Session::lint`]; also when the plugin does not offer it.
    pub async fn upgrade(
        &mut self,
        request: &UpgradeRequest,
        limits: &Limits,
    ) -> Result<UpgradeResponse, PluginError> {
        self.ask(method::UPGRADE, request, &NoServices, limits).await
    }

    pub(super) async fn describe(&mut self) -> Result<Description, PluginError> {
        let question = Frame::new(Kind::Describe, "", "");
        let answer = self.converse(Doing::Describing, question, &NoServices, &Limits::timeout(START)).await?;
        self.read(Doing::Describing, &answer)
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        method: &'static str,
        request: &Q,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<A, PluginError> {
        let doing = Doing::Answering(method);
        let message =
            serde_json::to_string(request).map_err(|error| self.unreadable(doing.clone(), &error))?;
        let answer =
            self.converse(doing.clone(), Frame::new(Kind::Call, method, message), services, limits).await?;
        self.read(doing, &answer)
    }

    async fn converse(
        &mut self,
        doing: Doing,
        question: Frame,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<String, PluginError> {
        if self.isolation == Isolation::InProcess {
            return in_process::ask(&self.artifact, doing, question, services, limits).await;
        }
        // Taken out, so that a caller who stops waiting leaves no half-read answer behind.
        let mut process = match self.process.take() {
            Some(process) => process,
            None => {
                let limits = Limits { timeout: START, cancel: limits.cancel.clone() };
                PluginProcess::spawn(self.artifact.clone(), &limits).await?
            }
        };
        let answer = process.ask(doing, question, services, limits).await;
        if matches!(answer, Ok(_) | Err(PluginError::Failed { .. })) {
            self.process = Some(process);
        }
        answer
    }

    fn read<A: DeserializeOwned>(&self, doing: Doing, answer: &str) -> Result<A, PluginError> {
        serde_json::from_str(answer).map_err(|error| self.unreadable(doing, &error))
    }

    fn unreadable(&self, doing: Doing, error: &serde_json::Error) -> PluginError {
        PluginError::Unreadable { plugin: self.artifact.label().to_owned(), doing, detail: error.to_string() }
    }
}
