//! `destroy` takes away what the pipeline made, names what is left, and touches nothing of anybody else's.

use std::collections::{BTreeMap, BTreeSet};

use meshrun_tests::{Cluster, Finished, Moment, Objects, Running, cluster, fixtures};
use serde_json::{Value, json};
use tempfile::TempDir;

const MESH: &str = "istio-system";
/// What strangers have in the mesh's namespace before anything of Istio is there.
const STRANGERS: &str = r#"
{ "apiVersion": "v1", "kind": "List", "items": [
  { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system", "labels": { "team": "mesh" } } },
  { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "theirs", "namespace": "istio-system" }, "data": { "a": "b" } },
  { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "theirs", "namespace": "istio-system" } }
] }"#;
/// An application that comes into the mesh: injected, with an object of Istio's.
const APPLICATION: &str = r#"
{ "apiVersion": "v1", "kind": "List", "items": [
  { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "istio-injection": "enabled" } } },
  { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop" },
    "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": {
      "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": "nginx" }] } } } },
  { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "debug", "namespace": "shop" },
    "spec": { "containers": [{ "name": "debug", "image": "nginx" }] } },
  { "apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
    "metadata": { "name": "httpbin", "namespace": "shop" },
    "spec": { "hosts": ["httpbin.example.com"], "gateways": ["istio-system/default-gateway"],
              "http": [{ "route": [{ "destination": { "host": "httpbin", "port": { "number": 8000 } } }] }] } }
] }"#;

/// A cluster and a directory to work in.
struct Scene<'a> {
    cluster: &'a Cluster,
    directory: TempDir,
    pipeline: &'static str,
}

impl<'a> Scene<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self::with(cluster, "prod.yaml")
    }

    fn with(cluster: &'a Cluster, pipeline: &'static str) -> Self {
        Self { cluster, directory: TempDir::new().expect("a directory"), pipeline }
    }

    /// Applies a manifest with `kubectl apply`, as people do.
    fn kubectl_apply(&self, manifest: &str) {
        let file = self.directory.path().join("manifest.json");
        fs_err::write(&file, manifest).expect("a file");
        self.cluster.kubectl(["apply", "-f", &file.to_string_lossy()]);
    }

    fn run(&self) {
        self.cluster.meshrun(["run"]).arg(fixtures::pipeline(self.pipeline)).run().expect_code(0);
    }

    fn destroy(&self, more: &[&str]) -> meshrun_tests::Meshrun {
        let destroy = self.cluster.meshrun(["destroy", "--yes", "--report", "json"]).args(more);
        destroy.arg(fixtures::pipeline(self.pipeline)).current_dir(self.directory.path())
    }
}

#[test]
fn names_everything_that_is_left_and_leaves_strangers_alone() {
    let cluster = cluster();
    let scene = Scene::new(&cluster);
    scene.kubectl_apply(STRANGERS);
    let before = cluster.objects();
    scene.run();
    scene.kubectl_apply(APPLICATION);
    cluster.kubectl(["rollout", "status", "-n", "shop", "deployment/web", "--timeout=60s"]);
    assert_eq!(containers(&cluster.objects()), ["debug", "istio-proxy", "web"]);

    let backup = scene.directory.path().join("backup.json");
    let finished = scene.destroy(&["--backup", &backup.to_string_lossy()]).run().expect_code(8);

    let after = settled(&cluster);
    let named = residue(&finished);
    let new: Vec<String> = keys(&after).difference(&keys(&before)).cloned().collect();
    let unnamed: Vec<&String> =
        new.iter().filter(|key| !named.contains_key(*key) && !is_shops(key)).collect();
    assert!(unnamed.is_empty(), "new and not named: {unnamed:?}\n{finished}");
    let mut others = named.clone();
    others.retain(|key, (owner, command)| {
        let Some(crd) = key.strip_prefix("CustomResourceDefinition ") else { return true };
        assert_eq!(owner, "made by step base of this pipeline; CRDs stay unless --crds is given", "{crd}");
        assert_eq!(command, &format!("kubectl delete customresourcedefinition.apiextensions.k8s.io {crd}"));
        false
    });
    assert_eq!(named.len() - others.len(), 15, "{finished}");
    // Nothing makes this pod anew, so its sidecar stays in it; and what is left is not forgotten.
    let command = "keep the manifest of what nobody makes again, then run `kubectl delete pod -n shop debug`";
    let debug = ("made by others, its sidecar by istiod".to_owned(), command.to_owned());
    assert_eq!(others, BTreeMap::from([("Pod shop/debug".to_owned(), debug), record()]), "{finished}");
    untouched(&before, &after, &finished);

    // The injected application runs on, without its sidecars, and nothing asks for them any more.
    assert_eq!(containers(&after), ["debug", "istio-proxy", "web"]);
    assert_eq!(after.of("Namespace", "shop")["metadata"]["labels"]["istio-injection"], Value::Null);
    after.of("VirtualService", "shop/httpbin");

    // The backup is what people made, and comes back after a reinstall.
    let text = fs_err::read_to_string(&backup).expect("a backup");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let names: Vec<&Value> =
        list["items"].as_array().expect("items").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["httpbin"], "{text}");
    cluster.kubectl(["delete", "deployment", "web", "-n", "shop"]);
    cluster.kubectl(["delete", "virtualservice", "httpbin", "-n", "shop"]);
    scene.run();
    cluster.kubectl(["apply", "-f", &backup.to_string_lossy()]);
    cluster.objects().check(
        "VirtualService",
        "shop/httpbin",
        &[("/spec/hosts", json!(["httpbin.example.com"]))],
    );
}

