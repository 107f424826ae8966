//! Requests: what they change, what is refused and in which words.

use super::*;
use crate::cluster::Scope;

#[tokio::test]
async fn starts_with_the_namespaces_of_a_fresh_cluster() {
    let cluster = Rehearsal::builder().version("v1.36.1").build();
    assert_eq!(
        names(&cluster, "v1", "Namespace", None).await,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
    assert_eq!(names(&cluster, "v1", "ServiceAccount", None).await, ["default"; 4]);
    assert_eq!(cluster.info().kubernetes_version, "v1.36.1");
    assert_eq!(cluster.writes(), []);
}

#[tokio::test]
async fn an_apply_that_changes_nothing_moves_nothing() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let first = get(&cluster, &deployment_ref()).await;
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let second = get(&cluster, &deployment_ref()).await;
    assert_eq!(first, second);
    let changed: Vec<bool> = cluster.writes().iter().map(|write| write.changed).collect();
    assert_eq!(changed, [true, false]);
}

#[tokio::test]
async fn keeps_the_metadata_of_a_server() {
    let cluster = Rehearsal::default();
    let first = apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let mut labelled = deployment(1, "pilot");
    labelled["metadata"]["labels"]["a"] = json!("b");
    let second = apply(&cluster, labelled).await.expect("applied");
    let third = apply(&cluster, deployment(2, "pilot")).await.expect("applied");
    assert_eq!((first.uid(), second.uid()), (third.uid(), third.uid()));
    assert_ne!(first.resource_version(), second.resource_version());
    let generations = [&first, &second, &third].map(|object| object.json()["metadata"]["generation"].clone());
    assert_eq!(generations, [json!(1), json!(1), json!(2)]);
    assert_eq!(third.label("a"), None);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let cluster = Rehearsal::default();
    apply(&cluster, config_map(json!({ "a": "1" }))).await.expect("applied");
    let before = get(&cluster, &config_map_ref()).await;
    let options = ApplyOptions { dry_run: true, ..by("meshrun") };
    let would = cluster.apply(&object(config_map(json!({ "b": "2" }))), &options).await.expect("a dry run");
    assert_eq!(would.json()["data"], json!({ "b": "2" }));
    assert_ne!(would.resource_version(), before.resource_version());
    assert_eq!(get(&cluster, &config_map_ref()).await, before);
    assert_eq!(cluster.writes().len(), 1);
}

#[tokio::test]
async fn managers_conflict_unless_one_takes_over() {
    let cluster = Rehearsal::default();
    let wanted = |value: &str| object(config_map(json!({ "a": value })));
    cluster.apply(&wanted("1"), &by("helm")).await.expect("applied");
    refused(
        cluster.apply(&wanted("2"), &by("meshrun")).await,
        ErrorKind::Conflict,
        "apply ConfigMap default/mesh: Apply failed with 1 conflict: conflicts with \"helm\": .data.a",
    );
    let force = ApplyOptions { force: true, ..by("meshrun") };
    cluster.apply(&wanted("2"), &force).await.expect("taken over");
    assert_eq!(get(&cluster, &config_map_ref()).await.text("/data/a"), "2");
}

#[tokio::test]
async fn refuses_what_a_server_would_refuse() {
    let cluster = Rehearsal::default();
    let mut elsewhere = config_map(json!({}));
    elsewhere["metadata"]["namespace"] = json!("istio-system");
    refused(
        apply(&cluster, elsewhere).await,
        ErrorKind::NotFound,
        "apply ConfigMap istio-system/mesh: namespaces \"istio-system\" not found",
    );
    refused(
        apply(&cluster, gateway("x")).await,
        ErrorKind::NotServed,
        "apply Gateway default/default-gateway: no matches for kind \"Gateway\" in version \
         \"networking.istio.io/v1beta1\"",
    );
    let mut wrong = deployment(1, "pilot");
    wrong["spec"]["replicas"] = json!("two");
    refused(
        apply(&cluster, wrong).await,
        ErrorKind::Invalid,
        "apply Deployment default/istiod: Deployment \"istiod\" is invalid: spec.replicas: expected integer, got \
         \"two\"",
    );
    let mut twice = deployment(1, "pilot");
    twice["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "PILOT_TRACE_SAMPLING", "value": "1" }, { "name": "PILOT_TRACE_SAMPLING", "value": "1.0" }]);
    refused(
        apply(&cluster, twice).await,
        ErrorKind::Invalid,
        "apply Deployment default/istiod: Deployment \"istiod\" is invalid: \
         spec.template.spec.containers[0].env: duplicate entries for key [name=\"PILOT_TRACE_SAMPLING\"]",
    );
    assert_eq!(cluster.writes(), []);
}

#[tokio::test]
async fn creates_once() {
    let cluster = Rehearsal::default();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "meshrun", "namespace": "default" }, "spec": { "holderIdentity": "a" },
    });
    cluster.create(&object(lease.clone())).await.expect("created");
    refused(
        cluster.create(&object(lease)).await,
        ErrorKind::AlreadyExists,
        "create Lease default/meshrun: leases.coordination.k8s.io \"meshrun\" already exists",
    );
}

