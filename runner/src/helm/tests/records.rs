//! Helm's records of releases.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::helm::release::{self, Release, Status, Stored};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

async fn rendered() -> std::sync::Arc<crate::helm::Rendered> {
    let (helm, _cache) = helm(fixtures());
    let values = json!({ "autoscaling": { "minReplicas": 2 } });
    let gateway = action("istio-gateway", "gateway", "1.19.3", values);
    helm.render(&gateway, &kubernetes(), false).await.expect("the gateway renders")
}

#[tokio::test]
async fn a_record_reads_as_it_was_written() {
    let rendered = rendered().await;
    let first = Release::next(None, &rendered, NOW, "Install complete").expect("the chart is whole");
    let secret = first.encode(NOW);
    let mut shown = secret.json().clone();
    shown["data"] = json!("...");
    insta::assert_json_snapshot!(shown);

    let stored = Stored::decode(secret).expect("it is a record");
    assert_eq!(stored.release, first);
    assert!(stored.release.is_same(&rendered));
    assert_eq!(names(&stored.release.objects().expect("the manifest is YAML")), names(&rendered.objects));

    let mut shown = json!(first);
    for part in ["templates", "files"] {
        let files = shown["chart"][part].as_array().expect("a chart has files").clone();
        shown["chart"][part] = files.iter().map(|file| file["name"].clone()).collect();
    }
    shown["chart"]["schema"] = json!("...");
    shown["manifest"] = json!("...");
    insta::assert_json_snapshot!(shown);
}

#[tokio::test]
async fn the_next_revision_supersedes_the_one_before() {
    let rendered = rendered().await;
    let first = Release::next(None, &rendered, NOW, "Install complete").expect("the chart is whole");
    let mut secret = first.encode(NOW);
    secret.json_mut()["metadata"]["resourceVersion"] = json!("17");
    secret.json_mut()["metadata"]["labels"]["team"] = json!("mesh");
    let stored = Stored::decode(secret).expect("it is a record");

    let later = NOW + jiff::Span::new().minutes(5);
    let second =
        Release::next(Some(&stored.release), &rendered, later, "Upgrade complete").expect("it is whole");
    assert_eq!((second.version, second.info.first_deployed.as_str()), (2, "2023-11-14T22:13:20Z"));
    assert_eq!(second.info.last_deployed, "2023-11-14T22:18:20Z");
    assert_eq!(second.encode(later).label("team"), Some("mesh"));

    let superseded = stored.with_status(Status::Superseded, later);
    assert_eq!(superseded.resource_version(), "17");
    assert_eq!(superseded.label("status"), Some("superseded"));
    let superseded = Stored::decode(superseded).expect("it is a record");
    assert_eq!(superseded.release.info.status, Status::Superseded);
    assert_eq!(superseded.release.manifest, first.manifest);
    assert!(!superseded.release.is_same(&rendered));

    // Where a helm was killed before it said so, the older one still counts as deployed and is superseded with the rest.
    let current = |records: Vec<Object>| -> Vec<u32> {
        let current = Stored::current(records).expect("they are records");
        current.iter().map(|stored| stored.release.version).collect()
    };
    assert_eq!(current(vec![stored.secret.clone(), second.encode(later)]), [2, 1]);
    let records = vec![second.encode(later), superseded.secret];
    assert_eq!(current(records.clone()), [2]);
    assert_eq!(Stored::expired(&records, 1), [first.reference()]);
    let latest = Stored::latest(records).expect("it is a record").expect("there is one");
    assert_eq!(latest.release.version, 2);
}

/// Records made by `helm install` and `helm upgrade` of the gateway's stand-in.
const BY_HELM: [&str; 2] = [include_str!("record-helm-3.17.json"), include_str!("record-helm-4.3.json")];

#[tokio::test]
async fn takes_over_what_helm_deployed_without_a_new_revision() {
    for record in BY_HELM {
        let secret: Object = serde_json::from_str(record).expect("it is an object");
        let release = Stored::decode(secret).expect("it is a record").release;
        assert_eq!((release.name.as_str(), release.version), ("istio-gateway", 2));
        assert_eq!(
            (release.info.status, release.info.description.as_str()),
            (Status::Deployed, "Upgrade complete")
        );
        assert_eq!(release.config, json!({ "autoscaling": { "minReplicas": 3 } }));

        // The chart as it was then, out of the record.
        let mirror = tempfile::tempdir().expect("a temporary directory");
        let dir = mirror.path().join("gateway");
        fs_err::create_dir_all(dir.join("templates")).expect("it is made");
        let write = |name: &str, data: &[u8]| fs_err::write(dir.join(name), data).expect("it is written");
        write("Chart.yaml", release.chart["metadata"].to_string().as_bytes());
        write("values.yaml", release.chart["values"].to_string().as_bytes());
        for template in release.chart["templates"].as_array().expect("it has templates") {
            let data = STANDARD.decode(template["data"].as_str().expect("it is text")).expect("it is base64");
            write(template["name"].as_str().expect("it is text"), &data);
        }
        let (helm, _cache) = helm(mirror.path().into());
        let same = action("istio-gateway", "gateway", "1.19.3", release.config.clone());
        assert!(release.is_same(&helm.render(&same, &kubernetes(), true).await.expect("it renders")));
        let other =
            action("istio-gateway", "gateway", "1.19.3", json!({ "autoscaling": { "minReplicas": 4 } }));
        assert!(!release.is_same(&helm.render(&other, &kubernetes(), true).await.expect("it renders")));
    }
}

/// What helm 3 writes beside what meshrun writes: unknown fields, missing ones, null.
#[test]
fn reads_records_with_more_and_with_less() {
    let text = r#"{"name":"istiod","info":{"first_deployed":"2024-01-02T03:04:05.6+01:00","deleted":"",
        "status":"pending-upgrade","resources":{}},"chart":{"metadata":{"name":"istiod","version":"1.19.3"}},
        "hooks":null,"version":3,"sequence":"x"}"#;
    let record = Object::new(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "sh.helm.release.v1.istiod.v3", "namespace": "istio-system",
                      "labels": { "owner": "helm", "version": "3" } },
        "data": { "release": base64(&base64(text)) },
    }));
    let stored = Stored::decode(record.expect("it is an object")).expect("it is a record");
    assert_eq!(stored.release.namespace, "istio-system");
    assert!(stored.release.info.status.is_pending());
    let again = Stored::decode(stored.with_status(Status::Failed, NOW)).expect("it is a record");
    let json = json!(again.release);
    assert_eq!((&json["sequence"], &json["info"]["resources"]), (&json!("x"), &json!({})));
}

#[test]
fn says_what_is_wrong_with_a_record() {
    let record = |data: Value| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "sh.helm.release.v1.istiod.v1", "namespace": "istio-system" },
            "data": data,
        });
        let error =
            Stored::decode(Object::new(secret).expect("it is an object")).expect_err("it is no record");
        told(&error)
    };
    insta::assert_snapshot!(record(json!({})));
    insta::assert_snapshot!(record(json!({ "release": base64(&base64("{}")) })));
}

#[test]
fn marks_objects_as_helm_does() {
    let mut object = Object::new(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "a", "annotations": { "helm.sh/resource-policy": " Keep" } },
    }))
    .expect("it is an object");
    assert_eq!(release::owner(&object), None);
    release::adopt(&mut object, "istiod", "istio-system");
    assert_eq!(release::owner(&object), Some(("istiod", "istio-system")));
    assert!(release::is_kept(&object));
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}
