//! What is known of APIs while planning: those the cluster serves, and those that the charts of the plan will bring.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::cluster::{Cluster, Object, Result, Scope, schema::Schemas};

/// The APIs of a cluster, and of the CRDs planned so far.
pub(crate) struct KnownApis {
    cluster: Arc<dyn Cluster>,
    planned: Mutex<Planned>,
    versions: OnceCell<Vec<String>>,
}

#[derive(Default)]
struct Planned {
    crds: Vec<Object>,
    schemas: Arc<Schemas>,
}

/// Where an API comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The cluster serves it now.
    Served,
    /// A CRD of an earlier step brings it.
    Planned,
}

impl KnownApis {
    /// Starts with what the cluster serves.
    pub(crate) fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self { cluster, planned: Mutex::default(), versions: OnceCell::new() }
    }

    /// Adds the CRDs among some objects.
    pub(crate) fn learn<'a>(&self, objects: impl Iterator<Item = &'a Object>) {
        let new: Vec<Object> =
            objects.filter(|object| object.kind() == "CustomResourceDefinition").cloned().collect();
        if new.is_empty() {
            return;
        }
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.crds.extend(new);
        planned.schemas = Arc::new(Schemas::with_crds(planned.crds.iter()));
    }

    /// Every API that the cluster served when it was first asked.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub(crate) async fn versions(&self) -> Result<Vec<String>> {
        self.versions.get_or_try_init(|| self.cluster.api_versions()).await.cloned()
    }

    /// The schemas of the built-in kinds and of the planned CRDs.
    pub(crate) fn schemas(&self) -> Arc<Schemas> {
        Arc::clone(&self.planned.lock().unwrap_or_else(PoisonError::into_inner).schemas)
    }

    /// Says where objects of a kind live and whether that is so now or later; `None` where nobody has the API.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub(crate) async fn find(&self, api_version: &str, kind: &str) -> Result<Option<(Scope, Origin)>> {
        if let Some(scope) = self.cluster.scope(api_version, kind).await? {
            return Ok(Some((scope, Origin::Served)));
        }
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = planned.crds.iter().find_map(|crd| {
            let (group, version) = api_version.split_once('/')?;
            let matches = crd.text("/spec/group") == group
                && crd.text("/spec/names/kind") == kind
                && crd
                    .items("/spec/versions")
                    .iter()
                    .any(|one| one["name"] == version && one["served"] == true);
            matches.then(|| match crd.text("/spec/scope") {
                "Namespaced" => Scope::Namespaced,
                _ => Scope::Cluster,
            })
        });
        Ok(scope.map(|scope| (scope, Origin::Planned)))
    }
}
