//! What helm writes on the objects of a release, so that it knows them again.

use serde_json::{Map, Value};

use crate::cluster::Object;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Marks an object of the manifest (not of `crds/`, no hook) as part of a release, as helm does.
pub fn adopt(object: &mut Object, release: &str, namespace: &str) {
    set(object, "labels", MANAGED_BY, "Helm");
    set(object, "annotations", RELEASE_NAME, release);
    set(object, "annotations", RELEASE_NAMESPACE, namespace);
}

/// Name and namespace of the release that an object says it belongs to.
pub fn owner(object: &Object) -> Option<(&str, &str)> {
    if object.label(MANAGED_BY) != Some("Helm") {
        return None;
    }
    Some((object.annotation(RELEASE_NAME)?, object.annotation(RELEASE_NAMESPACE)?))
}

/// Whether an object stays when it leaves its release or the release is removed.
pub fn is_kept(object: &Object) -> bool {
    object
        .annotation("helm.sh/resource-policy")
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

fn set(object: &mut Object, field: &str, key: &str, value: &str) {
    let Some(metadata) = object.json_mut()["metadata"].as_object_mut() else { return };
    let entries = metadata.entry(field).or_insert_with(|| Map::new().into());
    if let Value::Object(entries) = entries {
        entries.insert(key.into(), value.into());
    }
}
