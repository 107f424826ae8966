//! The inventory: which step made which objects, kept in a Secret and written *before* the objects are, so that a
//! crash leaves no orphan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use meshrun_protocol::{ListQuery, ObjectRef};
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
/// Type of the Secret.
const TYPE: &str = "meshrun.dev/inventory";
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
    /// Steps it needed, directly or through others.
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
    /// Adds what a step makes. What a step made that is not in the pipeline any more, as `keep` says, and this one makes
    /// now has moved: it is taken from there.
    pub fn add(&mut self, step: &StepId, mut entry: Entry, keep: impl Fn(&StepId) -> bool) {
        for (id, other) in self.steps.iter_mut().filter(|(id, _)| *id != step) {
            if keep(id) {
                continue;
            }
            let moves = |object: &ObjectRef| entry.objects.iter().any(|mine| mine.is_same(object));
            let created: Vec<ObjectRef> = other.created.iter().filter(|made| moves(made)).cloned().collect();
            other.objects.retain(|object| !moves(object));
            other.created.retain(|object| !moves(object));
            other.releases.retain(|release| !entry.releases.contains(release));
            entry.created.extend(created);
        }
        self.steps.retain(|id, other| keep(id) || id == step || !other.is_empty());
        self.steps.entry(step.clone()).or_default().absorb(entry);
    }

    /// Keeps some of the objects and releases of all steps.
    fn retain(&mut self, object: impl Fn(&ObjectRef) -> bool, release: impl Fn(&String) -> bool) {
        for entry in self.steps.values_mut() {
            entry.objects.retain(&object);
            entry.created.retain(&object);
            entry.releases.retain(&release);
        }
    }

    /// Whether an object is one that a step made, maybe seen in another version of its API.
    pub fn holds(&self, object: &Object) -> bool {
        self.names(&object.reference())
    }

    /// As [`Inventory::holds`], for an object by its name.
    pub fn names(&self, object: &ObjectRef) -> bool {
        let mut all = self.steps.values().flat_map(|entry| &entry.objects);
        all.any(|made| made.is_same(object))
    }
}

impl Entry {
    /// Whether there is nothing to take away.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.releases.is_empty()
    }

    /// Adds what another entry of the same step has; its plugin and needs are the newer ones.
    fn absorb(&mut self, newer: Self) {
        self.uses = newer.uses;
        self.needs = newer.needs;
        // An object that was there before stays one that was there before.
        let known = |object: &ObjectRef| self.objects.iter().any(|made| made.is_same(object));
        let fresh: Vec<ObjectRef> = newer.created.into_iter().filter(|object| !known(object)).collect();
        self.created.extend(fresh);
        // One that is applied in another version of its API is the same.
        let old = |object: &ObjectRef| newer.objects.iter().any(|one| one != object && one.is_same(object));
        self.objects.retain(|object| !old(object));
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
    /// What was recorded since it was read.
    recorded: Inventory,
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
        let recorded = Inventory::empty(pipeline);
        Ok(Self { cluster, reference, state: Mutex::new(State { inventory, recorded, secret }) })
    }

    /// Returns a copy of what is recorded.
    pub async fn snapshot(&self) -> Inventory {
        self.state.lock().await.inventory.clone()
    }

    /// Adds what a step is about to make, see [`Inventory::add`]; writes only where something is new.
    ///
    /// # Errors
    /// When the Secret cannot be written, or somebody else wrote it since it was read.
    pub async fn record(&self, step: &StepId, entry: Entry, keep: impl Fn(&StepId) -> bool) -> Result<()> {
        self.state.lock().await.recorded.add(step, entry.clone(), |_| true);
        self.change(|inventory| inventory.add(step, entry, keep)).await
    }

    /// Returns what was recorded since the inventory was read.
    pub async fn recorded(&self) -> Inventory {
        self.state.lock().await.recorded.clone()
    }

    /// Takes objects out that are gone.
    ///
    /// # Errors
    /// As [`InventoryStore::record`].
    pub async fn forget(&self, gone: &BTreeSet<ObjectRef>) -> Result<()> {
        self.change(|inventory| inventory.retain(|object| !is_among(object, gone), |_| true)).await
    }

    /// Takes objects and releases (`namespace/name`) out that left the pipeline, and steps that have none left and are not
    /// in it any more, as `keep` says.
    ///
    /// # Errors
    /// As [`InventoryStore::record`].
    pub async fn forget_pruned(
        &self,
        gone: &BTreeSet<ObjectRef>,
        releases: &BTreeSet<String>,
        keep: impl Fn(&StepId) -> bool,
    ) -> Result<()> {
        self.change(|inventory| {
            inventory.retain(|object| !is_among(object, gone), |release| !releases.contains(release));
            inventory.steps.retain(|step, entry| keep(step) || !entry.is_empty());
        })
        .await
    }

    /// Forgets everything but these objects, and all releases.
    ///
    /// # Errors
    /// As [`InventoryStore::record`].
    pub async fn keep_only(&self, left: &BTreeSet<ObjectRef>) -> Result<()> {
        self.change(|inventory| {
            inventory.retain(|object| is_among(object, left), |_| false);
            inventory.steps.retain(|_, entry| !entry.is_empty());
        })
        .await
    }

    /// Names the Secret that holds the inventory.
    pub fn reference(&self) -> &ObjectRef {
        &self.reference
    }

    /// Reads the inventories of all pipelines but one, where that is allowed.
    ///
    /// # Errors
    /// When the Secrets cannot be listed, or one is damaged.
    pub async fn others(cluster: &dyn Cluster, pipeline: &str) -> Result<Vec<Inventory>> {
        let query = ListQuery {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: None,
            labels: Some("app.kubernetes.io/managed-by=meshrun,meshrun.dev/pipeline".into()),
        };
        let secrets = cluster.list(&query).await?;
        let inventories = secrets.iter().filter(|secret| secret.json()["type"] == TYPE).map(decode);
        let others =
            inventories.filter(|inventory| !matches!(inventory, Ok(one) if one.pipeline == pipeline));
        others.collect()
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
        state.inventory = inventory;
        state.secret = Some(written);
        Ok(())
    }
}

