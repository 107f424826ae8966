//! From a chart and values to objects.

use std::os::unix::fs::PermissionsExt;

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
    assert!(error.to_string().contains("servcie"), "{error}");
    insta::assert_snapshot!(told_without_helm(&error, "in the following chart(s):"));
}

#[tokio::test]
async fn repeats_what_a_chart_says_when_it_fails() {
    let mirror = mirror_with(&[("templates/a.yaml", "{{ fail \"unknown profile\" }}")]);
    let (helm, _cache) = helm(mirror.path().into());
    let mesh = action("mesh", "mesh", "1.0.0", json!({}));
    let error = helm.render(&mesh, &kubernetes(), false).await.expect_err("the chart fails");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn says_that_a_chart_is_not_for_this_cluster() {
    let chart = "apiVersion: v2\nname: mesh\nversion: 1.0.0\nkubeVersion: '>=1.99.0'\n";
    let mirror = mirror_with(&[("Chart.yaml", chart)]);
    let (helm, _cache) = helm(mirror.path().into());
    let mesh = action("mesh", "mesh", "1.0.0", json!({}));
    let error = helm.render(&mesh, &kubernetes(), false).await.expect_err("the cluster is too old");
    insta::assert_snapshot!(told(&error));
}

#[tokio::test]
async fn tells_apart_what_a_chart_with_everything_renders() {
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: a.example.com }\n";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  \
                  found: {{ lookup \"v1\" \"Secret\" .Release.Namespace \"\" | toJson | quote }}\n  \
                  apis: {{ .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" | quote }}\n  \
                  name: {{ .Values.name | quote }}\n";
    let hook = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: b, annotations: { helm.sh/hook: post-install } }\n";
    let mirror = mirror_with(&[
        ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
        ("charts/sub/crds/a.yaml", crd),
        ("templates/a.yaml", config),
        ("templates/b.yaml", hook),
        ("templates/NOTES.txt", "<{{ .Values.name }}> & co"),
        ("templates/ignored.yaml", "{{ fail \"not part of the chart\" }}"),
        (".helmignore", "ignored.yaml\n"),
    ]);
    let (helm, _cache) = helm(mirror.path().into());
    let mesh = action("mesh", "mesh", "1.0.0", json!({ "name": "one: \"two\"" }));
    let mesh = helm.render(&mesh, &kubernetes(), false).await.expect("the chart renders");
    let hooks: Vec<_> = mesh.hooks.iter().map(|hook| hook.object.to_string()).collect();
    assert_eq!(names(&mesh.crds), ["CustomResourceDefinition a.example.com"]);
    assert_eq!((names(&mesh.objects), hooks), (vec!["ConfigMap a".to_owned()], vec!["Job b".to_owned()]));
    assert_eq!(mesh.objects[0].text("/data/apis"), "true");
    assert_eq!(mesh.notes, "<one: \"two\"> & co");
    insta::assert_json_snapshot!(mesh.warnings);
}

#[tokio::test]
async fn a_rendering_with_a_secret_stays_off_the_disk() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData: { key: {{ .Values.key }} }\n";
    let mirror = mirror_with(&[("templates/a.yaml", secret)]);
    let (helm, cache) = helm(mirror.path().into());
    let mesh = action("mesh", "mesh", "1.0.0", json!({ "key": "s3cret" }));
    helm.render(&mesh, &kubernetes(), false).await.expect("the chart renders");
    assert!(!cache.path().join("renders").exists());
}

#[tokio::test]
async fn the_cache_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (helm, cache) = helm(fixtures());
    helm.render(&action("istiod", "istiod", "1.19.3", json!({})), &kubernetes(), false)
        .await
        .expect("it renders");
    let renders = cache.path().join("renders");
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    let files: Vec<_> =
        fs_err::read_dir(&renders).expect("it is there").flatten().map(|file| file.path()).collect();
    assert_eq!((mode(&renders), files.len(), mode(&files[0])), (0o700, 1, 0o600));
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
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (program, calls) = (directory.path().join("helm"), directory.path().join("calls"));
    let real = helm_program().unwrap_or_else(|| "helm".into());
    let script =
        format!("#!/bin/sh\necho \"$1\" >>'{}'\nexec '{}' \"$@\"\n", calls.display(), real.display());
    fs_err::write(&program, script).expect("it is written");
    fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it may be run");
    let templates =
        || fs_err::read_to_string(&calls).expect("calls").lines().filter(|call| *call == "template").count();
    let helm = || {
        let (helm, cache) = (Some(program.clone()), directory.path().join("cache"));
        Helm::new(HelmOptions { helm, mirrors: vec![charts.clone()], cache, lock: None })
    };
    let cold = helm();
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
                cold.render(&action(release, name, version, json!({})), &kubernetes(), false).await;
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

    let before = templates();
    let warm = helm();
    for (release, name, versions) in releases {
        let rendered =
            warm.render(&action(release, name, versions[1], json!({})), &kubernetes(), false).await;
        rendered.expect("the cache has it");
    }
    assert_eq!((before, templates()), (8, 8), "a rendering that is in the cache starts no helm");
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
