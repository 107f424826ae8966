//! From a chart and values to objects.

use std::time::Instant;

use serde_json::json;

use super::*;

#[tokio::test]
async fn renders_crds_objects_and_notes() {
    let (helm, _cache) = helm(fixtures());
    let base = helm.render(&action("istio-base", "base", "1.19.3", json!({})), &kubernetes(), false).await;
    let base = base.expect("base renders");
    assert_eq!(base.crds.len(), 15);
    assert_eq!(base.crds[0].to_string(), "CustomResourceDefinition wasmplugins.extensions.istio.io");
    assert_eq!(
        names(&base.objects),
        [
            "ServiceAccount istio-system/istio-reader-service-account",
            "ValidatingWebhookConfiguration istiod-default-validator"
        ]
    );
    assert_eq!(base.notes, "Stand-in for base 1.19.3, installed as istio-base.\n");
    insta::assert_snapshot!(base.manifest);
}

#[tokio::test]
async fn takes_crds_that_are_templates_as_objects_of_the_release() {
    let (helm, _cache) = helm(fixtures());
    let base = helm.render(&action("istio-base", "base", "1.30.3", json!({})), &kubernetes(), false).await;
    let base = base.expect("base renders");
    assert_eq!((base.crds.len(), base.objects.len()), (0, 17));
}

#[tokio::test]
async fn tells_an_upgrade_to_charts_that_ask() {
    let (helm, _cache) = helm(fixtures());
    let base = action("istio-base", "base", "1.30.3", json!({}));
    let policy = async |upgrade| {
        let base = helm.render(&base, &kubernetes(), upgrade).await.expect("base renders");
        let webhook = base.objects.last().expect("the validator comes last");
        webhook.text("/webhooks/0/failurePolicy").to_owned()
    };
    assert_eq!((policy(false).await.as_str(), policy(true).await.as_str()), ("Ignore", ""));
}

