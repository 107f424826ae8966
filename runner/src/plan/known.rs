//! What is known of APIs while planning: those the cluster serves, and those that the charts of the plan will bring.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::cluster::{
    Cluster, Object, Result, Scope,
    schema::{SchemaError, Schemas},
};

/// The APIs of a cluster, and of the CRDs planned so far.
pub(crate) struct KnownApis {
    cluster: Arc<dyn Cluster>,
    planned: Mutex<Planned>,
    versions: OnceCell<Vec<String>>,
}

/// The CRDs planned so far; read only when somebody asks, which a repeated run never does.
#[derive(Default)]
struct Planned {
    unread: Vec<Object>,
    schemas: Schemas,
}

impl Planned {
    fn schemas(&mut self) -> &Schemas {
        for crd in std::mem::take(&mut self.unread) {
            self.schemas.add_crd(&crd);
        }
        &self.schemas
    }
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
        let crds = objects.filter(|object| object.kind() == "CustomResourceDefinition").cloned();
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).unread.extend(crds);
    }

    /// Every API that the cluster served when it was first asked.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub(crate) async fn versions(&self) -> Result<Vec<String>> {
        self.versions.get_or_try_init(|| self.cluster.api_versions()).await.cloned()
    }

    /// Whether the schema of a kind is known: built in, or of a planned CRD.
    pub(crate) fn has_schema(&self, api_version: &str, kind: &str) -> bool {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.schemas().scope(api_version, kind).is_some()
    }

    /// Says what is wrong with an object, by the types of the built-in kinds and the schemas of the planned CRDs.
    pub(crate) fn validate(&self, object: &Object) -> Vec<SchemaError> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).schemas().validate(object)
    }

    /// Says where objects of a kind live and whether that is so now or later; `None` where nobody has the API.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub(crate) async fn find(&self, api_version: &str, kind: &str) -> Result<Option<(Scope, Origin)>> {
        if let Some(scope) = self.cluster.scope(api_version, kind).await? {
            return Ok(Some((scope, Origin::Served)));
        }
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = planned.schemas().api(api_version, kind).filter(|api| api.custom);
        Ok(planned.map(|api| (api.scope, Origin::Planned)))
    }
}
