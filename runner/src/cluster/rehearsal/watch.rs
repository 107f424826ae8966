//! Watches: what is there, then every change, until nobody listens.

use std::sync::{Arc, Mutex};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use meshrun_protocol::ListQuery;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until},
};

use super::{
    lock,
    requests::{Refusal, State, seen_as},
    selector::Selector,
    store::Change,
};
use crate::cluster::{ClusterError, ErrorKind, Object, Result, WatchEvent, WatchQuery, schema::no_match};

/// Watches until the stream is dropped.
pub(super) fn watch(state: Arc<Mutex<State>>, query: WatchQuery) -> BoxStream<'static, Result<WatchEvent>> {
    let doing = format!("watch {}", query.kind);
    let selector = match Selector::parse(query.labels.as_deref()) {
        Ok(selector) => selector,
        Err(message) => {
            let error = ClusterError::new(doing, ErrorKind::Invalid, message);
            return stream::once(async { Err(error) }).boxed();
        }
    };
    let changes = lock(&state).store.changes();
    let watch = Watch { state, query, selector, changes, listed: Listed::No };
    stream::unfold(watch, move |mut watch| {
        let doing = doing.clone();
        async move {
            let event = watch.next().await?;
            let event = event.map_err(|(kind, message)| ClusterError::new(doing, kind, message));
            Some((event, watch))
        }
    })
    .boxed()
}

struct Watch {
    state: Arc<Mutex<State>>,
    query: WatchQuery,
    selector: Selector,
    changes: broadcast::Receiver<Arc<Change>>,
    listed: Listed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    No,
    /// The API was not served, and that was said.
    NotServed,
    Yes,
}

impl Watch {
    async fn next(&mut self) -> Option<std::result::Result<WatchEvent, Refusal>> {
        loop {
            if self.listed != Listed::Yes
                && let Some(first) = self.list()
            {
                return Some(first);
            }
            let due = lock(&self.state).settle();
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(change) => {
                        if self.listed == Listed::Yes
                            && let Some(event) = self.event(&change)
                        {
                            return Some(Ok(event));
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.listed = Listed::No,
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Lists under one lock with the subscription, so that no change is seen twice or never.
    fn list(&mut self) -> Option<std::result::Result<WatchEvent, Refusal>> {
        let mut state = lock(&self.state);
        state.settle();
        let WatchQuery { api_version, kind, namespace, name, labels } = &self.query;
        if state.store.schemas.scope(api_version, kind).is_none() {
            let told = self.listed == Listed::NotServed;
            self.listed = Listed::NotServed;
            return (!told).then(|| Err((ErrorKind::NotServed, no_match(api_version, kind))));
        }
        let query = ListQuery {
            api_version: api_version.clone(),
            kind: kind.clone(),
            namespace: namespace.clone(),
            labels: labels.clone(),
        };
        self.changes = state.store.changes();
        self.listed = Listed::Yes;
        let objects = state.list(&query).map(|mut objects| {
            objects.retain(|object| name.as_deref().is_none_or(|name| object.name() == name));
            WatchEvent::Listed(objects)
        });
        Some(objects)
    }

    fn event(&self, change: &Change) -> Option<WatchEvent> {
        let watched = |object: &&Object| self.watches(object);
        let seen = |object| seen_as(object, &self.query.api_version);
        match (change.before.as_ref().filter(watched), change.after.as_ref().filter(watched)) {
            (_, Some(after)) => Some(WatchEvent::Changed(seen(after))),
            // One that is no longer selected is gone, as far as this watch can see.
            (Some(before), None) => Some(WatchEvent::Deleted(seen(change.after.as_ref().unwrap_or(before)))),
            (None, None) => None,
        }
    }

    fn watches(&self, object: &Object) -> bool {
        let WatchQuery { api_version, kind, namespace, name, .. } = &self.query;
        let group = |api_version: &str| api_version.split_once('/').map(|(group, _)| group.to_owned());
        object.kind() == kind
            && group(object.api_version()) == group(api_version)
            && namespace
                .as_deref()
                .is_none_or(|namespace| object.namespace().is_none_or(|own| own == namespace))
            && name.as_deref().is_none_or(|name| object.name() == name)
            && self.selector.matches(object)
    }
}
