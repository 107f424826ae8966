//! What may be deleted: everything, or what a plan showed and somebody agreed to.

use std::{collections::BTreeSet, sync::Arc};

use meshrun_protocol::ObjectRef;

/// What may be deleted, or deleted and created anew.
#[derive(Debug, Clone)]
pub enum Consent {
    /// Whatever the run comes to: `--yes`, or a cluster in memory.
    Everything,
    /// These objects and no others.
    Only(Arc<BTreeSet<ObjectRef>>),
}

impl Consent {
    /// Consent to these objects.
    pub fn only(objects: impl IntoIterator<Item = ObjectRef>) -> Self {
        Self::Only(Arc::new(objects.into_iter().collect()))
    }

    /// Whether an object may be deleted.
    pub fn covers(&self, object: &ObjectRef) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(objects) => objects.iter().any(|agreed| agreed.is_same(object)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_covers_what_was_shown_and_nothing_else() {
        let budget = |name: &str| ObjectRef::namespaced("policy/v1", "PodDisruptionBudget", "mesh", name);
        let agreed = Consent::only([budget("istiod")]);
        assert!(agreed.covers(&budget("istiod")));
        assert!(!agreed.covers(&budget("gateway")));
        assert!(Consent::Everything.covers(&budget("gateway")));
    }
}
