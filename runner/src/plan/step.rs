//! One step: its plugin is asked what should be there, its actions are made ready and compared with the cluster.

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use meshrun_protocol::{
    Action, ActionKind, Diagnostic, Label, ObjectRef, Output, PlanRequest, PlanResponse, Scale, Severity,
};
use serde_json::{Map, Value, json};

use super::{
    Outlook, PlanError, Planner, ReadOnly,
    compare::compare,
    model::{Change, FieldChange, PlannedAction, StepPlan, StepState, Verb},
    work::{ReleaseWork, Work, WorkKind, order, title},
};
use crate::{
    cluster::Object,
    plugin::{Limits, Session},
    spec::{self, Scope, Step},
    state::inventory::Entry,
};

/// Objects compared at the same time.
const IN_FLIGHT: usize = 8;
/// Field manager of objects that a step applies itself.
pub(crate) const MANAGER: &str = "meshrun";
/// Field manager of a release's objects: the one that helm uses, so that helm can go on with them.
pub(crate) const HELM_MANAGER: &str = "helm";

/// A step, ready to run.
pub struct PlannedStep {
    /// What people and tools see.
    pub plan: StepPlan,
    /// The actions, made ready.
    pub works: Vec<Work>,
    /// The configuration, expressions evaluated.
    pub with: Value,
    /// Outputs as the plugin gave them.
    pub outputs: Vec<(String, Output)>,
    /// Outputs that are known already.
    pub known_outputs: Map<String, Value>,
    /// The conversation with the plugin, for the checks.
    pub session: Session,
}

impl PlannedStep {
    /// Whether carrying it out would write anything.
    pub fn changes(&self) -> bool {
        self.plan.actions.iter().any(|action| {
            action.revision.is_some() || action.changes.iter().any(|change| change.verb != Verb::Unchanged)
        })
    }
}

impl PlannedStep {
    /// The objects that it applies.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.works.iter().flat_map(|work| match &work.kind {
            WorkKind::Apply(objects) => objects.as_slice(),
            WorkKind::Release(release) => release.objects.as_slice(),
            _ => &[],
        })
    }

    /// What the inventory has to know of it before it is carried out.
    pub fn entry(&self, step: &Step) -> Entry {
        let changes = self.plan.actions.iter().flat_map(|action| &action.changes);
        let new = changes.filter(|change| matches!(change.verb, Verb::Create | Verb::CreateLater));
        Entry {
            uses: step.uses.clone(),
            needs: step.ancestors.clone(),
            objects: self.objects().map(Object::reference).collect(),
            created: new.map(|change| change.object.clone()).collect(),
            releases: self.releases().collect(),
        }
    }

    /// The objects that it deletes.
    pub fn deleted(&self) -> impl Iterator<Item = &ObjectRef> {
        self.works.iter().flat_map(|work| match &work.kind {
            WorkKind::Release(release) => release.obsolete.as_slice(),
            WorkKind::Delete(delete) => delete.objects.as_slice(),
            _ => &[],
        })
    }

    /// The digests of its charts.
    pub(super) fn chart_digests(&self) -> impl Iterator<Item = &str> {
        self.works.iter().filter_map(|work| match &work.kind {
            WorkKind::Release(release) => Some(release.rendered.chart.digest.as_str()),
            _ => None,
        })
    }

    /// The Helm releases that it records, as `namespace/name`.
    pub fn releases(&self) -> impl Iterator<Item = String> {
        self.works.iter().filter_map(|work| match &work.kind {
            WorkKind::Release(release) => {
                Some(format!("{}/{}", release.rendered.namespace, release.rendered.release))
            }
            _ => None,
        })
    }
}

impl Planner {
    /// Plans one step with what is known now.
    ///
    /// # Errors
    /// See [`PlanError`]; a plugin's findings of severity error are among them.
    pub async fn plan_step(&self, step: &Step, scope: &Scope) -> Result<Outlook, PlanError> {
        match spec::condition(step, scope)? {
            Some(true) => {}
            Some(false) => return Ok(Outlook::Skipped),
            None => return Ok(Outlook::KnownAfter(last_need(step))),
        }
        let evaluated = spec::evaluate(step, scope)?;
        if let Some(other) = evaluated.unknown.into_iter().next() {
            return Ok(Outlook::KnownAfter(other));
        }
        let with = evaluated.with;
        let (response, session) = self.ask(step, with.clone(), scope).await?;
        refuse(step, &response.diagnostics)?;
        self.hold_to_description(step, &response)?;

        let mut diagnostics = response.diagnostics;
        let (works, actions, findings) = self.make_ready(step.directory(), &response.actions).await?;
        diagnostics.extend(findings);
        let outputs: Vec<(String, Output)> = response.outputs.into_iter().collect();
        let known_outputs = self.known_outputs(&outputs).await?;
        let plan = StepPlan {
            id: step.id.clone(),
            uses: step.uses.clone(),
            needs: step.needs.clone(),
            state: StepState::Planned,
            actions,
            diagnostics,
        };
        Ok(Outlook::Planned(Box::new(PlannedStep { plan, works, with, outputs, known_outputs, session })))
    }