#[test]
fn dry_run_lists_exactly_what_is_deleted_then_and_writes_nothing() {
    let cluster = cluster();
    for (pipeline, more) in [("prod.yaml", &[][..]), ("latest.yaml", &["--crds"][..])] {
        let scene = Scene::with(&cluster, pipeline);
        scene.run();
        scene.kubectl_apply(APPLICATION);
        cluster.kubectl(["rollout", "status", "-n", "shop", "deployment/web", "--timeout=60s"]);
        let before = cluster.objects().snapshot();
        let dry = cluster.meshrun(["destroy", "--dry-run", "-o", "json"]).args(more);
        let dry = dry.arg(fixtures::pipeline(pipeline)).current_dir(scene.directory.path());
        let dry = dry.run().expect_code(0);
        before.assert_unchanged(&cluster.objects().snapshot(), &dry);
        let files: Vec<_> = fs_err::read_dir(scene.directory.path()).expect("a directory").collect();
        assert_eq!(files.len(), 1, "no backup beside the manifest: {files:?}");

        let finished = scene.destroy(more).run();
        assert!(matches!(finished.code, Some(0 | 8)), "{finished}");
        let events = finished.events();
        let deleted = events.iter().filter(|event| event["done"] == "deleted");
        let deleted: BTreeSet<String> =
            deleted.map(|event| format!("{}: {}", event["step"], event["object"])).collect();
        assert_eq!(planned_deletions(&dry), deleted, "{dry}{finished}");
        assert!(deleted.len() > 40, "{finished}");
        cluster.reset();
    }
}

/// The deletions of a plan, with their step.
fn planned_deletions(dry: &Finished) -> BTreeSet<String> {
    let plan: Value = serde_json::from_str(&dry.stdout).unwrap_or_else(|error| panic!("{error}\n{dry}"));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = BTreeSet::new();
    for step in list(&plan["steps"]) {
        let changes = list(&step["actions"]).into_iter().flat_map(|action| list(&action["changes"]));
        let deletions = changes.filter(|change| change["verb"] == "delete");
        found.extend(deletions.map(|change| format!("{}: {}", step["id"], change["object"])));
    }
    found
}

#[test]
fn with_crds_leaves_exactly_what_was_there_before() {
    let cluster = cluster();
    let empty = cluster.objects();
    for pipeline in ["latest.yaml", "prod.yaml"] {
        let scene = Scene::with(&cluster, pipeline);
        scene.run();
        let finished = scene.destroy(&["--crds"]).run().expect_code(0);
        assert_eq!(difference(&empty, &settled(&cluster)), Vec::<String>::new(), "{finished}");
    }

    // The same where the mesh's namespace is somebody else's.
    let scene = Scene::new(&cluster);
    scene.kubectl_apply(STRANGERS);
    let before = cluster.objects();
    scene.run();
    let finished = scene.destroy(&["--crds"]).run().expect_code(0);
    let after = settled(&cluster);
    assert_eq!(difference(&before, &after), Vec::<String>::new(), "{finished}");
    untouched(&before, &after, &finished);
    scene.destroy(&[]).run().expect_code(0).expect_text("has made nothing in this cluster");
}

#[test]
fn namespace_with_a_strangers_object_is_kept_and_named() {
    let cluster = cluster();
    let scene = Scene::new(&cluster);
    scene.run();
    cluster.kubectl(["create", "configmap", "theirs", "-n", MESH]);
    let finished = scene.destroy(&["--crds"]).run().expect_code(8);
    let owner = "made by step base of this pipeline; objects of others are in it".to_owned();
    let command = "look what is in it: kubectl api-resources --namespaced --verbs=list -o name \
                   | xargs -n1 kubectl get -n istio-system";
    let left = BTreeMap::from([(format!("Namespace {MESH}"), (owner, command.to_owned())), record()]);
    assert_eq!(residue(&finished), left, "{finished}");
    let after = settled(&cluster);
    after.of("ConfigMap", "istio-system/theirs");
    let left: Vec<&str> = after.names("Secret").filter(|name| name.starts_with(MESH)).collect();
    assert_eq!(left, Vec::<&str>::new());

    // Once they have gone, the next destroy takes the rest.
    cluster.kubectl(["delete", "configmap", "theirs", "-n", MESH]);
    scene.destroy(&[]).run().expect_code(0);
    assert!(cluster.objects().find("Namespace", MESH).is_none());
    assert!(cluster.objects().find("Secret", "default/meshrun.prod").is_none());
}