#[tokio::test]
async fn replaces_only_what_is_as_it_was_read() {
    let cluster = Rehearsal::default();
    refused(
        cluster.replace(&object(config_map(json!({})))).await,
        ErrorKind::NotFound,
        "replace ConfigMap default/mesh: configmaps \"mesh\" not found",
    );
    let read = cluster.create(&object(config_map(json!({ "a": "1" })))).await.expect("created");
    let mut next = read.clone();
    next.json_mut()["data"] = json!({ "a": "2" });
    cluster.replace(&next).await.expect("replaced");
    refused(
        cluster.replace(&read).await,
        ErrorKind::Conflict,
        "replace ConfigMap default/mesh: Operation cannot be fulfilled on configmaps \"mesh\": the object has been \
         modified; please apply your changes to the latest version and try again",
    );
    assert_eq!(get(&cluster, &config_map_ref()).await.text("/data/a"), "2");
}

#[tokio::test]
async fn patches_objects_and_subresources() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let target = deployment_ref();
    let scale = cluster.patch(&target, &json!({ "spec": { "replicas": 3 } }), Some("scale")).await;
    assert_eq!(scale.expect("scaled").json()["spec"], json!({ "replicas": 3 }));
    assert_eq!(get(&cluster, &target).await.json()["status"]["readyReplicas"], 3);
    cluster
        .patch(&target, &json!({ "metadata": { "annotations": { "a": "b" } }, "status": null }), None)
        .await
        .expect("patched");
    let patched = get(&cluster, &target).await;
    assert_eq!(
        (patched.annotation("a"), patched.json()["status"]["readyReplicas"].as_u64()),
        (Some("b"), Some(3))
    );
    let stale = json!({ "metadata": { "resourceVersion": "1", "annotations": { "a": "c" } } });
    let error = cluster.patch(&target, &stale, None).await.expect_err("a conflict");
    assert_eq!(error.kind, ErrorKind::Conflict);
    refused(
        cluster.patch(&config_map_ref(), &json!({}), None).await,
        ErrorKind::NotFound,
        "patch ConfigMap default/mesh: configmaps \"mesh\" not found",
    );
}

#[tokio::test]
async fn an_applied_field_that_was_patched_since_is_not_dropped() {
    let cluster = Rehearsal::default();
    apply(&cluster, config_map(json!({ "a": "1", "b": "1" }))).await.expect("applied");
    cluster.patch(&config_map_ref(), &json!({ "data": { "a": "2" } }), None).await.expect("patched");
    apply(&cluster, config_map(json!({}))).await.expect("applied");
    assert_eq!(get(&cluster, &config_map_ref()).await.json()["data"], json!({ "a": "2" }));
}

#[tokio::test]
async fn deletes_a_namespace_with_all_that_is_in_it() {
    let cluster = Rehearsal::default();
    apply(&cluster, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "mesh" } }))
        .await
        .expect("applied");
    let mut map = config_map(json!({}));
    map["metadata"]["namespace"] = json!("mesh");
    apply(&cluster, map).await.expect("applied");
    let namespace = ObjectRef::cluster("v1", "Namespace", "mesh");
    assert!(cluster.delete(&namespace).await.expect("deleted"));
    assert!(!cluster.delete(&namespace).await.expect("gone already"));
    assert_eq!(names(&cluster, "v1", "ConfigMap", None).await, [""; 0]);
    refused(
        cluster.delete(&ObjectRef::cluster("v1", "Namespace", "kube-system")).await,
        ErrorKind::Forbidden,
        "delete Namespace kube-system: namespaces \"kube-system\" is forbidden: this namespace may not be deleted",
    );
}

