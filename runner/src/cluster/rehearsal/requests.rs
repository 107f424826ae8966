//! Requests to the rehearsed cluster: what a server checks and changes, one request at a time.

use base64::{Engine, prelude::BASE64_STANDARD};
use meshrun_protocol::{ListQuery, ObjectRef};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Fault, Verb, Write,
    controllers::{self, Simulation},
    merge::{self, Applied},
    selector::Selector,
    store::{Key, Store, Stored},
};
use crate::cluster::{
    ApplyOptions, ErrorKind, Object, Scope,
    schema::{self, Api, SchemaError, no_match},
};

/// A refusal: its kind, and what the server says.
pub(super) type Refusal = (ErrorKind, String);

/// Everything behind the one lock of a rehearsal.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) simulation: Simulation,
    pub(super) faults: Vec<Fault>,
    pub(super) writes: Vec<Write>,
    settled: Option<Settled>,
}

/// Up to which revision the controllers have worked, and when time alone gives them more to do.
#[derive(Debug)]
struct Settled {
    revision: u64,
    due: Option<Instant>,
}

impl State {
    pub(super) fn new(simulation: Simulation) -> Self {
        Self { store: Store::new(), simulation, faults: Vec::new(), writes: Vec::new(), settled: None }
    }

    /// Lets the controllers work and time pass: what has become ready since the last request is ready now.
    /// Returns when there will be more to do.
    pub(super) fn settle(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let idle = |settled: &&Settled| {
            settled.revision == self.store.revision() && settled.due.is_none_or(|due| due > now)
        };
        if let Some(settled) = self.settled.as_ref().filter(idle) {
            return settled.due;
        }
        controllers::settle(&mut self.store, &self.simulation);
        let due = self.simulation.next_due(&self.store);
        self.settled = Some(Settled { revision: self.store.revision(), due });
        due
    }

    /// Says under which key an object is kept; cluster-scoped ones have no namespace, whatever was asked.
    pub(super) fn key(&self, object: &ObjectRef) -> Result<(Key, Api<'_>), Refusal> {
        let api = self
            .store
            .schemas
            .api(&object.api_version, &object.kind)
            .ok_or_else(|| (ErrorKind::NotServed, no_match(&object.api_version, &object.kind)))?;
        let mut key = Key::of(object);
        match (api.scope, &key.namespace) {
            (Scope::Cluster, _) => key.namespace = None,
            (Scope::Namespaced, Some(_)) => {}
            (Scope::Namespaced, None) => {
                let message = "an empty namespace may not be set when a resource name is provided";
                return Err((ErrorKind::Invalid, message.into()));
            }
        }
        Ok((key, api))
    }

