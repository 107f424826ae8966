//! What an action needs to do its work and to tell of it.

use std::sync::{Arc, Mutex, PoisonError};

use meshrun_protocol::ObjectRef;
use tokio::{
    sync::mpsc::{UnboundedSender, WeakUnboundedSender},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{consent::Consent, wait::WaitSink};
use crate::{
    cluster::Cluster,
    event::{Done, Event, Tally},
    ids::StepId,
};

/// The way events take to the reporters.
#[derive(Clone)]
pub struct Events(UnboundedSender<Event>);

impl Events {
    /// Wraps the sending end.
    pub fn new(sender: UnboundedSender<Event>) -> Self {
        Self(sender)
    }

    /// Sends an event; after the reporters are gone there is nobody to tell.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// A way that does not keep the reporters waiting for more.
    pub fn weak(&self) -> WeakEvents {
        WeakEvents(self.0.downgrade())
    }
}

/// The way events take as long as anybody else sends some.
pub struct WeakEvents(WeakUnboundedSender<Event>);

impl WeakEvents {
    /// Sends an event if there is still a report.
    pub fn send(&self, event: Event) {
        if let Some(events) = self.0.upgrade() {
            let _ = events.send(event);
        }
    }
}

/// One action at work.
#[derive(Clone)]
pub(super) struct ActionContext {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) step: StepId,
    pub(super) action: String,
    pub(super) events: Events,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) cancel: CancellationToken,
    /// What may be deleted, or deleted and created anew.
    pub(super) consent: Consent,
}

impl ActionContext {
    /// An action that has a minute, and the events it sends.
    #[cfg(test)]
    pub(super) fn of_test(cluster: Arc<dyn Cluster>) -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (events, received) = tokio::sync::mpsc::unbounded_channel();
        let started = Instant::now();
        let context = Self {
            cluster,
            step: StepId::new("istiod"),
            action: "apply".into(),
            events: Events::new(events),
            tally: Arc::default(),
            started,
            deadline: started + std::time::Duration::from_secs(60),
            cancel: CancellationToken::new(),
            consent: Consent::only([]),
        };
        (context, received)
    }

    pub(super) fn object_done(&self, object: ObjectRef, done: Done) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).count(done);
        self.events.send(Event::ObjectDone {
            step: self.step.clone(),
            action: self.action.clone(),
            object,
            done,
        });
    }
}

impl WaitSink for ActionContext {
    fn waiting(&self, reason: &str) {
        self.events.send(Event::Waiting {
            step: self.step.clone(),
            action: self.action.clone(),
            reason: reason.into(),
        });
    }

    fn nudged(&self, replica_set: &ObjectRef) {
        self.object_done(replica_set.clone(), Done::Nudged);
    }
}