#[tokio::test]
async fn deletes_what_an_object_owns() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(2, "pilot")).await.expect("applied");
    assert_eq!(names(&cluster, "v1", "Pod", None).await.len(), 2);
    cluster.delete(&deployment_ref()).await.expect("deleted");
    assert_eq!(names(&cluster, "apps/v1", "ReplicaSet", None).await, [""; 0]);
    assert_eq!(names(&cluster, "v1", "Pod", None).await, [""; 0]);
}

#[tokio::test]
async fn serves_what_a_crd_defines_as_long_as_it_is_there() {
    let cluster = Rehearsal::default();
    let api = ("networking.istio.io/v1", "Gateway");
    assert_eq!(cluster.scope(api.0, api.1).await.expect("an answer"), None);
    assert_eq!(list(&cluster, api.0, api.1, None).await, []);
    apply(&cluster, crd()).await.expect("applied");
    assert_eq!(cluster.scope(api.0, api.1).await.expect("an answer"), Some(Scope::Namespaced));
    let versions = cluster.api_versions().await.expect("an answer");
    for version in ["apps/v1", "apps/v1/Deployment", "networking.istio.io/v1beta1/Gateway"] {
        assert!(versions.iter().any(|served| served == version), "{version}");
    }
    apply(&cluster, gateway("x")).await.expect("applied");
    let seen = list(&cluster, api.0, api.1, None).await;
    assert_eq!(seen[0].api_version(), "networking.istio.io/v1");
    let mut typo = gateway("x");
    typo["spec"]["hots"] = json!("y");
    refused(
        apply(&cluster, typo).await,
        ErrorKind::Invalid,
        "apply Gateway default/default-gateway: Gateway \"default-gateway\" is invalid: spec.hots: unknown field, did \
         you mean \"host\"?",
    );
    cluster.delete(&crd_ref()).await.expect("deleted");
    assert_eq!(cluster.scope(api.0, api.1).await.expect("an answer"), None);
    apply(&cluster, crd()).await.expect("applied");
    assert_eq!(list(&cluster, api.0, api.1, None).await, []);
}

#[tokio::test]
async fn lists_by_labels() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    assert_eq!(names(&cluster, "v1", "Pod", Some("app in (istiod)")).await.len(), 1);
    assert_eq!(names(&cluster, "v1", "Pod", Some("app=kiali")).await.len(), 0);
    let query = ListQuery {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: None,
        labels: Some("app within (x)".into()),
    };
    refused(
        cluster.list(&query).await,
        ErrorKind::Invalid,
        "list Pod: unable to parse label selector: \"app within (x)\"",
    );
}

#[tokio::test]
async fn refuses_an_apply_as_often_as_a_test_asks() {
    let cluster = Rehearsal::builder()
        .fail_apply("ConfigMap default/mesh", ErrorKind::ServerBusy, "too many requests", 1)
        .build();
    let options = ApplyOptions { dry_run: true, ..by("meshrun") };
    cluster.apply(&object(config_map(json!({}))), &options).await.expect("a dry run");
    refused(
        apply(&cluster, config_map(json!({}))).await,
        ErrorKind::ServerBusy,
        "apply ConfigMap default/mesh: too many requests",
    );
    apply(&cluster, config_map(json!({}))).await.expect("applied");
}

#[tokio::test]
async fn says_that_nothing_runs() {
    let cluster = Rehearsal::default();
    let query = meshrun_protocol::LogsQuery {
        namespace: "x".into(),
        pod: "istiod".into(),
        container: None,
        tail: None,
    };
    refused(
        cluster.logs(&query).await,
        ErrorKind::NotInRehearsal,
        "read the log of Pod x/istiod: nothing runs in a rehearsal, so there is no log",
    );
}
