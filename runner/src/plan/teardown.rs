//! What plugins say of the removal of their steps: asked before, and once more after it.

use meshrun_protocol::{
    Action, ActionKind, Diagnostic, Leftover, ObjectRef, Output, TeardownRequest, TeardownResponse,
};
use serde_json::{Map, Value};

use super::{PlanError, Planner, ReadOnly, destroy::StepRemoval};
use crate::{
    ids::StepId,
    plugin::Limits,
    spec::{self, Scope, Step},
};

impl Planner {
    /// What to ask a step's plugin about its removal, or why it cannot be asked.
    pub(super) fn teardown_request(&self, id: &StepId, scope: &Scope) -> Result<TeardownRequest, String> {
        let step = self.pipeline.step(id.as_str()).ok_or("the step is not in the pipeline any more")?;
        let evaluated = spec::evaluate(step, scope).map_err(|error| error.to_string())?;
        if let Some(other) = evaluated.unknown.first() {
            return Err(format!("its configuration needs outputs of step {other}, which cannot be had now"));
        }
        let (step, cluster) = (id.as_str().to_owned(), self.cluster.info());
        Ok(TeardownRequest { step, config: evaluated.with, cluster })
    }

    /// Asks a step's plugin what its removal takes, once these objects are gone.
    pub(super) async fn teardown(
        &self,
        request: &TeardownRequest,
        gone: Vec<ObjectRef>,
    ) -> Result<TeardownResponse, String> {
        let step = self.pipeline.step(&request.step).ok_or("the step is not in the pipeline any more")?;
        let services = ReadOnly::new(self.cluster.clone(), step.id.clone()).without(gone);
        let answer = self.session(step).teardown(request, &services, &Limits::default()).await;
        answer.map_err(|error| error.to_string())
    }

    /// Asks the plugins of removed steps once more: what they would still do has not been done.
    pub async fn left_behind(&self, steps: &[StepRemoval]) -> Vec<Leftover> {
        let mut left = Vec::new();
        for request in steps.iter().filter_map(|step| step.request.as_ref()) {
            match self.teardown(request, Vec::new()).await {
                Ok(teardown) => {
                    left.extend(teardown.leftovers);
                    left.extend(teardown.before.into_iter().flat_map(undone));
                }
                // The look at the whole cluster that follows sees most of it by its marks.
                Err(error) => {
                    tracing::warn!(step = request.step, "what it left behind is not known: {error}")
                }
            }
        }
        left
    }

    /// The outputs of a step as far as its plugin and the cluster say them now; none where it cannot be asked.
    pub(super) async fn outputs_now(&self, step: &Step, scope: &Scope) -> Map<String, Value> {
        match self.ask_outputs(step, scope).await {
            Ok(outputs) => outputs,
            Err(error) => {
                tracing::debug!(%error, step = %step.id, "no outputs");
                Map::new()
            }
        }
    }

    async fn ask_outputs(&self, step: &Step, scope: &Scope) -> Result<Map<String, Value>, PlanError> {
        let evaluated = spec::evaluate(step, scope)?;
        if !evaluated.unknown.is_empty() {
            return Ok(Map::new());
        }
        let (response, _) = self.ask(step, evaluated.with, scope).await?;
        let outputs: Vec<(String, Output)> = response.outputs.into_iter().collect();
        self.known_outputs(&outputs).await
    }
}

/// The answer of a plugin that cannot be asked.
pub(super) fn silent(why: &str) -> TeardownResponse {
    let finding = Diagnostic::warning("", format!("its plugin was not asked what it leaves behind: {why}"))
        .with_hint("the residue report shows what is left");
    TeardownResponse { diagnostics: vec![finding], ..TeardownResponse::default() }
}

/// What an action of a teardown was for and did not reach.
fn undone(action: Action) -> Vec<Leftover> {
    match action.kind {
        ActionKind::Restart(restart) => restart
            .workloads
            .into_iter()
            .map(|workload| {
                let kind = workload.kind.to_lowercase();
                let namespace = workload.namespace.as_deref().unwrap_or("default");
                let hint = format!("kubectl rollout restart {kind} {} -n {namespace}", workload.name);
                let owner = format!("others; {}", restart.reason);
                Leftover { objects: vec![workload], owner, delete: false, hint: Some(hint) }
            })
            .collect(),
        ActionKind::Label(label) => {
            let removed: String = label.labels.keys().map(|key| format!(" {key}-")).collect();
            let hint =
                format!("kubectl label {} {}{removed}", label.object.kind.to_lowercase(), label.object.name);
            let owner = "others; its labels still ask for what is gone".to_owned();
            vec![Leftover { objects: vec![label.object], owner, delete: false, hint: Some(hint) }]
        }
        _ => Vec::new(),
    }
}
