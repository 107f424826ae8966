//! The real CRDs of Istio, Prometheus and the Gateway API; needs the charts and is empty without.

use std::{env, io::Read, path::PathBuf};

use super::*;
use crate::cluster::schema::custom;

fn charts() -> PathBuf {
    env::var_os("MESHRUN_CHARTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/charts")),
        PathBuf::from,
    )
}

/// The objects of a YAML file inside a chart archive; `None` where the charts are not at hand.
fn from_chart(chart: &str, file: &str) -> Option<Vec<Object>> {
    let archive = fs_err::File::open(charts().join(chart)).ok()?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path").ends_with(file) {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            return Some(from_yaml(&text));
        }
    }
    panic!("no {file} in {chart}");
}

fn from_yaml(text: &str) -> Vec<Object> {
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"))
        .filter(|value| !value.is_null())
        .map(object)
        .collect()
}

fn istio(versions: [&str; 3]) -> Vec<Value> {
    let [networking, security, telemetry] = versions;
    vec![
        json!({
            "apiVersion": networking, "kind": "Gateway", "metadata": { "name": "default-gateway" },
            "spec": {
                "selector": { "istio": "gateway" },
                "servers": [
                    {
                        "port": { "number": 80, "name": "http", "protocol": "HTTP" },
                        "hosts": ["*"], "tls": { "httpsRedirect": true },
                    },
                    {
                        "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
                        "hosts": ["*"], "tls": { "mode": "SIMPLE", "credentialName": "default-gateway-certs" },
                    },
                ],
            },
        }),
        json!({
            "apiVersion": security, "kind": "PeerAuthentication", "metadata": { "name": "default" },
            "spec": { "mtls": { "mode": "STRICT" } },
        }),
        json!({
            "apiVersion": networking, "kind": "DestinationRule", "metadata": { "name": "default" },
            "spec": { "host": "*.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } },
        }),
        json!({
            "apiVersion": telemetry, "kind": "Telemetry", "metadata": { "name": "default" },
            "spec": {
                "metrics": [{ "providers": [{ "name": "prometheus" }] }],
                "tracing": [{
                    "providers": [{ "name": "tempo" }],
                    "customTags": { "cluster_name": { "literal": { "value": "eks-cluster" } } },
                }],
                "accessLogging": [{ "providers": [{ "name": "otel" }] }],
            },
        }),
        json!({
            "apiVersion": security, "kind": "AuthorizationPolicy", "metadata": { "name": "deny-all" },
            "spec": {},
        }),
    ]
}

#[test]
fn judges_istio_objects_by_the_real_crds() {
    let charts = [
        (
            "base-1.19.3.tgz",
            "crds/crd-all.gen.yaml",
            ["networking.istio.io/v1beta1", "security.istio.io/v1beta1", "telemetry.istio.io/v1alpha1"],
        ),
        (
            "base-1.30.3.tgz",
            "files/crd-all.gen.yaml",
            ["networking.istio.io/v1", "security.istio.io/v1", "telemetry.istio.io/v1"],
        ),
    ];
    for (chart, file, versions) in charts {
        let Some(crds) = from_chart(chart, file) else { return };
        for crd in &crds {
            check_in(&Schemas::default(), crd.json().clone(), &[]);
        }
        let schemas = Schemas::with_crds(crds.iter());
        let objects = istio(versions);
        for object in &objects {
            check_in(&schemas, object.clone(), &[]);
        }
        let mut gateway = objects[0].clone();
        gateway["spec"]["selectr"] = json!({});
        check_in(&schemas, gateway, &["spec.selectr: unknown field, did you mean \"selector\"?"]);
        let mut policy = objects[1].clone();
        policy["spec"]["mtls"]["mode"] = json!("STRCT");
        check_in(
            &schemas,
            policy,
            &["spec.mtls.mode: expected one of UNSET, DISABLE, PERMISSIVE, STRICT, got \"STRCT\""],
        );
    }
}

#[test]
fn judges_service_monitors_by_the_real_crd() {
    let crds = charts().join("../crds");
    let Ok(text) = fs_err::read_to_string(crds.join("monitoring.coreos.com_servicemonitors.yaml")) else {
        return;
    };
    let crd = from_yaml(text.trim_start_matches("---\n")).remove(0);
    let schemas = Schemas::with_crds([&crd].into_iter());
    let monitor = |endpoint: Value| {
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
            "metadata": { "name": "istio-gateway", "labels": { "app": "istio-gateway" } },
            "spec": { "selector": { "matchLabels": { "istio": "gateway" } }, "endpoints": [endpoint] },
        })
    };
    check_in(&schemas, monitor(json!({ "port": "status-port", "path": "/stats/prometheus" })), &[]);
    check_in(
        &schemas,
        monitor(json!({ "port": 15020, "interval": "often" })),
        &[
            "spec.endpoints[0].port: expected string, got 15020",
            "spec.endpoints[0].interval: \"often\" does not match \
             ^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
        ],
    );
}

#[test]
fn every_real_crd_compiles() {
    let Ok(entries) = fs_err::read_dir(charts().join("../crds")) else { return };
    let nested = fs_err::read_dir(charts().join("../crds/gateway-api")).into_iter().flatten();
    let mut crds: Vec<Object> = ["base-1.19.3.tgz", "base-1.30.3.tgz"]
        .into_iter()
        .zip(["crds/crd-all.gen.yaml", "files/crd-all.gen.yaml"])
        .filter_map(|(chart, file)| from_chart(chart, file))
        .flatten()
        .collect();
    for entry in entries.chain(nested) {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            crds.extend(from_yaml(fs_err::read_to_string(path).expect("text").trim_start_matches("---\n")));
        }
    }
    for crd in &crds {
        check_in(&Schemas::default(), crd.json().clone(), &[]);
        for api in custom::apis(crd) {
            assert!(api.compiles(), "{crd}");
        }
    }
}