#[test]
fn killed_destroy_is_completed_by_the_next() {
    let cluster = cluster();
    let scene = Scene::new(&cluster);
    let empty = cluster.objects();
    for moment in ["gateway", "istiod", "base", "(crds)", "(namespaces)"] {
        scene.run();
        let running = scene.destroy(&["--crds"]).start();
        let reached = running.line(|line| line.contains("\"object-done\"") && line.contains(&step(moment)));
        kill(running, moment, reached.is_some());
        let finished = scene.destroy(&["--crds", "--wait-lock=30s"]).run().expect_code(0);
        assert_eq!(difference(&empty, &settled(&cluster)), Vec::<String>::new(), "{moment}: {finished}");
    }
}

fn kill(running: Running, moment: &str, reached: bool) {
    let killed = running.kill();
    assert!(reached, "{} was not reached\n{killed}", Moment::Event(moment.into()));
}

fn step(id: &str) -> String {
    format!("\"step\":\"{id}\"")
}

/// Names of the containers of the application's pods that are not going.
fn containers(objects: &Objects) -> Vec<String> {
    let names: BTreeSet<String> = objects
        .names("Pod")
        .filter(|name| name.starts_with("shop/"))
        .map(|name| objects.of("Pod", name))
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .flat_map(|pod| pod["spec"]["containers"].as_array().cloned().unwrap_or_default())
        .map(|container| container["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.into_iter().collect()
}

/// The inventory, which is named as long as it has to remember something.
fn record() -> (String, (String, String)) {
    let owner = "made by meshrun, which has to know what else is left";
    let command = "kubectl delete secret meshrun.prod -n default, once nothing else is";
    ("Secret default/meshrun.prod".to_owned(), (owner.to_owned(), command.to_owned()))
}

/// What the report says is left, by `Kind name`: whose it is, and the command that removes it.
fn residue(finished: &Finished) -> BTreeMap<String, (String, String)> {
    let events = finished.events();
    let checks = events.iter().filter(|event| event["event"] == "checked" && event["step"] == "(residue)");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    checks
        .filter_map(|event| {
            let check = &event["check"];
            let key = check["title"].as_str()?.strip_suffix(" is left")?.to_owned();
            Some((key, (text(&check["evidence"]), text(&check["hint"]))))
        })
        .collect()
}

/// The objects once nothing is going any more.
fn settled(cluster: &Cluster) -> Objects {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let objects = cluster.objects();
        let going = objects.keys(|object| !object["metadata"]["deletionTimestamp"].is_null());
        if going.is_empty() || std::time::Instant::now() > deadline {
            return objects;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

/// Everything but what the server makes and removes together with a CRD.
fn keys(objects: &Objects) -> BTreeSet<String> {
    let own = |object: &Value| {
        object["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"].is_null()
            && !(object["kind"] == "Lease" && object["metadata"]["namespace"] == "kube-system")
    };
    objects.keys(own).into_iter().collect()
}

fn difference(before: &Objects, after: &Objects) -> Vec<String> {
    let (before, after) = (keys(before), keys(after));
    let new = after.difference(&before).map(|key| format!("new: {key}"));
    new.chain(before.difference(&after).map(|key| format!("gone: {key}"))).collect()
}

/// Whether it is the application's own; istiod's certificate in its namespace is not.
fn is_shops(key: &str) -> bool {
    (key.contains(" shop/") && !key.ends_with("/istio-ca-root-cert")) || key == "Namespace shop"
}

/// Asserts that objects that were there before were not written; the namespace of the mesh says what it said before.
fn untouched(before: &Objects, after: &Objects, finished: &Finished) {
    for (kind, name) in
        [("ConfigMap", "istio-system/theirs"), ("Secret", "istio-system/theirs"), ("Namespace", "default")]
    {
        assert_eq!(before.of(kind, name), after.of(kind, name), "{kind} {name}\n{finished}");
    }
    let content = |objects: &Objects| {
        let mut namespace = objects.of("Namespace", MESH).clone();
        for field in ["managedFields", "resourceVersion"] {
            namespace["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
        }
        namespace
    };
    assert_eq!(content(before), content(after), "{finished}");
}