#[tokio::test]
async fn refuses_the_list_key_that_the_guide_sets_twice() {
    let (helm, _cache) = helm(fixtures());
    let values = json!({ "pilot": { "env": { "PILOT_TRACE_SAMPLING": "1.0" } } });
    let istiod = action("istiod", "istiod", "1.19.3", values);
    let error = helm.render(&istiod, &kubernetes(), false).await.expect_err("the key is there twice");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn refuses_the_annotation_that_the_guide_makes_a_boolean() {
    let (helm, _cache) = helm(fixtures());
    let annotation = "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled";
    let values = json!({ "service": { "annotations": { annotation: true } } });
    let gateway = action("istio-gateway", "gateway", "1.19.3", values);
    let error = helm.render(&gateway, &kubernetes(), false).await.expect_err("the annotation is no text");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn repeats_what_a_values_schema_refuses() {
    let (helm, _cache) = helm(fixtures());
    let gateway = action("istio-gateway", "gateway", "1.19.3", json!({ "servcie": {} }));
    let error = helm.render(&gateway, &kubernetes(), false).await.expect_err("there is no such value");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn refuses_values_that_are_no_mapping() {
    let (helm, _cache) = helm(fixtures());
    let gateway = action("istio-gateway", "gateway", "1.19.3", json!([1]));
    let error = helm.render(&gateway, &kubernetes(), false).await.expect_err("a list is no mapping");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn a_rendering_from_the_cache_starts_no_process_and_is_the_same() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let istiod = action("istiod", "istiod", "1.30.3", json!({ "global": { "meshID": "one" } }));
    let cold = helm_with_cache(fixtures(), cache.path()).render(&istiod, &kubernetes(), false).await;
    let cold = cold.expect("istiod renders");

    let mut warm = helm_with_cache(fixtures(), cache.path());
    // A helm that cannot run: only its version is known from before.
    let broken = super::super::binary::Binary::unusable(&version(cache.path()));
    warm.binary = tokio::sync::OnceCell::new_with(Some(broken));
    let warm = warm.render(&istiod, &kubernetes(), false).await.expect("the cache has it");
    assert_eq!((&warm.objects, &warm.manifest, &warm.notes), (&cold.objects, &cold.manifest, &cold.notes));

    let other = action("istiod", "istiod", "1.30.3", json!({ "global": { "meshID": "two" } }));
    let other = helm_with_cache(fixtures(), cache.path()).render(&other, &kubernetes(), false).await;
    assert_ne!(other.expect("istiod renders").manifest, cold.manifest);
}

fn version(cache: &Path) -> String {
    let known: Value =
        super::super::cache::read(&cache.join("helm.json")).expect("helm was asked for its version");
    known["version"].as_str().expect("it has one").into()
}

#[tokio::test]
async fn one_process_renders_the_same_thing_once() {
    let (helm, _cache) = helm(fixtures());
    let kiali = action("kiali-server", "kiali-server", "1.74.0", json!({}));
    let capabilities = kubernetes();
    let (a, b) =
        tokio::join!(helm.render(&kiali, &capabilities, false), helm.render(&kiali, &capabilities, false));
    // Its signing key is random: two processes would have rendered two.
    assert_eq!(a.expect("kiali renders").manifest, b.expect("kiali renders").manifest);
}

#[tokio::test]
async fn renders_the_real_charts() {
    let Some(charts) = real_charts() else { return };
    let (helm, cache) = helm(charts.clone());
    let releases = [
        ("istio-base", "base", ["1.19.3", "1.30.3"]),
        ("istiod", "istiod", ["1.19.3", "1.30.3"]),
        ("istio-gateway", "gateway", ["1.19.3", "1.30.3"]),
        ("kiali-server", "kiali-server", ["1.74.0", "2.29.0"]),
    ];
    let mut lines = Vec::new();
    for (release, name, versions) in releases {
        for version in versions {
            let rendered =
                helm.render(&action(release, name, version, json!({})), &kubernetes(), false).await;
            let rendered = rendered.unwrap_or_else(|error| panic!("{name} {version}: {}", told(&error)));
            let codes: Vec<_> =
                rendered.warnings.iter().filter_map(|warning| warning.code.as_deref()).collect();
            lines.push(format!(
                "{name} {version}: {} crds, {} objects, {} hooks, {} lines of notes {codes:?}",
                rendered.crds.len(),
                rendered.objects.len(),
                rendered.hooks.len(),
                rendered.notes.lines().count(),
            ));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));

    let warm = helm_with_cache(charts, cache.path());
    let start = Instant::now();
    for (release, name, versions) in releases {
        let rendered =
            warm.render(&action(release, name, versions[1], json!({})), &kubernetes(), false).await;
        rendered.expect("the cache has it");
    }
    // Generous, for a debug build on a busy machine; a release build needs a tenth of it.
    assert!(start.elapsed().as_secs() < 3, "four renderings from the cache took {:?}", start.elapsed());
}

/// The stand-ins are of use only while they render what the real charts render.
#[tokio::test]
async fn stand_ins_have_the_objects_of_the_real_charts() {
    let Some(charts) = real_charts() else { return };
    let (real, _real_cache) = helm(charts);
    let (stand_in, _cache) = helm(fixtures());
    for (release, name, version) in [
        ("istio-base", "base", "1.19.3"),
        ("istio-base", "base", "1.30.3"),
        ("istiod", "istiod", "1.19.3"),
        ("istiod", "istiod", "1.30.3"),
        ("istio-gateway", "gateway", "1.19.3"),
        ("istio-gateway", "gateway", "1.30.3"),
        ("kiali-server", "kiali-server", "1.74.0"),
        ("kiali-server", "kiali-server", "2.29.0"),
    ] {
        let action = action(release, name, version, json!({}));
        let sorted = async |helm: &Helm| {
            let rendered = helm.render(&action, &kubernetes(), false).await.expect("the chart renders");
            let mut objects = names(&rendered.objects);
            objects.extend(names(&rendered.crds));
            objects.sort();
            objects
        };
        assert_eq!(sorted(&stand_in).await, sorted(&real).await, "{name} {version}");
    }
}
