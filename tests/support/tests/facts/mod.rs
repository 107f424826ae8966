//! What the shipped pipelines leave in a cluster, row by row. `guide` is the manual guide's mesh; where `prod.yaml`
//! differs from the guide, the row says so ("Guide:").

use meshrun_tests::Objects;
use serde_json::{Value, json};

const MESH: &str = "istio-system";

/// Asserts the mesh of `prod.yaml`, while nobody has made the gateway's certificate.
pub fn guide(objects: &Objects) {
    has_the_base(objects);
    has_the_control_plane(objects);
    has_the_gateway(objects);
    has_the_configuration(objects);
    has_kiali(objects);
}

/// Asserts the mesh of `latest.yaml`.
pub fn latest(objects: &Objects) {
    for name in ["istio-system/istiod", "istio-ingress/istio-gateway"] {
        let chart = if name.ends_with("istiod") { "istiod" } else { "gateway" };
        objects.check(
            "Deployment",
            name,
            &[
                ("/metadata/labels/app.kubernetes.io~1part-of", json!("istio")),
                ("/metadata/labels/app.kubernetes.io~1version", json!("1.30.3")),
                ("/metadata/labels/app.kubernetes.io~1managed-by", json!("Helm")),
                ("/metadata/labels/helm.sh~1chart", json!(format!("{chart}-1.30.3"))),
                ("/status/readyReplicas", json!(2)),
            ],
        );
    }
    objects.check(
        "Deployment",
        "istio-system/istiod",
        &[("/spec/template/spec/containers/0/image", json!("registry.istio.io/release/pilot:1.30.3"))],
    );
    objects.of("ConfigMap", "istio-system/values");
    for (validator, webhook) in [
        ("istiod-default-validator", "validation.istio.io"),
        ("istio-validator-istio-system", "rev.validation.istio.io"),
    ] {
        objects.check(
            "ValidatingWebhookConfiguration",
            validator,
            &[("/webhooks/0/name", json!(webhook)), ("/webhooks/0/failurePolicy", json!("Fail"))],
        );
    }
    // Two istiods are asked for, so the newest chart makes the budget too.
    objects.check("PodDisruptionBudget", "istio-system/istiod", &[("/spec/minAvailable", json!(1))]);
    objects.check("PodDisruptionBudget", "istio-ingress/istio-gateway", &[("/spec/minAvailable", json!(1))]);
    objects.check(
        "Deployment",
        "istio-ingress/istio-gateway",
        &[
            ("/spec/template/metadata/labels/istio.io~1dataplane-mode", json!("none")),
            ("/spec/template/spec/containers/0/image", json!("auto")),
        ],
    );
    assert_eq!(istio_crds(objects).len(), 15);
    assert!(objects.find("CustomResourceDefinition", "istiooperators.install.istio.io").is_none());
    objects.check(
        "PeerAuthentication",
        "istio-system/default",
        &[("/apiVersion", json!("security.istio.io/v1")), ("/spec/mtls/mode", json!("STRICT"))],
    );
    objects.check(
        "Telemetry",
        "istio-system/default",
        &[
            ("/apiVersion", json!("telemetry.istio.io/v1")),
            ("/spec/tracing/0/providers", json!([{ "name": "tempo" }])),
            ("/spec/accessLogging/0/providers", json!([{ "name": "envoy" }])),
        ],
    );
    objects.check(
        "Deployment",
        "istio-system/kiali",
        &[
            ("/metadata/labels/helm.sh~1chart", json!("kiali-server-2.29.0")),
            ("/spec/template/spec/containers/0/image", json!("quay.io/kiali/kiali:v2.29.0")),
            ("/status/readyReplicas", json!(1)),
        ],
    );
    objects.of("NetworkPolicy", "istio-system/kiali");
    objects.of("Gateway", "istio-ingress/default-gateway");
}

fn has_the_base(objects: &Objects) {
    objects.check(
        "Namespace",
        MESH,
        &[
            ("/metadata/labels/app.kubernetes.io~1managed-by", json!("manual")),
            // Beyond the guide: istiod's own network.
            ("/metadata/labels/topology.istio.io~1network", json!("eks-cluster")),
        ],
    );
    let crds = istio_crds(objects);
    assert_eq!(crds.len(), 15, "{crds:?}");
    for crd in crds {
        let established = objects.of("CustomResourceDefinition", crd)["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
            });
        assert!(established, "{crd}");
    }
    for account in ["istio-reader-service-account", "istiod", "istio-gateway", "kiali"] {
        objects.of("ServiceAccount", &format!("{MESH}/{account}"));
    }
    objects.check(
        "ValidatingWebhookConfiguration",
        "istiod-default-validator",
        &[
            ("/metadata/labels/app", json!("istiod")),
            ("/metadata/labels/istio", json!("istiod")),
            ("/metadata/labels/istio.io~1rev", json!("default")),
            ("/metadata/labels/release", json!("istio-base")),
            ("/webhooks/0/name", json!("validation.istio.io")),
            ("/webhooks/0/failurePolicy", json!("Fail")),
        ],
    );
    has_ca_bundles(objects.of("ValidatingWebhookConfiguration", "istiod-default-validator"));
}