    pub(super) fn get(&self, object: &ObjectRef) -> Result<Option<Object>, Refusal> {
        match self.key(object) {
            Ok((key, _)) => {
                Ok(self.store.get(&key).map(|stored| seen_as(&stored.object, &object.api_version)))
            }
            Err((ErrorKind::NotServed, _)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn list(&self, query: &ListQuery) -> Result<Vec<Object>, Refusal> {
        let selector =
            Selector::parse(query.labels.as_deref()).map_err(|message| (ErrorKind::Invalid, message))?;
        let Some(api) = self.store.schemas.api(&query.api_version, &query.kind) else {
            return Ok(Vec::new());
        };
        let namespace = query.namespace.as_deref().filter(|_| api.scope == Scope::Namespaced);
        let (group, _) = query.api_version.split_once('/').unwrap_or_default();
        Ok(self
            .store
            .of_kind(group, &query.kind)
            .map(|stored| &stored.object)
            .filter(|object| namespace.is_none_or(|namespace| object.namespace() == Some(namespace)))
            .filter(|object| selector.matches(object))
            .map(|object| seen_as(object, &query.api_version))
            .collect())
    }

    pub(super) fn apply(&mut self, object: &Object, options: &ApplyOptions) -> Result<Object, Refusal> {
        if !options.dry_run {
            self.fail(&object.to_string())?;
        }
        let wanted = self.admit(object)?;
        let (key, api) = self.key(&wanted.reference())?;
        let live = self.store.get(&key);
        unchanged_since(&key, api, live, &wanted)?;
        let none = Applied::new();
        let (base, applied) = match live {
            Some(live) => (live.object.json().clone(), &live.applied),
            None => (identity(&wanted), &none),
        };
        if !api.custom {
            refuse(&key, &schema::duplicates(wanted.json()))?;
        }
        let owned = owned_part(&wanted);
        let (merged, applied) =
            merge::apply(base, applied, &options.manager, &owned, options.force, !api.custom)
                .map_err(|message| (ErrorKind::Conflict, message))?;
        let merged = with_defaults(whole(merged)?);
        self.judge(&key, &seen_as(&merged, object.api_version()))?;
        let applied = match options.dry_run {
            true => self.store.prepare(merged).0,
            false => self.write(Verb::Apply, merged, |store, object| store.put_applied(object, applied)),
        };
        Ok(seen_as(&applied, object.api_version()))
    }

    pub(super) fn create(&mut self, object: &Object) -> Result<Object, Refusal> {
        let object = with_defaults(self.admit(object)?);
        let (key, api) = self.key(&object.reference())?;
        if self.store.get(&key).is_some() {
            return Err((ErrorKind::AlreadyExists, format!("{} already exists", resource(&key, api))));
        }
        self.judge(&key, &object)?;
        Ok(self.write(Verb::Create, object, Store::put))
    }

    pub(super) fn replace(&mut self, object: &Object) -> Result<Object, Refusal> {
        let mut next = with_defaults(self.admit(object)?);
        let (key, api) = self.key(&next.reference())?;
        let live = self.store.get(&key).ok_or_else(|| not_found(&key, api))?;
        unchanged_since(&key, api, Some(live), &next)?;
        self.judge(&key, &next)?;
        if let Some(status) = live.object.at("/status") {
            next.json_mut()["status"] = status.clone();
        }
        next = seen_as(&next, live.object.api_version());
        let stored = self.write(Verb::Replace, next, Store::put);
        Ok(seen_as(&stored, object.api_version()))
    }

    pub(super) fn patch(
        &mut self,
        target: &ObjectRef,
        patch: &Value,
        subresource: Option<&str>,
    ) -> Result<Object, Refusal> {
        let (key, api) = self.key(target)?;
        let live = self.store.get(&key).ok_or_else(|| not_found(&key, api))?;
        let relevant: fn(&str) -> bool = match subresource {
            None => |field| field != "status",
            Some("status") => |field| matches!(field, "metadata" | "status"),
            Some("scale") => |field| matches!(field, "metadata" | "spec"),
            Some(_) => {
                return Err((ErrorKind::NotFound, "the server could not find the requested resource".into()));
            }
        };
        let mut patched = live.object.json().clone();
        merge::patch(&mut patched, &fields(patch, relevant));
        let patched = whole(patched)?;
        unchanged_since(&key, api, Some(live), &patched)?;
        self.judge(&key, &seen_as(&patched, &target.api_version))?;
        let stored = self.write(Verb::Patch, patched, Store::put);
        Ok(match subresource {
            Some("scale") => scale_of(&stored),
            _ => seen_as(&stored, &target.api_version),
        })
    }

    pub(super) fn delete(&mut self, object: &ObjectRef) -> Result<bool, Refusal> {
        let (key, api) = match self.key(object) {
            Ok(found) => found,
            Err((ErrorKind::NotServed, _)) => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        if key.group.is_empty()
            && key.kind == "Namespace"
            && matches!(key.name.as_str(), "default" | "kube-system" | "kube-public")
        {
            let message = format!("{} is forbidden: this namespace may not be deleted", resource(&key, api));
            return Err((ErrorKind::Forbidden, message));
        }
        let deleted = self.store.remove(&key);
        self.settle();
        self.writes.push(Write { verb: Verb::Delete, object: object.clone(), changed: deleted });
        Ok(deleted)
    }

    fn fail(&mut self, object: &str) -> Result<(), Refusal> {
        match self.faults.iter_mut().find(|fault| fault.times > 0 && fault.object == object) {
            Some(fault) => {
                fault.times -= 1;
                Err((fault.kind, fault.message.clone()))
            }
            None => Ok(()),
        }
    }

    /// The object as a server takes it in: without status and nulls, in an existing namespace or none.
    fn admit(&self, object: &Object) -> Result<Object, Refusal> {
        let (key, _) = self.key(&object.reference())?;
        let mut object = whole(schema::without_nulls(&specified(object.json())))?;
        object.set_namespace(key.namespace.as_deref());
        if let Some(namespace) = &key.namespace
            && self.store.get(&Key::namespace(namespace)).is_none()
        {
            return Err((ErrorKind::NotFound, format!("namespaces \"{namespace}\" not found")));
        }
        Ok(object)
    }

    /// Refuses an object that does not fit its schema.
    fn judge(&self, key: &Key, object: &Object) -> Result<(), Refusal> {
        refuse(key, &self.store.schemas.validate(&whole(specified(object.json()))?))
    }

    fn write(
        &mut self,
        verb: Verb,
        object: Object,
        put: impl FnOnce(&mut Store, Object) -> Object,
    ) -> Object {
        let reference = object.reference();
        let before = self.store.revision();
        let stored = put(&mut self.store, object);
        let changed = self.store.revision() != before;
        self.settle();
        self.writes.push(Write { verb, object: reference, changed });
        // Controllers are at once where no delay is set, but a server answers before they are.
        stored
    }
}

/// `deployments.apps "istiod"`.
fn resource(key: &Key, api: Api<'_>) -> String {
    match key.group.as_str() {
        "" => format!("{} \"{}\"", api.plural, key.name),
        group => format!("{}.{group} \"{}\"", api.plural, key.name),
    }
}

fn not_found(key: &Key, api: Api<'_>) -> Refusal {
    (ErrorKind::NotFound, format!("{} not found", resource(key, api)))
}

fn unchanged_since(key: &Key, api: Api<'_>, live: Option<&Stored>, given: &Object) -> Result<(), Refusal> {
    let version = given.resource_version();
    if version.is_empty() || live.is_some_and(|live| live.object.resource_version() == version) {
        return Ok(());
    }
    Err((
        ErrorKind::Conflict,
        format!(
            "Operation cannot be fulfilled on {}: the object has been modified; please apply your changes to the \
             latest version and try again",
            resource(key, api)
        ),
    ))
}

/// An object as one version of its API shows it. Versions of one kind are taken to differ in name only.
pub(super) fn seen_as(object: &Object, api_version: &str) -> Object {
    let mut object = object.clone();
    object.json_mut()["apiVersion"] = json!(api_version);
    object
}

/// What an object is before anyone has applied to it: its name.
fn identity(object: &Object) -> Value {
    let mut identity = json!({
        "apiVersion": object.api_version(), "kind": object.kind(), "metadata": { "name": object.name() },
    });
    if let Some(namespace) = object.namespace() {
        identity["metadata"]["namespace"] = json!(namespace);
    }
    identity
}

/// What a manager owns by applying: all but names and what the server writes.
fn owned_part(object: &Object) -> Value {
    let mut owned = fields(object.json(), |field| !matches!(field, "apiVersion" | "kind"));
    owned["metadata"] = fields(&owned["metadata"], |field| {
        matches!(field, "labels" | "annotations" | "finalizers" | "ownerReferences")
    });
    owned
}

/// The few defaults that others look at.
fn with_defaults(mut object: Object) -> Object {
    match (object.api_version(), object.kind()) {
        ("apps/v1", "Deployment" | "StatefulSet" | "ReplicaSet") if object.at("/spec/replicas").is_none() => {
            if let Some(spec) = object.json_mut()["spec"].as_object_mut() {
                spec.insert("replicas".into(), json!(1));
            }
        }
        ("v1", "Namespace") => {
            let name = json!(object.name());
            object.json_mut()["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        ("v1", "Secret") => {
            let secret = object.json_mut();
            let plain = secret.as_object_mut().and_then(|secret| secret.shift_remove("stringData"));
            for (name, text) in plain.iter().filter_map(Value::as_object).flatten() {
                secret["data"][name] = json!(BASE64_STANDARD.encode(text.as_str().unwrap_or_default()));
            }
        }
        _ => {}
    }
    object
}

fn scale_of(workload: &Object) -> Object {
    Object::new(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": workload.name(), "namespace": workload.namespace(), "uid": workload.uid(),
            "resourceVersion": workload.resource_version(),
        },
        "spec": { "replicas": workload.at("/spec/replicas") },
        "status": { "replicas": workload.at("/status/replicas") },
    }))
    .unwrap_or_else(|_| workload.clone())
}

fn refuse(key: &Key, errors: &[SchemaError]) -> Result<(), Refusal> {
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let Key { kind, name, .. } = key;
    Err((ErrorKind::Invalid, format!("{kind} \"{name}\" is invalid: {}", errors.join("; "))))
}

fn whole(value: Value) -> Result<Object, Refusal> {
    Object::new(value).map_err(|what| (ErrorKind::Invalid, what))
}

/// An object without its status, which only controllers write.
fn specified(object: &Value) -> Value {
    fields(object, |field| field != "status")
}

fn fields(object: &Value, wanted: impl Fn(&str) -> bool) -> Value {
    let fields = object.as_object().into_iter().flatten().filter(|(name, _)| wanted(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}
