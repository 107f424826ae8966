//! The objects of a rehearsal, with the metadata that a server keeps and the changes that watches see.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use meshrun_protocol::ObjectRef;
use serde_json::{Map, Value, json};
use tokio::{sync::broadcast, time::Instant};

use super::merge::{self, Applied};
use crate::cluster::{Object, schema::Schemas};

/// Names an object whatever version of its API it is seen through. Sorts by kind, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl Key {
    pub(super) fn of(object: &ObjectRef) -> Self {
        Self {
            group: object.group().into(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }

    pub(super) fn namespace(name: &str) -> Self {
        Self::of(&ObjectRef::cluster("v1", "Namespace", name))
    }
}

/// An object and what the store knows about it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) object: Object,
    pub(super) applied: Applied,
    /// When it was created or its specification last changed.
    pub(super) since: Instant,
}

/// One change of one object.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) before: Option<Object>,
    pub(super) after: Option<Object>,
}

/// All objects, the APIs that are served, and the channel of changes.
#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Stored>,
    pub(super) schemas: Schemas,
    revision: u64,
    created: u64,
    changes: broadcast::Sender<Arc<Change>>,
}

/// Changes that a slow watch may lag behind before it has to list again.
const BACKLOG: usize = 256;

impl Store {
    pub(super) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            schemas: Schemas::default(),
            revision: 0,
            created: 0,
            changes: broadcast::Sender::new(BACKLOG),
        }
    }

    /// Counts up with every change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.objects.values()
    }

    /// The objects of a kind, sorted by namespace and name.
    pub(super) fn of_kind(&self, group: &str, kind: &str) -> impl Iterator<Item = &Stored> {
        let first = Key { group: group.into(), kind: kind.into(), namespace: None, name: String::new() };
        let (group, kind) = (first.group.clone(), first.kind.clone());
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.group == group && key.kind == kind)
            .map(|(_, stored)| stored)
    }

    /// The objects of a kind in a namespace.
    pub(super) fn in_namespace<'a>(
        &'a self,
        group: &str,
        kind: &str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Stored> {
        self.of_kind(group, kind).filter(move |stored| stored.object.namespace() == namespace)
    }

    /// The object as the store would have it: with the metadata of the one that is there, moved on if it changes.
    /// Returns also whether it changes.
    pub(super) fn prepare(&self, object: Object) -> (Object, bool) {
        let before = self.objects.get(&Key::of(&object.reference())).map(|stored| &stored.object);
        let mut next = object;
        let specified = before.is_none_or(|before| specification(before) != specification(&next));
        let generation = before.and_then(|before| before.at("/metadata/generation")).and_then(Value::as_u64);
        let counted = next.api_version() != "v1" || next.kind() == "Pod";
        let Some(metadata) = metadata_mut(&mut next) else { return (next, false) };
        let (uid, created, version) = match before {
            Some(before) => (
                before.uid().to_owned(),
                before.text("/metadata/creationTimestamp").to_owned(),
                before.resource_version().to_owned(),
            ),
            None => (
                format!("00000000-0000-4000-8000-{:012}", self.created + 1),
                now(),
                (self.revision + 1).to_string(),
            ),
        };
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(created));
        metadata.insert("resourceVersion".into(), json!(version));
        if counted {
            let generation = generation.unwrap_or_default() + u64::from(specified);
            metadata.insert("generation".into(), json!(generation));
        }
        let changed = before != Some(&next);
        if changed && let Some(metadata) = metadata_mut(&mut next) {
            metadata.insert("resourceVersion".into(), json!((self.revision + 1).to_string()));
        }
        (next, changed)
    }

    /// Stores an object under its own name. An object that is as it was moves nothing.
    pub(super) fn put(&mut self, object: Object) -> Object {
        let (object, changed) = self.prepare(object);
        if !changed {
            return object;
        }
        let key = Key::of(&object.reference());
        let before = self.objects.remove(&key);
        self.revision += 1;
        self.created += u64::from(before.is_none());
        let (since, mut applied, before) = match before {
            Some(Stored { object: before, applied, since }) => {
                let same = specification(&before) == specification(&object);
                (if same { since } else { Instant::now() }, applied, Some(before))
            }
            None => (Instant::now(), Applied::new(), None),
        };
        let custom = self.schemas.api(object.api_version(), object.kind()).is_some_and(|api| api.custom);
        merge::updated(&mut applied, object.json(), !custom);
        self.objects.insert(key, Stored { object: object.clone(), applied, since });
        self.tell(before, Some(object.clone()));
        object
    }

    /// Stores an object and what its managers applied.
    pub(super) fn put_applied(&mut self, object: Object, applied: Applied) -> Object {
        let object = self.put(object);
        if let Some(stored) = self.objects.get_mut(&Key::of(&object.reference())) {
            stored.applied = applied;
        }
        object
    }

    /// Removes an object and all that goes with it: what it owns, what is in it (a namespace), what it defines (a CRD).
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(Stored { object, .. }) = self.objects.remove(key) else { return false };
        self.revision += 1;
        if key.kind == "CustomResourceDefinition" {
            self.schemas.remove_crd(object.name());
        }
        let follows = |other: &Object| {
            other.items("/metadata/ownerReferences").iter().any(|owner| owner["uid"] == object.uid())
                || (key.kind == "Namespace"
                    && key.group.is_empty()
                    && other.namespace() == Some(object.name()))
                || (key.kind == "CustomResourceDefinition"
                    && other.kind() == object.text("/spec/names/kind")
                    && other.reference().group() == object.text("/spec/group"))
        };
        let followers: Vec<Key> = self
            .objects
            .iter()
            .filter(|(_, stored)| follows(&stored.object))
            .map(|(key, _)| key.clone())
            .collect();
        self.tell(Some(object), None);
        for follower in followers {
            self.remove(&follower);
        }
        true
    }

    fn tell(&self, before: Option<Object>, after: Option<Object>) {
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(Change { before, after }));
    }
}

fn metadata_mut(object: &mut Object) -> Option<&mut Map<String, Value>> {
    object.json_mut()["metadata"].as_object_mut()
}

/// What an object asks for: all but metadata and status.
fn specification(object: &Object) -> Vec<(&String, &Value)> {
    let fields = object.json().as_object().into_iter().flatten();
    let mut fields: Vec<_> = fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        .collect();
    fields.sort_by_key(|(name, _)| *name);
    fields
}

/// The time as Kubernetes writes it.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