fn has_the_control_plane(objects: &Objects) {
    let injector = objects.of("MutatingWebhookConfiguration", "istio-sidecar-injector");
    let webhooks = injector["webhooks"].as_array().expect("webhooks");
    let names: Vec<&str> = webhooks.iter().filter_map(|webhook| webhook["name"].as_str()).collect();
    let suffix = "sidecar-injector.istio.io";
    assert_eq!(
        names,
        ["rev.namespace.", "rev.object.", "namespace.", "object."].map(|name| format!("{name}{suffix}"))
    );
    for webhook in webhooks {
        assert_eq!(webhook["failurePolicy"], "Fail");
        assert_eq!(webhook["clientConfig"]["service"]["path"], "/inject");
    }
    has_ca_bundles(injector);
    objects.check(
        "MutatingWebhookConfiguration",
        "istio-sidecar-injector",
        &[("/metadata/labels/app", json!("sidecar-injector"))],
    );
    objects.check("Deployment", "istio-system/istiod", &[
        ("/metadata/labels/app", json!("istiod")),
        ("/metadata/labels/istio", json!("pilot")),
        ("/metadata/labels/release", json!("istiod")),
        ("/metadata/labels/operator.istio.io~1component", json!("Pilot")),
        ("/spec/template/spec/containers/0/name", json!("discovery")),
        ("/spec/template/spec/containers/0/image", json!("docker.io/istio/pilot:1.19.3")),
        ("/spec/template/spec/containers/0/resources", json!({ "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "500m", "memory": "2Gi" } })),
        ("/status/readyReplicas", json!(2)),
    ]);
    let env =
        objects.of("Deployment", "istio-system/istiod")["spec"]["template"]["spec"]["containers"][0]["env"]
            .clone();
    let sampling: Vec<Value> = env
        .as_array()
        .expect("variables")
        .iter()
        .filter(|variable| variable["name"] == "PILOT_TRACE_SAMPLING")
        .cloned()
        .collect();
    assert_eq!(sampling, [json!({ "name": "PILOT_TRACE_SAMPLING", "value": "1.0" })], "once");
    let service = objects.of("Service", "istio-system/istiod");
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| {
            format!("{} {} {}", port["name"].as_str().unwrap_or_default(), port["port"], port["targetPort"])
        })
        .collect();
    assert_eq!(
        ports,
        [
            "grpc-xds 15010 15010",
            "https-dns 15012 15012",
            "https-webhook 443 15017",
            "http-monitoring 15014 15014"
        ]
    );
    objects.check("Service", "istio-system/istiod", &[("/metadata/labels/app", json!("istiod"))]);
    // Guide: 1 to 5; one istiod could not be drained.
    objects.check(
        "HorizontalPodAutoscaler",
        "istio-system/istiod",
        &[
            ("/spec/minReplicas", json!(2)),
            ("/spec/maxReplicas", json!(5)),
            ("/spec/metrics/0/resource/target/averageUtilization", json!(80)),
        ],
    );
    objects.check("PodDisruptionBudget", "istio-system/istiod", &[("/spec/minAvailable", json!(1))]);
    let mesh = objects.of("ConfigMap", "istio-system/istio")["data"]["mesh"]
        .as_str()
        .expect("mesh configuration")
        .to_owned();
    for line in [
        "accessLogFile: /dev/stdout",
        "  meshId: eks-cluster",
        // Guide: 2, a spoofing risk behind a network load balancer.
        "    numTrustedProxies: 0",
        "    sampling: \"1.0\"",
        "rootNamespace: istio-system",
        "trustDomain: cluster.local",
        // Beyond the guide, which names both providers and defines neither.
        "    service: tempo-distributor.observability.svc.cluster.local",
        "    service: opentelemetry-collector.observability.svc.cluster.local",
    ] {
        assert!(mesh.lines().any(|found| found == line), "no `{line}` in\n{mesh}");
    }
    let values = objects.of("ConfigMap", "istio-system/istio-sidecar-injector")["data"]["values"]
        .as_str()
        .expect("values");
    let values: Value = serde_json::from_str(values).expect("JSON");
    assert_eq!(
        (&values["global"]["network"], &values["global"]["meshID"]),
        (&json!("eks-cluster"), &json!("eks-cluster"))
    );
    for role in [
        "istiod-clusterrole-istio-system",
        "istiod-gateway-controller-istio-system",
        "istio-reader-clusterrole-istio-system",
    ] {
        objects.of("ClusterRole", role);
        objects.of("ClusterRoleBinding", role);
    }
    for role in ["istiod", "istio-gateway", "kiali-controlplane"] {
        objects.of("Role", &format!("{MESH}/{role}"));
        objects.of("RoleBinding", &format!("{MESH}/{role}"));
    }
    // What istiod itself leaves.
    objects.check("Secret", "istio-system/istio-ca-secret", &[("/type", json!("istio.io/ca-root"))]);
    for namespace in ["default", MESH] {
        objects.of("ConfigMap", &format!("{namespace}/istio-ca-root-cert"));
    }
}

fn has_the_gateway(objects: &Objects) {
    let name = "istio-system/istio-gateway";
    objects.check(
        "Role",
        name,
        &[("/rules/0/resources", json!(["secrets"])), ("/rules/0/verbs", json!(["get", "watch", "list"]))],
    );
    objects.check(
        "Deployment",
        name,
        &[
            ("/metadata/labels/app", json!("istio-gateway")),
            ("/metadata/labels/istio", json!("gateway")),
            ("/metadata/labels/helm.sh~1chart", json!("gateway-1.19.3")),
            ("/metadata/labels/app.kubernetes.io~1name", json!("istio-gateway")),
            ("/metadata/labels/app.kubernetes.io~1version", json!("1.19.3")),
            ("/metadata/labels/app.kubernetes.io~1managed-by", json!("Helm")),
            ("/spec/template/spec/containers/0/image", json!("auto")),
            ("/spec/template/metadata/annotations/inject.istio.io~1templates", json!("gateway")),
            ("/status/readyReplicas", json!(2)),
        ],
    );
    let pods: Vec<&str> = objects.names("Pod").filter(|pod| pod.starts_with(name)).collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    for pod in pods {
        objects.check("Pod", pod, &[("/spec/containers/0/image", json!("docker.io/istio/proxyv2:1.19.3"))]);
    }
    let service = objects.of("Service", name);
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| format!("{} {}", port["name"].as_str().unwrap_or_default(), port["port"]))
        .collect();
    assert_eq!(ports, ["status-port 15021", "http2 80", "https 443"]);
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    objects.check(
        "HorizontalPodAutoscaler",
        name,
        &[
            ("/spec/minReplicas", json!(2)),
            ("/spec/maxReplicas", json!(4)),
            ("/spec/metrics/0/resource/target/averageUtilization", json!(80)),
        ],
    );
    objects.check("PodDisruptionBudget", name, &[("/spec/minAvailable", json!(1))]);
}

fn has_the_configuration(objects: &Objects) {
    // Guide: HTTPS with a Secret that nobody makes; here HTTP only until it is there.
    objects.check(
        "Gateway",
        "istio-system/default-gateway",
        &[
            ("/spec/selector", json!({ "istio": "gateway" })),
            (
                "/spec/servers",
                json!([{ "hosts": ["*"], "port": { "number": 80, "name": "http", "protocol": "HTTP" } }]),
            ),
        ],
    );
    objects.check(
        "PeerAuthentication",
        "istio-system/default",
        &[("/spec", json!({ "mtls": { "mode": "STRICT" } }))],
    );
    // Guide: a DestinationRule for *.local, which breaks every target without a sidecar.
    assert_eq!(objects.names("DestinationRule").count(), 0);
    objects.check(
        "Telemetry",
        "istio-system/default",
        &[
            ("/spec/metrics", json!([{ "providers": [{ "name": "prometheus" }] }])),
            ("/spec/tracing/0/providers", json!([{ "name": "tempo" }])),
            ("/spec/tracing/0/customTags/environment/literal/value", json!("production")),
            // Guide: otel alone, which would end the logs on standard output.
            ("/spec/accessLogging", json!([{ "providers": [{ "name": "otel" }, { "name": "envoy" }] }])),
        ],
    );
}

fn has_kiali(objects: &Objects) {
    for kind in ["Deployment", "Service", "ConfigMap"] {
        objects.check(
            kind,
            "istio-system/kiali",
            &[
                ("/metadata/labels/app", json!("kiali")),
                ("/metadata/labels/app.kubernetes.io~1name", json!("kiali")),
                ("/metadata/labels/app.kubernetes.io~1instance", json!("kiali")),
                ("/metadata/labels/version", json!("v1.74.0")),
                ("/metadata/labels/helm.sh~1chart", json!("kiali-server-1.74.0")),
            ],
        );
    }
    objects.check(
        "Deployment",
        "istio-system/kiali",
        &[
            ("/spec/template/spec/containers/0/image", json!("quay.io/kiali/kiali:v1.74.0")),
            ("/status/readyReplicas", json!(1)),
        ],
    );
    let service = objects.of("Service", "istio-system/kiali");
    let ports: Vec<&Value> =
        service["spec"]["ports"].as_array().expect("ports").iter().map(|port| &port["port"]).collect();
    assert_eq!(ports, [20001, 9090]);
    objects.of("ClusterRole", "kiali");
    // Guide: bound to `kiali`, which may write; here it may only look.
    objects.check("ClusterRoleBinding", "kiali-viewer", &[("/roleRef/name", json!("kiali-viewer"))]);
    assert!(objects.find("ClusterRoleBinding", "kiali").is_none());
}

fn istio_crds(objects: &Objects) -> Vec<&str> {
    objects.names("CustomResourceDefinition").filter(|name| name.ends_with(".istio.io")).collect()
}

fn has_ca_bundles(configuration: &Value) {
    for webhook in configuration["webhooks"].as_array().expect("webhooks") {
        assert!(
            webhook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty()),
            "{webhook}"
        );
    }
}
