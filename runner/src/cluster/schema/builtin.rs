//! The built-in APIs, and the check of an object against its Kubernetes type.
//!
//! The types forgive much: they drop fields they do not know and fill in required ones. So the object is decoded,
//! encoded again and compared: what is gone was unknown, what is new was missing.

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope, Resource,
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
        autoscaling::v2 as autoscaling_v2, batch::v1 as batch, certificates::v1 as certificates,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
        flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
        rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{Api, SchemaError, expected, nearest, path::Path, quantity, unknown_field};
use crate::cluster::Scope;

/// A built-in API.
pub(super) struct BuiltIn {
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
    /// Compares an object with the Kubernetes type.
    pub(super) check: fn(&Value) -> Vec<SchemaError>,
}

impl BuiltIn {
    const fn of<T: Resource + DeserializeOwned + Serialize>() -> Self
    where
        T::Scope: Placed,
    {
        Self {
            api_version: T::API_VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
            scope: T::Scope::SCOPE,
            check: check::<T>,
        }
    }

    pub(super) fn api(&self) -> Api<'static> {
        let &Self { api_version, kind, plural, scope, .. } = self;
        Api { api_version, kind, plural, scope, custom: false }
    }
}

trait Placed {
    const SCOPE: Scope;
}

impl Placed for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

impl Placed for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

/// The APIs that every supported Kubernetes serves and whose objects are kept.
pub(super) static APIS: &[BuiltIn] = &[
    BuiltIn::of::<core::ConfigMap>(),
    BuiltIn::of::<core::Endpoints>(),
    BuiltIn::of::<core::Event>(),
    BuiltIn::of::<core::LimitRange>(),
    BuiltIn::of::<core::Namespace>(),
    BuiltIn::of::<core::Node>(),
    BuiltIn::of::<core::PersistentVolume>(),
    BuiltIn::of::<core::PersistentVolumeClaim>(),
    BuiltIn::of::<core::Pod>(),
    BuiltIn::of::<core::PodTemplate>(),
    BuiltIn::of::<core::ReplicationController>(),
    BuiltIn::of::<core::ResourceQuota>(),
    BuiltIn::of::<core::Secret>(),
    BuiltIn::of::<core::Service>(),
    BuiltIn::of::<core::ServiceAccount>(),
    BuiltIn::of::<admission::MutatingWebhookConfiguration>(),
    BuiltIn::of::<admission::ValidatingAdmissionPolicy>(),
    BuiltIn::of::<admission::ValidatingAdmissionPolicyBinding>(),
    BuiltIn::of::<admission::ValidatingWebhookConfiguration>(),
    BuiltIn::of::<apiextensions::CustomResourceDefinition>(),
    BuiltIn::of::<apiregistration::APIService>(),
    BuiltIn::of::<apps::ControllerRevision>(),
    BuiltIn::of::<apps::DaemonSet>(),
    BuiltIn::of::<apps::Deployment>(),
    BuiltIn::of::<apps::ReplicaSet>(),
    BuiltIn::of::<apps::StatefulSet>(),
    BuiltIn::of::<autoscaling_v1::HorizontalPodAutoscaler>(),
    BuiltIn::of::<autoscaling_v2::HorizontalPodAutoscaler>(),
    BuiltIn::of::<batch::CronJob>(),
    BuiltIn::of::<batch::Job>(),
    BuiltIn::of::<certificates::CertificateSigningRequest>(),
    BuiltIn::of::<coordination::Lease>(),
    BuiltIn::of::<discovery::EndpointSlice>(),
    BuiltIn::of::<events::Event>(),
    BuiltIn::of::<flowcontrol::FlowSchema>(),
    BuiltIn::of::<flowcontrol::PriorityLevelConfiguration>(),
    BuiltIn::of::<networking::Ingress>(),
    BuiltIn::of::<networking::IngressClass>(),
    BuiltIn::of::<networking::IPAddress>(),
    BuiltIn::of::<networking::NetworkPolicy>(),
    BuiltIn::of::<networking::ServiceCIDR>(),
    BuiltIn::of::<node::RuntimeClass>(),
    BuiltIn::of::<policy::PodDisruptionBudget>(),
    BuiltIn::of::<rbac::ClusterRole>(),
    BuiltIn::of::<rbac::ClusterRoleBinding>(),
    BuiltIn::of::<rbac::Role>(),
    BuiltIn::of::<rbac::RoleBinding>(),
    BuiltIn::of::<scheduling::PriorityClass>(),
    BuiltIn::of::<storage::CSIDriver>(),
    BuiltIn::of::<storage::CSINode>(),
    BuiltIn::of::<storage::CSIStorageCapacity>(),
    BuiltIn::of::<storage::StorageClass>(),
    BuiltIn::of::<storage::VolumeAttachment>(),
];

