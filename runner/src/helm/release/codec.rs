//! The Secret that holds a revision: helm's labels, and the revision as JSON, zipped, in base64 twice.

use std::io::{Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use meshrun_protocol::ObjectRef;
use serde_json::{Map, Value, json};

use super::{Release, Status};
use crate::{cluster::Object, helm::HelmError};

/// Labels that belong to helm; all others are people's.
const SYSTEM_LABELS: &[&str] = &["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Largest record that is read, unpacked: a Secret holds 1 MiB.
const MAX_SIZE: u64 = 64 << 20;

/// A revision and the Secret it was read from.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The revision.
    pub release: Release,
    /// The Secret, as the cluster has it.
    pub secret: Object,
}

impl Stored {
    /// Reads a record.
    ///
    /// # Errors
    /// Where the Secret is no record of a release that meshrun can read.
    pub fn decode(secret: Object) -> Result<Self, HelmError> {
        let release = decode(&secret)
            .map_err(|problem| HelmError::Record { secret: secret.reference().to_string(), problem })?;
        Ok(Self { release, secret })
    }

    /// Reads the newest of the records of one release.
    ///
    /// # Errors
    /// Where it cannot be read; older ones are not looked into.
    pub fn latest(secrets: Vec<Object>) -> Result<Option<Self>, HelmError> {
        secrets.into_iter().filter(is_record).max_by_key(revision).map(Self::decode).transpose()
    }

    /// Reads the newest revision of one release, and after it older ones that still count as deployed: none, unless a
    /// helm was killed or failed on the way.
    ///
    /// # Errors
    /// Where one cannot be read; those before are not looked into.
    pub fn current(secrets: Vec<Object>) -> Result<Vec<Self>, HelmError> {
        let mut records: Vec<Object> = secrets.into_iter().filter(is_record).collect();
        records.sort_by_key(|secret| std::cmp::Reverse(revision(secret)));
        let deployed = |secret: &Object| secret.label("status") == Some(Status::Deployed.as_str());
        let current = records.into_iter().enumerate().filter(|(index, one)| *index == 0 || deployed(one));
        current.map(|(_, secret)| Self::decode(secret)).collect()
    }

    /// Records that helm would remove to keep `keep` of a release, oldest first; the deployed one always stays.
    pub fn expired(secrets: &[Object], keep: usize) -> Vec<ObjectRef> {
        let mut records: Vec<_> = secrets.iter().filter(|secret| is_record(secret)).collect();
        records.sort_by_key(|secret| revision(secret));
        let surplus = records.len().saturating_sub(keep);
        records
            .into_iter()
            .filter(|secret| secret.label("status") != Some(Status::Deployed.as_str()))
            .take(surplus)
            .map(Object::reference)
            .collect()
    }

    /// The Secret after the revision was given a status; to be replaced, so that a change in between is noticed.
    pub fn with_status(&self, status: Status, now: Timestamp) -> Object {
        let mut release = self.release.clone();
        release.info.status = status;
        let mut secret = release.secret();
        label(&mut secret, "modifiedAt", &now.as_second().to_string());
        if let Some(version) = self.secret.at("/metadata/resourceVersion") {
            secret.json_mut()["metadata"]["resourceVersion"] = version.clone();
        }
        secret
    }
}

impl Release {
    /// Returns the Secret that records this revision, to be created.
    pub fn encode(&self, now: Timestamp) -> Object {
        let mut secret = self.secret();
        label(&mut secret, "createdAt", &now.as_second().to_string());
        secret
    }

    fn secret(&self) -> Object {
        let mut labels: Map<_, _> =
            self.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        for (key, value) in [
            ("name", self.name.as_str()),
            ("owner", "helm"),
            ("status", self.info.status.as_str()),
            ("version", &self.version.to_string()),
        ] {
            labels.insert(key.into(), value.into());
        }
        Object::new(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret_name(&self.name, self.version),
                "namespace": self.namespace,
                "labels": labels,
            },
            "type": "helm.sh/release.v1",
            // helm's own base64, then that of every Secret.
            "data": { "release": STANDARD.encode(STANDARD.encode(self.zipped())) },
        }))
        .expect("it has apiVersion, kind and a name")
    }

    fn zipped(&self) -> Vec<u8> {
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        serde_json::to_writer(&mut zip, self).expect("a release is JSON, and a Vec takes it");
        zip.flush().and_then(|()| zip.finish()).expect("a Vec takes every byte")
    }
}

/// Name of the Secret of a revision.
pub(super) fn secret_name(release: &str, version: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{version}")
}

fn decode(secret: &Object) -> Result<Release, String> {
    let data = secret.at("/data/release").and_then(Value::as_str).ok_or("it has no data named release")?;
    let inner = STANDARD.decode(data).map_err(|error| format!("its data is no base64: {error}"))?;
    let zipped =
        STANDARD.decode(inner.trim_ascii()).map_err(|error| format!("its data is no base64: {error}"))?;
    // Records of old helm versions are not zipped.
    let text = if zipped.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut text = Vec::new();
        GzDecoder::new(zipped.as_slice())
            .take(MAX_SIZE)
            .read_to_end(&mut text)
            .map_err(|error| format!("its data cannot be unzipped: {error}"))?;
        text
    } else {
        zipped
    };
    let mut release: Release =
        serde_json::from_slice(&text).map_err(|error| format!("its data is no release: {error}"))?;
    if release.namespace.is_empty() {
        release.namespace = secret.namespace().unwrap_or_default().into();
    }
    release.labels = secret.json()["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !SYSTEM_LABELS.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    Ok(release)
}

fn is_record(secret: &Object) -> bool {
    secret.label("owner") == Some("helm") && secret.name().starts_with("sh.helm.release.v1.")
}

fn revision(secret: &Object) -> u32 {
    secret.label("version").and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn label(secret: &mut Object, key: &str, value: &str) {
    secret.json_mut()["metadata"]["labels"][key] = value.into();
}
