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

use super::object_name;
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
    /// By step.
    pub steps: BTreeMap<StepId, Entry>,
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Objects it applied.
    #[serde(default)]
    pub objects: BTreeSet<ObjectRef>,
    /// Helm releases it recorded, as `namespace/name`.
    #[serde(default)]
    pub releases: BTreeSet<String>,
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
            None => Inventory { version: VERSION, pipeline: pipeline.into(), steps: BTreeMap::new() },
        };
        Ok(Self { cluster, reference, state: Mutex::new(State { inventory, secret }) })
    }

    /// Returns a copy of what is recorded.
    pub async fn snapshot(&self) -> Inventory {
        self.state.lock().await.inventory.clone()
    }

    /// Adds what steps are about to make; writes only where something is new.
    ///
    /// # Errors
    /// When the Secret cannot be written, or somebody else wrote it since it was read.
    pub async fn record(&self, entries: impl IntoIterator<Item = (StepId, Entry)>) -> Result<()> {
        let mut state = self.state.lock().await;
        let mut inventory = state.inventory.clone();
        for (step, entry) in entries {
            let known = inventory.steps.entry(step).or_default();
            known.objects.extend(entry.objects);
            known.releases.extend(entry.releases);
        }
        if inventory == state.inventory {
            return Ok(());
        }
        let secret = encode(&self.reference, &inventory, state.secret.as_ref());
        let written = match &state.secret {
            Some(_) => self.cluster.replace(&secret).await?,
            None => self.cluster.create(&secret).await?,
        };
        *state = State { inventory, secret: Some(written) };
        Ok(())
    }
}

fn encode(reference: &ObjectRef, inventory: &Inventory, previous: Option<&Object>) -> Object {
    let text = serde_json::to_vec(inventory).expect("an inventory is plain data");
    let mut secret = json!({
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
    if let Some(previous) = previous {
        secret["metadata"]["resourceVersion"] = json!(previous.resource_version());
    }
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