/// Returns a built-in API.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static BuiltIn> {
    APIS.iter().find(|api| api.kind == kind && api.api_version == api_version)
}

/// Checks the `metadata` of an object of any kind.
pub(super) fn check_metadata(metadata: &Value) -> Vec<SchemaError> {
    compare::<ObjectMeta>(metadata, &Path::default().field("metadata"))
}

fn check<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<SchemaError> {
    compare::<T>(object, &Path::default())
}

fn compare<T: DeserializeOwned + Serialize>(value: &Value, at: &Path) -> Vec<SchemaError> {
    let decoded: T = match serde_path_to_error::deserialize(value) {
        Ok(decoded) => decoded,
        Err(error) => return vec![type_error(value, at, &error)],
    };
    let mut errors = Vec::new();
    // A type that cannot be written again has nothing to compare with.
    if let Ok(encoded) = serde_json::to_value(&decoded) {
        differences(value, &encoded, at, &mut errors);
    }
    quantity::wrong(value, at, &mut errors);
    errors
}

/// Puts the decoder's error into the words of all other schema errors, with the value that it stumbled over.
fn type_error(
    value: &Value,
    at: &Path,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> SchemaError {
    let mut path = at.clone();
    let mut found = Some(value);
    for segment in error.path() {
        match segment {
            Segment::Map { key } => {
                path = path.field(key);
                found = found.and_then(|value| value.get(key));
            }
            Segment::Seq { index } => {
                path = path.index(*index);
                found = found.and_then(|value| value.get(index));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let text = error.inner().to_string();
    match (text.strip_prefix("invalid type: ").and_then(|text| text.split_once(", expected ")), found) {
        (Some((_, wanted)), Some(found)) => SchemaError::new(&path, expected(type_name(wanted), found)),
        _ => SchemaError::new(&path, text),
    }
}

fn type_name(decoder: &str) -> &str {
    match decoder {
        "a string" => "string",
        "a boolean" => "boolean",
        "i32" | "i64" | "u32" | "u64" => "integer",
        "f64" => "number",
        "a sequence" => "list",
        "Quantity" => "quantity",
        "IntOrString" | "i32 or string" => "integer or string",
        _ => "object",
    }
}

fn differences(given: &Value, encoded: &Value, path: &Path, errors: &mut Vec<SchemaError>) {
    match (given, encoded) {
        (Value::Object(given), Value::Object(encoded)) => {
            let missing: Vec<&str> = encoded
                .keys()
                .map(String::as_str)
                .filter(|name| !given.contains_key(*name) && *name != "status")
                .collect();
            let mut meant = Vec::new();
            for (name, value) in given {
                match encoded.get(name) {
                    Some(encoded) => differences(value, encoded, &path.field(name), errors),
                    None => {
                        let nearest = nearest(name, missing.iter().copied());
                        meant.extend(nearest);
                        errors.push(SchemaError::new(&path.field(name), unknown_field(nearest)));
                    }
                }
            }
            for name in missing.iter().filter(|name| !meant.contains(name)) {
                errors.push(SchemaError::new(&path.field(name), "required field is missing"));
            }
        }
        (Value::Array(given), Value::Array(encoded)) => {
            for (index, (given, encoded)) in given.iter().zip(encoded).enumerate() {
                differences(given, encoded, &path.index(index), errors);
            }
        }
        _ => {}
    }
}
