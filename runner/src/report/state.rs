//! What the events have said so far: the memory that the reporters for people share.

use std::time::Duration;

use meshrun_protocol::{Check, Diagnostic};

use crate::{
    event::{ActionOutcome, Event, Problem, StepOutcome, Tally},
    ids::StepId,
};

/// A waiting reason that has stood this long is more than the noise of a normal start.
const PATIENCE: Duration = Duration::from_secs(3);

/// A run so far.
#[derive(Debug, Default)]
pub(super) struct RunState {
    /// Steps in the order of the file.
    pub(super) steps: Vec<StepState>,
    /// Ctrl-C or SIGTERM arrived.
    pub(super) interrupted: bool,
    /// The run is over.
    pub(super) ended: bool,
    /// Findings told so far: a step that is tried again finds the same again.
    findings: Vec<(Option<StepId>, Diagnostic)>,
}

/// A step so far.
#[derive(Debug)]
pub(super) struct StepState {
    pub(super) id: StepId,
    /// 0 before it has begun.
    pub(super) attempt: u32,
    /// When the first attempt began.
    pub(super) began: Duration,
    /// The last attempt failed and the next one has not begun.
    pub(super) between_attempts: bool,
    /// Actions that have begun and not ended, oldest first.
    pub(super) running: Vec<Running>,
    /// An action has begun in this attempt.
    pub(super) acted: bool,
    /// Waiting reasons told in this attempt: pods that take turns in failing shall not fill the log.
    told: Vec<String>,
    /// Helm releases recorded, with revision.
    pub(super) releases: Vec<(String, u32)>,
    pub(super) checks: Vec<Check>,
    /// Failures of optional actions.
    pub(super) tolerated: Vec<Problem>,
    pub(super) outcome: Option<StepOutcome>,
    pub(super) elapsed: Duration,
    pub(super) tally: Tally,
}

/// An action that has begun and not ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) action: String,
    pub(super) title: String,
    /// Why it is not done yet.
    pub(super) reason: Option<String>,
    /// Since when that is the reason.
    since: Duration,
}

impl RunState {
    /// Takes an event in.
    pub(super) fn take(&mut self, at: Duration, event: &Event) {
        match event {
            Event::RunStarted { steps, .. } => {
                self.steps = steps.iter().map(|step| StepState::new(&step.id)).collect();
            }
            Event::StepStarted { step, attempt } => {
                let step = self.step(step);
                if step.attempt == 0 {
                    step.began = at;
                }
                step.attempt = *attempt;
                step.between_attempts = false;
                step.acted = false;
                step.told.clear();
            }
            Event::ActionStarted { step, action, title } => {
                let step = self.step(step);
                step.acted = true;
                step.running.push(Running {
                    action: action.clone(),
                    title: title.clone(),
                    reason: None,
                    since: at,
                });
            }
            Event::Waiting { step, action, reason } => {
                if let Some(running) = self.step(step).running.iter_mut().find(|run| run.action == *action) {
                    running.reason = Some(reason.clone());
                    running.since = at;
                }
            }
            Event::ReleaseRecorded { step, release, revision, .. } => {
                self.step(step).releases.push((release.clone(), *revision));
            }
            Event::ActionFinished { step, action, outcome, .. } => {
                self.step(step).end_action(action, outcome)
            }
            Event::Checked { step, check } => self.step(step).checks.push(check.clone()),
            Event::StepRetrying { step, .. } => {
                let step = self.step(step);
                step.between_attempts = true;
                step.running.clear();
                step.checks.clear();
                step.tolerated.clear();
            }
            Event::StepFinished { step, outcome, elapsed, tally } => {
                let step = self.step(step);
                step.running.clear();
                step.outcome = Some(outcome.clone());
                step.elapsed = *elapsed;
                step.tally = *tally;
            }
            Event::Interrupted => self.interrupted = true,
            Event::RunFinished { .. } => self.ended = true,
            Event::Diagnosed { .. } | Event::ObjectDone { .. } => {}
        }
    }

    /// The step of an id.
    pub(super) fn step(&mut self, id: &StepId) -> &mut StepState {
        let index = self.steps.iter().position(|step| step.id == *id).unwrap_or_else(|| {
            self.steps.push(StepState::new(id));
            self.steps.len() - 1
        });
        &mut self.steps[index]
    }

    /// Waiting reasons that have stood for a while and were not told yet; they count as told from now on.
    pub(super) fn standing_reasons(&mut self, at: Duration) -> Vec<(StepId, String)> {
        let mut standing = Vec::new();
        for step in &mut self.steps {
            for running in step.running.iter().filter(|running| at.saturating_sub(running.since) >= PATIENCE)
            {
                if let Some(reason) = &running.reason
                    && !step.told.contains(reason)
                {
                    step.told.push(reason.clone());
                    standing.push((step.id.clone(), reason.clone()));
                }
            }
        }
        standing
    }

    /// Whether a finding is told for the first time.
    pub(super) fn is_news(&mut self, step: Option<&StepId>, diagnostic: &Diagnostic) -> bool {
        let finding = (step.cloned(), diagnostic.clone());
        let news = !self.findings.contains(&finding);
        if news {
            self.findings.push(finding);
        }
        news
    }

    /// Whether a step has begun.
    pub(super) fn under_way(&self) -> bool {
        self.steps.iter().any(|step| step.attempt > 0)
    }

    /// Columns of the longest id.
    pub(super) fn id_width(&self) -> usize {
        self.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or_default()
    }
}

impl StepState {
    fn new(id: &StepId) -> Self {
        Self {
            id: id.clone(),
            attempt: 0,
            began: Duration::ZERO,
            between_attempts: false,
            running: Vec::new(),
            acted: false,
            told: Vec::new(),
            releases: Vec::new(),
            checks: Vec::new(),
            tolerated: Vec::new(),
            outcome: None,
            elapsed: Duration::ZERO,
            tally: Tally::default(),
        }
    }

    fn end_action(&mut self, action: &str, outcome: &ActionOutcome) {
        let Some(index) = self.running.iter().position(|run| run.action == action) else { return };
        self.running.remove(index);
        if let ActionOutcome::Tolerated { error } = outcome {
            self.tolerated.push(error.clone());
        }
    }

    /// Whether the step is at work.
    pub(super) fn is_running(&self) -> bool {
        self.attempt > 0 && self.outcome.is_none()
    }

    /// Whether the step had nothing to write, so that its checks are all there is to tell.
    pub(super) fn only_checks(&self) -> bool {
        self.tally == Tally::default() && self.releases.is_empty()
    }
}