/// Whether an object is one of these, maybe in another version of its API.
fn is_among(object: &ObjectRef, objects: &BTreeSet<ObjectRef>) -> bool {
    objects.iter().any(|other| object.is_same(other))
}

fn encode(reference: &ObjectRef, inventory: &Inventory) -> Object {
    let text = serde_json::to_vec(inventory).expect("an inventory is plain data");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(version: &str) -> ObjectRef {
        ObjectRef::namespaced(format!("networking.istio.io/{version}"), "Gateway", "mesh", "default")
    }

    fn entry(version: &str, created: bool) -> Entry {
        Entry {
            objects: [gateway(version)].into(),
            created: created.then(|| gateway(version)).into_iter().collect(),
            releases: ["mesh/istio-gateway".to_owned()].into(),
            ..Entry::default()
        }
    }

    #[test]
    fn step_under_another_name_takes_over_what_the_old_one_made() {
        let (old, new) = (StepId::new("gateway"), StepId::new("ingress"));
        let mut inventory = Inventory::empty("test");
        inventory.add(&old, entry("v1beta1", true), |_| true);
        inventory.add(&new, entry("v1beta1", false), |id| *id == new);
        assert_eq!(inventory.steps.keys().collect::<Vec<_>>(), [&new]);
        // That meshrun made it is not forgotten on the way.
        assert_eq!(inventory.steps[&new].created, [gateway("v1beta1")].into());
    }

    #[test]
    fn steps_of_the_pipeline_may_share_an_object() {
        let (one, other) = (StepId::new("one"), StepId::new("other"));
        let mut inventory = Inventory::empty("test");
        inventory.add(&one, entry("v1", true), |_| true);
        let before = inventory.clone();
        inventory.add(&other, entry("v1", false), |_| true);
        inventory.add(&one, entry("v1", false), |_| true);
        assert_eq!(inventory.steps[&one], before.steps[&one]);
        assert_eq!(inventory.steps[&other].objects.len(), 1);
    }

    #[test]
    fn object_in_another_version_of_its_api_is_the_same() {
        let step = StepId::new("gateway");
        let mut inventory = Inventory::empty("test");
        inventory.add(&step, entry("v1beta1", false), |_| true);
        inventory.add(&step, entry("v1", true), |_| true);
        assert_eq!(inventory.steps[&step].objects, [gateway("v1")].into());
        // It was there before meshrun was, and still is.
        assert!(inventory.steps[&step].created.is_empty());
    }
}