    /// Asks a step's plugin what should be there.
    pub(super) async fn ask(
        &self,
        step: &Step,
        with: Value,
        scope: &Scope,
    ) -> Result<(PlanResponse, Session), PlanError> {
        let mut session = self.session(step);
        let services = ReadOnly::new(self.cluster.clone(), step.id.clone());
        let request = PlanRequest {
            step: step.id.as_str().to_owned(),
            config: with,
            cluster: self.cluster.info(),
            needs: self.needs(step, scope),
            allow_skip: self.allow_skip,
        };
        let response = session.plan(&request, &services, &Limits::default()).await?;
        Ok((response, session))
    }

    /// Refuses outputs that the plugin has not described: `validate` and pipelines go by the description.
    fn hold_to_description(&self, step: &Step, response: &PlanResponse) -> Result<(), PlanError> {
        let described = self.plugins.get(&step.id).map_or(&[][..], |plugin| &plugin.description().outputs);
        match response.outputs.keys().find(|name| !described.iter().any(|output| output.name == **name)) {
            None => Ok(()),
            Some(name) => Err(PlanError::WrongPlan(format!(
                "output `{name}` is not among those that the plugin describes"
            ))),
        }
    }

    /// Makes actions ready and compares them with the cluster; relative paths start from `directory`.
    pub(super) async fn make_ready(
        &self,
        directory: &Path,
        asked: &[Action],
    ) -> Result<(Vec<Work>, Vec<PlannedAction>, Vec<Diagnostic>), PlanError> {
        let mut works = Vec::with_capacity(asked.len());
        let mut actions = Vec::with_capacity(asked.len());
        let mut diagnostics = Vec::new();
        for (action, after) in asked.iter().zip(order(asked)?) {
            let work = Work {
                id: action.id.clone(),
                after,
                timeout_seconds: action.timeout_seconds,
                optional: action.optional,
                title: title(&action.kind),
                kind: self.ready(directory, &action.kind).await?,
            };
            let (changes, findings) = self.changes(&work).await?;
            diagnostics.extend(findings);
            let revision = match &work.kind {
                WorkKind::Release(release) => release.next_revision(),
                _ => None,
            };
            actions.push(PlannedAction { id: work.id.clone(), title: work.title.clone(), changes, revision });
            works.push(work);
        }
        Ok((works, actions, diagnostics))
    }

    pub(super) fn session(&self, step: &Step) -> Session {
        self.plugins.get(&step.id).expect("every step of a loaded pipeline has its plugin").start()
    }

    async fn ready(&self, directory: &Path, action: &ActionKind) -> Result<WorkKind, PlanError> {
        Ok(match action {
            ActionKind::Apply(apply) => {
                let mut objects = Vec::with_capacity(apply.objects.len());
                for object in &apply.objects {
                    objects.push(self.whole(object.clone()).await?);
                }
                self.apis.learn(objects.iter());
                WorkKind::Apply(objects)
            }
            ActionKind::Helm(helm) => {
                let mut helm = helm.clone();
                if let Some(path) = &mut helm.chart.path {
                    *path = directory.join(&*path).display().to_string();
                }
                let release = self.release(&helm).await?;
                self.apis.learn(release.objects.iter());
                WorkKind::Release(Box::new(release))
            }
            ActionKind::Delete(delete) => WorkKind::Delete(delete.clone()),
            ActionKind::Wait(wait) => WorkKind::Wait(wait.clone()),
            ActionKind::Scale(scale) => WorkKind::Scale(scale.clone()),
            ActionKind::Label(label) => WorkKind::Label(label.clone()),
            ActionKind::Restart(restart) => WorkKind::Restart(restart.clone()),
            ActionKind::Probe(probe) => WorkKind::Probe(probe.clone()),
        })
    }

    async fn whole(&self, value: Value) -> Result<Object, PlanError> {
        let mut object =
            Object::new(value).map_err(|missing| PlanError::WrongPlan(format!("an object {missing}")))?;
        self.place(&mut object, "default").await?;
        Ok(object)
    }

    async fn changes(&self, work: &Work) -> Result<(Vec<Change>, Vec<Diagnostic>), PlanError> {
        match &work.kind {
            WorkKind::Apply(objects) => self.compare_all(objects, MANAGER).await,
            WorkKind::Release(release) => self.release_changes(release).await,
            WorkKind::Delete(delete) => Ok((self.deletions(&delete.objects).await?, Vec::new())),
            WorkKind::Scale(scale) => Ok((self.scaling(scale).await?, Vec::new())),
            WorkKind::Label(label) => Ok((self.labelling(label).await?, Vec::new())),
            WorkKind::Restart(restart) => {
                let restarted = |workload: &ObjectRef| Change {
                    object: workload.clone(),
                    verb: Verb::Update,
                    adopted_from: None,
                    fields: vec![FieldChange {
                        path: "spec.template.metadata.annotations[\"kubectl.kubernetes.io/restartedAt\"]"
                            .into(),
                        before: None,
                        after: Some(json!("now")),
                    }],
                };
                Ok((restart.workloads.iter().map(restarted).collect(), Vec::new()))
            }
            WorkKind::Wait(_) | WorkKind::Probe(_) => Ok((Vec::new(), Vec::new())),
        }
    }

