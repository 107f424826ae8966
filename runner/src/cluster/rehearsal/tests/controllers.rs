//! Simulated readiness, at once, after a delay, or never.

use std::time::Duration;

use super::*;

fn status(object: &Object, field: &str) -> Value {
    object.json()["status"][field].clone()
}

fn is_true(object: &Object, condition: &str) -> bool {
    object.condition(condition).expect("a condition")["status"] == "True"
}

#[tokio::test]
async fn a_deployment_is_available_at_once_and_has_pods() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(2, "pilot:1.19.3")).await.expect("applied");
    let deployment = get(&cluster, &deployment_ref()).await;
    assert!(is_true(&deployment, "Available"));
    assert_eq!(status(&deployment, "readyReplicas"), 2);
    assert_eq!(status(&deployment, "observedGeneration"), 1);
    let set = &list(&cluster, "apps/v1", "ReplicaSet", None).await[0];
    let pods = list(&cluster, "v1", "Pod", Some("app=istiod")).await;
    assert_eq!(pods[1].name(), format!("{}-1", set.name()));
    assert_eq!(pods[0].items("/metadata/ownerReferences")[0]["uid"], set.uid());
    assert_eq!(pods[0].text("/spec/containers/0/image"), "pilot:1.19.3");
    assert!(is_true(&pods[0], "Ready"));
}

#[tokio::test]
async fn a_new_template_brings_new_pods_and_a_smaller_scale_fewer() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(2, "pilot:1")).await.expect("applied");
    apply(&cluster, deployment(1, "pilot:2")).await.expect("applied");
    let pods = list(&cluster, "v1", "Pod", None).await;
    let images: Vec<&str> = pods.iter().map(|pod| pod.text("/spec/containers/0/image")).collect();
    assert_eq!(images, ["pilot:2"]);
    assert_eq!(names(&cluster, "apps/v1", "ReplicaSet", None).await.len(), 1);
}

#[tokio::test]
async fn a_deleted_pod_comes_back_as_another() {
    let cluster = Rehearsal::default();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let pod = list(&cluster, "v1", "Pod", None).await.remove(0);
    cluster.delete(&pod.reference()).await.expect("deleted");
    let next = get(&cluster, &pod.reference()).await;
    assert_ne!(next.uid(), pod.uid());
    assert!(is_true(&next, "Ready"));
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_on_the_clock_of_tokio() {
    let cluster = Rehearsal::builder().delay(Duration::from_secs(30)).build();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let deployment = get(&cluster, &deployment_ref()).await;
    assert!(!is_true(&deployment, "Available"));
    assert_eq!(status(&deployment, "observedGeneration"), 1);
    let pod = list(&cluster, "v1", "Pod", None).await.remove(0);
    assert_eq!(pod.text("/status/containerStatuses/0/state/waiting/reason"), "ContainerCreating");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(is_true(&get(&cluster, &deployment_ref()).await, "Available"));
}

#[tokio::test(start_paused = true)]
async fn old_pods_stay_until_new_ones_are_ready() {
    let cluster = Rehearsal::builder().delay(Duration::from_secs(30)).build();
    apply(&cluster, deployment(1, "pilot:1")).await.expect("applied");
    tokio::time::advance(Duration::from_secs(30)).await;
    apply(&cluster, deployment(1, "pilot:2")).await.expect("applied");
    let during = get(&cluster, &deployment_ref()).await;
    assert_eq!((status(&during, "replicas"), status(&during, "readyReplicas")), (json!(2), json!(1)));
    tokio::time::advance(Duration::from_secs(30)).await;
    let after = get(&cluster, &deployment_ref()).await;
    assert_eq!((status(&after, "replicas"), status(&after, "readyReplicas")), (json!(1), json!(1)));
}

#[tokio::test]
async fn what_is_never_ready_says_why_in_pods_and_events() {
    let cluster = Rehearsal::builder()
        .never_ready("Deployment default/istiod", "ImagePullBackOff: Back-off pulling image \"pilot\"")
        .build();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    assert!(!is_true(&get(&cluster, &deployment_ref()).await, "Available"));
    let pod = list(&cluster, "v1", "Pod", None).await.remove(0);
    let waiting = pod.at("/status/containerStatuses/0/state/waiting").expect("a reason");
    assert_eq!(
        *waiting,
        json!({ "reason": "ImagePullBackOff", "message": "Back-off pulling image \"pilot\"" })
    );
    let event = list(&cluster, "v1", "Event", None).await.remove(0);
    assert_eq!(event.text("/involvedObject/name"), pod.name());
    assert_eq!((event.text("/type"), event.text("/reason")), ("Warning", "ImagePullBackOff"));
}

#[tokio::test]
async fn stateful_and_daemon_sets_get_pods_of_their_own() {
    let cluster = Rehearsal::default();
    for kind in ["StatefulSet", "DaemonSet"] {
        let mut set = deployment(2, "ztunnel");
        set["kind"] = json!(kind);
        set["metadata"]["name"] = json!(kind.to_lowercase());
        if kind == "DaemonSet" {
            set["spec"].as_object_mut().expect("a spec").shift_remove("replicas");
        }
        apply(&cluster, set).await.expect("applied");
    }
    assert_eq!(names(&cluster, "v1", "Pod", None).await, ["daemonset-0", "statefulset-0", "statefulset-1"]);
    let set = list(&cluster, "apps/v1", "DaemonSet", None).await.remove(0);
    assert_eq!(status(&set, "numberReady"), 1);
}

#[tokio::test]
async fn crds_become_established_or_say_why_not() {
    let cluster = Rehearsal::default();
    apply(&cluster, crd()).await.expect("applied");
    let established = get(&cluster, &crd_ref()).await;
    assert!(is_true(&established, "Established") && is_true(&established, "NamesAccepted"));

    let name = "CustomResourceDefinition gateways.networking.istio.io";
    let cluster = Rehearsal::builder().never_ready(name, "MultipleNames: taken").build();
    apply(&cluster, crd()).await.expect("applied");
    assert!(!is_true(&get(&cluster, &crd_ref()).await, "NamesAccepted"));
    assert_eq!(cluster.scope("networking.istio.io/v1", "Gateway").await.expect("an answer"), None);
}

#[tokio::test]
async fn an_upgraded_crd_is_judged_by_at_once() {
    let cluster = Rehearsal::default();
    apply(&cluster, crd()).await.expect("applied");
    let mut newer = crd();
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["port"] =
        json!({ "type": "integer" });
    apply(&cluster, newer).await.expect("applied");
    let mut gateway = gateway("x");
    gateway["spec"]["port"] = json!(80);
    apply(&cluster, gateway).await.expect("applied");
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "istiod", "namespace": "default" },
        "spec": {
            "type": "LoadBalancer",
            "selector": { "app": "istiod" },
            "ports": [{ "name": "webhook", "port": 443, "targetPort": "https-webhook" }],
        },
    })
}

