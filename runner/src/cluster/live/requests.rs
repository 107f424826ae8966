//! Reading and writing objects: plain requests with JSON bodies.

use http::{Method, Request};
use kube::core::Status;
use meshrun_protocol::{ListQuery, ObjectRef};
use serde_json::Value;

use super::{
    Live,
    discovery::Resource,
    failure::failure,
    send::{self, Repeat},
};
use crate::cluster::{ApplyOptions, ClusterError, ErrorKind, Object, Result};

/// Objects that one answer of a list holds at most, as in kubectl. A limit also keeps the first list of a new CRD from
/// being refused for a second (`storage is (re)initializing`): with one, the server reads past its empty cache.
const PAGE: usize = 500;
impl Live {
    pub(super) async fn read(&self, object: &ObjectRef) -> Result<Option<Object>> {
        let doing = format!("get {object}");
        let Some(resource) = self.discovery.resource(&self.client, &object.api_version, &object.kind).await?
        else {
            return Ok(None);
        };
        match self.send(&doing, Method::GET, &path(&resource, object), None, Repeat::Safe).await {
            Ok(value) => Ok(Some(whole(&doing, value)?)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_objects(&self, query: &ListQuery) -> Result<Vec<Object>> {
        let doing = format!("list {} of {}", query.kind, query.api_version);
        let Some(resource) = self.discovery.resource(&self.client, &query.api_version, &query.kind).await?
        else {
            return Ok(Vec::new());
        };
        let mut target = format!("{}?limit={PAGE}", collection(&resource, query.namespace.as_deref()));
        if let Some(labels) = &query.labels {
            target.push_str("&labelSelector=");
            target.push_str(&encoded(labels));
        }
        let mut objects = Vec::new();
        let mut page = target.clone();
        loop {
            let mut list = self.send(&doing, Method::GET, &page, None, Repeat::Safe).await?;
            if let Value::Array(items) = list["items"].take() {
                for mut item in items {
                    // Items of a list carry neither; the list says it for all of them.
                    item["apiVersion"] = query.api_version.clone().into();
                    item["kind"] = query.kind.clone().into();
                    objects.push(whole(&doing, item)?);
                }
            }
            match list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => page = format!("{target}&continue={}", encoded(token)),
                None => break,
            }
        }
        objects.sort_by_cached_key(Object::reference);
        Ok(objects)
    }

    pub(super) async fn server_side_apply(&self, object: &Object, options: &ApplyOptions) -> Result<Object> {
        let reference = object.reference();
        let doing = format!("apply {reference}");
        let resource = self.served(&doing, &reference).await?;
        let force = if options.force { "&force=true" } else { "" };
        let dry_run = if options.dry_run { "&dryRun=All" } else { "" };
        let target = format!(
            "{}?fieldManager={}&fieldValidation=Strict{force}{dry_run}",
            path(&resource, &reference),
            encoded(&options.manager),
        );
        let request = (Some(object.json()), "application/apply-patch+yaml");
        whole(&doing, self.send_as(&doing, Method::PATCH, &target, request, Repeat::Safe).await?)
    }

    pub(super) async fn post(&self, object: &Object) -> Result<Object> {
        let reference = object.reference();
        let doing = format!("create {reference}");
        let resource = self.served(&doing, &reference).await?;
        let target =
            format!("{}?fieldManager=meshrun", collection(&resource, reference.namespace.as_deref()));
        whole(&doing, self.send(&doing, Method::POST, &target, Some(object.json()), Repeat::Never).await?)
    }

    pub(super) async fn put(&self, object: &Object) -> Result<Object> {
        let reference = object.reference();
        let doing = format!("replace {reference}");
        let resource = self.served(&doing, &reference).await?;
        let target = format!("{}?fieldManager=meshrun", path(&resource, &reference));
        whole(&doing, self.send(&doing, Method::PUT, &target, Some(object.json()), Repeat::Never).await?)
    }

    pub(super) async fn merge_patch(
        &self,
        object: &ObjectRef,
        patch: &Value,
        subresource: Option<&str>,
    ) -> Result<Object> {
        let doing = format!("patch {object}");
        let resource = self.served(&doing, object).await?;
        let subresource = subresource.map(|name| format!("/{name}")).unwrap_or_default();
        let target = format!("{}{subresource}?fieldManager=meshrun", path(&resource, object));
        let request = (Some(patch), "application/merge-patch+json");
        whole(&doing, self.send_as(&doing, Method::PATCH, &target, request, Repeat::Safe).await?)
    }

    pub(super) async fn remove(&self, object: &ObjectRef) -> Result<bool> {
        let doing = format!("delete {object}");
        let Some(resource) = self.discovery.resource(&self.client, &object.api_version, &object.kind).await?
        else {
            return Ok(false);
        };
        let target = format!("{}?propagationPolicy=Background", path(&resource, object));
        match self.send(&doing, Method::DELETE, &target, None, Repeat::Safe).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn served(&self, doing: &str, object: &ObjectRef) -> Result<Resource> {
        self.discovery.resource(&self.client, &object.api_version, &object.kind).await?.ok_or_else(|| {
            let message =
                format!("the server does not have the API {}, kind {}", object.api_version, object.kind);
            ClusterError::new(doing, ErrorKind::NotServed, message)
        })
    }

    async fn send(
        &self,
        doing: &str,
        method: Method,
        target: &str,
        body: Option<&Value>,
        repeat: Repeat,
    ) -> Result<Value> {
        self.send_as(doing, method, target, (body, "application/json"), repeat).await
    }

    async fn send_as(
        &self,
        doing: &str,
        method: Method,
        target: &str,
        (body, content_type): (Option<&Value>, &str),
        repeat: Repeat,
    ) -> Result<Value> {
        let mut request = send::built(
            doing,
            Request::builder().method(method).uri(target).header(http::header::CONTENT_TYPE, content_type),
        )?;
        *request.body_mut() = body.map(Value::to_string).unwrap_or_default().into_bytes();
        send::send(&self.client, doing, request, repeat).await
    }
}

fn collection(resource: &Resource, namespace: Option<&str>) -> String {
    match (resource.scope, namespace) {
        (crate::cluster::Scope::Namespaced, Some(namespace)) => {
            format!("{}/namespaces/{namespace}/{}", resource.base, resource.plural)
        }
        _ => format!("{}/{}", resource.base, resource.plural),
    }
}

fn path(resource: &Resource, object: &ObjectRef) -> String {
    format!("{}/{}", collection(resource, object.namespace.as_deref()), object.name)
}

/// Percent-encodes a query value.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Reads an answer as an object; a `Status` (what a delete may answer) is an object of sorts without a name.
fn whole(doing: &str, value: Value) -> Result<Object> {
    if value["kind"] == "Status"
        && let Ok(status) = serde_json::from_value::<Status>(value.clone())
        && status.code >= 400
    {
        return Err(failure(doing, kube::Error::Api(status.boxed())));
    }
    Object::new(value).map_err(|missing| {
        ClusterError::new(doing, ErrorKind::Other, format!("the server's answer {missing}"))
    })
}