    pub(super) async fn release_changes(
        &self,
        release: &ReleaseWork,
    ) -> Result<(Vec<Change>, Vec<Diagnostic>), PlanError> {
        let (mut changes, mut findings) = self
            .compare_all(&release.objects, HELM_MANAGER)
            .await
            .map_err(|error| error.of_chart(&release.chart))?;
        changes.extend(self.deletions(&release.obsolete).await?);
        if let (Some(pending), Some(previous)) = (&release.pending, release.previous()) {
            let left = format!("left {} for {} by a helm that was killed", pending.status, pending.age);
            changes.push(Change {
                object: previous.secret.reference(),
                verb: Verb::Replace,
                adopted_from: Some(left),
                fields: Vec::new(),
            });
        }
        findings.extend(release.rendered.warnings.iter().cloned());
        Ok((changes, findings))
    }

    pub(super) async fn compare_all(
        &self,
        objects: &[Object],
        manager: &str,
    ) -> Result<(Vec<Change>, Vec<Diagnostic>), PlanError> {
        let comparisons: Vec<_> =
            objects.iter().map(|object| compare(&self.cluster, &self.apis, object, manager)).collect();
        let answers: Vec<_> = stream::iter(comparisons).buffered(IN_FLIGHT).try_collect().await?;
        let (changes, findings): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        Ok((changes, findings.into_iter().flatten().collect()))
    }

    async fn deletions(&self, objects: &[ObjectRef]) -> Result<Vec<Change>, PlanError> {
        let mut changes = Vec::new();
        for object in objects {
            if self.cluster.get(object).await?.is_some() {
                changes.push(Change {
                    object: object.clone(),
                    verb: Verb::Delete,
                    adopted_from: None,
                    fields: Vec::new(),
                });
            }
        }
        Ok(changes)
    }

    async fn scaling(&self, scale: &Scale) -> Result<Vec<Change>, PlanError> {
        // A workload that does not exist yet is created by an action before; its creation is in the plan already.
        let Some(workload) = self.cluster.get(&scale.workload).await? else { return Ok(Vec::new()) };
        let asked = workload.at("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        if asked >= u64::from(scale.at_least) {
            return Ok(Vec::new());
        }
        let field = FieldChange {
            path: "spec.replicas".into(),
            before: Some(json!(asked)),
            after: Some(json!(scale.at_least)),
        };
        Ok(vec![Change {
            object: scale.workload.clone(),
            verb: Verb::Update,
            adopted_from: None,
            fields: vec![field],
        }])
    }

    async fn labelling(&self, label: &Label) -> Result<Vec<Change>, PlanError> {
        let Some(object) = self.cluster.get(&label.object).await? else { return Ok(Vec::new()) };
        let changed = label.labels.iter().filter(|(key, value)| object.label(key) != value.as_deref());
        let fields: Vec<FieldChange> = changed
            .map(|(key, value)| FieldChange {
                path: format!("metadata.labels[\"{key}\"]"),
                before: object.label(key).map(Into::into),
                after: value.clone().map(Into::into),
            })
            .collect();
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Change { object: label.object.clone(), verb: Verb::Update, adopted_from: None, fields }])
    }

    /// Reads the outputs that are values, or fields of objects that are there.
    pub async fn known_outputs(&self, outputs: &[(String, Output)]) -> Result<Map<String, Value>, PlanError> {
        let mut known = Map::new();
        for (name, output) in outputs {
            match output {
                Output::Value { value } => {
                    known.insert(name.clone(), value.clone());
                }
                Output::FromObject { object, pointers } => {
                    let Some(object) = self.cluster.get(object).await? else { continue };
                    let value = pointers
                        .iter()
                        .find_map(|pointer| object.at(pointer).filter(|value| !value.is_null()));
                    if let Some(value) = value {
                        known.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        Ok(known)
    }
}

/// Findings of severity error refuse the step, in the words and at the place of the pipeline file.
fn refuse(step: &Step, diagnostics: &[Diagnostic]) -> Result<(), PlanError> {
    let errors: Vec<_> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| step.finding(diagnostic))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(spec::SpecError { findings: errors }.into()) }
}

fn last_need(step: &Step) -> crate::ids::StepId {
    step.needs.last().cloned().unwrap_or_else(|| step.id.clone())
}