#[tokio::test]
async fn services_get_endpoints_and_an_address() {
    let cluster = Rehearsal::default();
    apply(&cluster, service()).await.expect("applied");
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let slice =
        list(&cluster, "discovery.k8s.io/v1", "EndpointSlice", Some("kubernetes.io/service-name=istiod"))
            .await
            .remove(0);
    assert_eq!(slice.items("/endpoints")[0]["conditions"]["ready"], true);
    assert_eq!(slice.json()["ports"], json!([{ "name": "webhook", "protocol": "TCP", "port": 15017 }]));
    let service = list(&cluster, "v1", "Service", None).await.remove(0);
    assert_eq!(service.text("/status/loadBalancer/ingress/0/hostname"), "rehearsal.invalid");
}

#[tokio::test]
async fn no_load_balancer_means_no_address() {
    let cluster = Rehearsal::builder().no_load_balancer().build();
    apply(&cluster, service()).await.expect("applied");
    assert_eq!(list(&cluster, "v1", "Service", None).await[0].at("/status"), None);
}

fn validator() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "istiod-default-validator" },
        "webhooks": [{
            "name": "validation.istio.io", "failurePolicy": "Ignore", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": "istiod", "namespace": "default", "path": "/validate" } },
        }],
    })
}

#[tokio::test]
async fn the_webhooks_of_istio_work_once_istiod_does() {
    let cluster = Rehearsal::default();
    apply(&cluster, validator()).await.expect("applied");
    apply(&cluster, service()).await.expect("applied");
    let reference = object(validator()).reference();
    assert_eq!(get(&cluster, &reference).await.text("/webhooks/0/clientConfig/caBundle"), "");
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let validator = get(&cluster, &reference).await;
    assert_ne!(validator.text("/webhooks/0/clientConfig/caBundle"), "");
    assert_eq!(validator.text("/webhooks/0/failurePolicy"), "Fail");
}

#[tokio::test]
async fn jobs_complete() {
    let cluster = Rehearsal::default();
    let mut job = deployment(1, "migrate");
    job["apiVersion"] = json!("batch/v1");
    job["kind"] = json!("Job");
    let template = &mut job["spec"]["template"];
    template["spec"]["restartPolicy"] = json!("Never");
    job["spec"] = json!({ "template": template.clone() });
    apply(&cluster, job).await.expect("applied");
    let job = list(&cluster, "batch/v1", "Job", None).await.remove(0);
    assert!(is_true(&job, "Complete"));
    assert_eq!(status(&job, "succeeded"), 1);
}
