//! Carries a plan out: steps by their needs, actions by their order, with time limits, retries and a clean stop.

mod action;
mod apply;
mod consent;
mod context;
pub mod destroy;
mod effects;
mod error;
mod hooks;
mod prune;
mod release;
mod remove;
mod scheduler;
mod step;
mod wait;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use consent::Consent;
pub use context::{Events, WeakEvents};
pub use error::StepError;

use crate::{
    event::{RunOutcome, Tally},
    plan::{Planned, Planner},
    state::inventory::InventoryStore,
};

/// Carries out one plan.
pub struct Executor {
    /// Plans each step again just before it runs.
    pub planner: Planner,
    /// Where events go.
    pub events: Events,
    /// The inventory; `None` in a rehearsal, which leaves nothing behind.
    pub inventory: Option<Arc<InventoryStore>>,
    /// What may be deleted, or deleted and created anew.
    pub consent: Consent,
    /// Whether the run may write. One that found nothing to do has no lock, and stops where that turns out wrong.
    pub may_write: bool,
    /// Stops the run: nothing new is started, requests under way are finished, waits are given up.
    pub cancel: CancellationToken,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResult {
    /// How it ended.
    pub outcome: RunOutcome,
    /// What was done to objects.
    pub tally: Tally,
}

impl Executor {
    /// Runs every planned step.
    pub async fn run(self, planned: Planned) -> RunResult {
        scheduler::run(Arc::new(self), planned).await
    }
}
