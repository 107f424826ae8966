//! The inventory: which step made which objects, kept in a Secret and written *before* the objects are, so that a
//! crash leaves no orphan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use meshrun_protocol::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use super::{object_name, persist};
use crate::{
    cluster::{Cluster, ClusterError, ErrorKind, Object, Result},
    ids::StepId,
};

/// Version of the record; a newer one is refused, not guessed at.
const VERSION: u32 = 1;
/// Key in the Secret's data.
const KEY: &str = "inventory";

/// What a pipeline made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Version of this record.
    pub version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The run that changed something last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// By step.
    pub steps: BTreeMap<StepId, Entry>,
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Its plugin.
    #[serde(default)]
    pub uses: String,
    /// Steps it needed.
    #[serde(default)]
    pub needs: BTreeSet<StepId>,
    /// Objects it applied.
    #[serde(default)]
    pub objects: BTreeSet<ObjectRef>,
    /// Those of its objects that did not exist before.
    #[serde(default)]
    pub created: BTreeSet<ObjectRef>,
    /// Helm releases it recorded, as `namespace/name`.
    #[serde(default)]
    pub releases: BTreeSet<String>,
}

/// The run that changed something last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// User, host and process.
    pub by: String,
    /// When it began.
    pub at: String,
    /// Version of meshrun.
    pub meshrun: String,
}

impl Inventory {
    /// An inventory of a pipeline that has made nothing yet.
    pub fn empty(pipeline: &str) -> Self {
        Self { version: VERSION, pipeline: pipeline.into(), last_run: None, steps: BTreeMap::new() }
    }
}

impl Inventory {
    /// Whether an object is one that a step made, maybe seen in another version of its API.
    pub fn holds(&self, object: &Object) -> bool {
        let wanted = object.reference();
        let mut all = self.steps.values().flat_map(|entry| &entry.objects);
        all.any(|made| made.is_same(&wanted))
    }
}

impl Entry {
    /// Adds what another entry of the same step has; its plugin and needs are the newer ones.
    fn absorb(&mut self, newer: Self) {
        self.uses = newer.uses;
        self.needs = newer.needs;
        // An object that was there before stays one that was there before.
        let fresh = newer.created.into_iter().filter(|object| !self.objects.contains(object));
        self.created.extend(fresh.collect::<Vec<_>>());
        self.objects.extend(newer.objects);
        self.releases.extend(newer.releases);
    }
}

/// The inventory of one pipeline in one cluster.
pub struct InventoryStore {
    cluster: Arc<dyn Cluster>,
    reference: ObjectRef,
    state: Mutex<State>,
}

struct State {
    inventory: Inventory,
    /// The Secret as last seen; `None` where it does not exist.
    secret: Option<Object>,
}

impl InventoryStore {
    /// Reads the inventory of a pipeline; an empty one where there is none.
    ///
    /// # Errors
    /// When the Secret cannot be read, is damaged, or is of a newer meshrun.
    pub async fn load(cluster: Arc<dyn Cluster>, namespace: &str, pipeline: &str) -> Result<Self> {
        let reference = ObjectRef::namespaced("v1", "Secret", namespace, object_name(pipeline));
        let secret = cluster.get(&reference).await?;
        let inventory = match &secret {
            Some(secret) => decode(secret)?,
            None => Inventory::empty(pipeline),
        };
        Ok(Self { cluster, reference, state: Mutex::new(State { inventory, secret }) })
    }

    /// Returns a copy of what is recorded.
    pub async fn snapshot(&self) -> Inventory {
        self.state.lock().await.inventory.clone()
    }

    /// Adds what a step is about to make; writes only where something is new.
    ///
    /// # Errors
    /// When the Secret cannot be written, or somebody else wrote it since it was read.
    pub async fn record(&self, step: StepId, entry: Entry) -> Result<()> {
        self.change(|inventory| inventory.steps.entry(step).or_default().absorb(entry)).await
    }

    /// Takes objects and releases (`namespace/name`) out that are gone, and steps that have none left and are not in the
    /// pipeline any more.
    ///
    /// # Errors
    /// As [`InventoryStore::record`].
    pub async fn forget(
        &self,
        gone: &BTreeSet<ObjectRef>,
        releases: &BTreeSet<String>,
        keep: impl Fn(&StepId) -> bool,
    ) -> Result<()> {
        let is_gone = |object: &ObjectRef| gone.iter().any(|other| object.is_same(other));
        self.change(|inventory| {
            for entry in inventory.steps.values_mut() {
                entry.objects.retain(|object| !is_gone(object));
                entry.created.retain(|object| !is_gone(object));
                entry.releases.retain(|release| !releases.contains(release));
            }
            let is_empty = |entry: &Entry| entry.objects.is_empty() && entry.releases.is_empty();
            inventory.steps.retain(|step, entry| keep(step) || !is_empty(entry));
        })
        .await
    }

    /// Says who is changing something now.
    ///
    /// # Errors
    /// As [`InventoryStore::record`].
    pub async fn begin(&self, run: LastRun) -> Result<()> {
        self.change(|inventory| inventory.last_run = Some(run)).await
    }

    /// Deletes the inventory: nothing of the pipeline is left.
    ///
    /// # Errors
    /// When the Secret cannot be deleted.
    pub async fn remove(&self) -> Result<()> {
        self.cluster.delete(&self.reference).await.map(|_| ())
    }

    async fn change(&self, change: impl FnOnce(&mut Inventory)) -> Result<()> {
        let mut state = self.state.lock().await;
        let mut inventory = state.inventory.clone();
        change(&mut inventory);
        if inventory == state.inventory {
            return Ok(());
        }
        let secret = encode(&self.reference, &inventory);
        let written = persist(self.cluster.as_ref(), &secret, state.secret.as_ref()).await?;
        *state = State { inventory, secret: Some(written) };
        Ok(())
    }
}

fn encode(reference: &ObjectRef, inventory: &Inventory) -> Object {
    let text = serde_json::to_vec(inventory).expect("an inventory is plain data");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "meshrun.dev/inventory",
        "metadata": {
            "name": reference.name,
            "namespace": reference.namespace,
            "labels": { "app.kubernetes.io/managed-by": "meshrun", "meshrun.dev/pipeline": inventory.pipeline },
        },
        "data": { KEY: STANDARD.encode(text) },
    });
    Object::new(secret).expect("it has kind and name")
}

fn decode(secret: &Object) -> Result<Inventory> {
    let damaged = |what: String| {
        ClusterError::new(
            format!("read the inventory in {secret}"),
            ErrorKind::Other,
            format!("it is damaged: {what}"),
        )
    };
    let bytes =
        STANDARD.decode(secret.text(&format!("/data/{KEY}"))).map_err(|error| damaged(error.to_string()))?;
    let inventory: Inventory = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if inventory.version > VERSION {
        let message = format!("it was written by a newer meshrun (record version {})", inventory.version);
        return Err(ClusterError::new(format!("read the inventory in {secret}"), ErrorKind::Other, message));
    }
    Ok(inventory)
}
