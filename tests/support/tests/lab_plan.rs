//! A plan on an empty cluster: everything that the run will make, also of kinds that nothing serves yet; checked against
//! the CRDs of the charts; and not a thing is written.

use std::collections::BTreeSet;

use meshrun_tests::{cluster, fixtures};
use serde_json::Value;

#[test]
fn plan_on_an_empty_cluster_names_what_the_run_then_makes() {
    let cluster = cluster();
    for pipeline in ["prod.yaml", "latest.yaml"] {
        let before = cluster.objects().snapshot();
        let planned =
            cluster.meshrun(["plan", "-o", "json"]).arg(fixtures::pipeline(pipeline)).run().expect_code(0);
        before.assert_unchanged(&cluster.objects().snapshot(), &planned);

        let plan: Value = serde_json::from_str(&planned.stdout).expect("JSON");
        let mut wanted = BTreeSet::new();
        let mut later = BTreeSet::new();
        for step in plan["steps"].as_array().expect("steps") {
            let state = step["state"]["state"].as_str().unwrap_or_default();
            assert!(["planned", "unknown"].contains(&state), "{step}");
            for action in step["actions"].as_array().expect("actions") {
                for change in action["changes"].as_array().expect("changes") {
                    let object = key(&change["object"]);
                    match change["verb"].as_str() {
                        Some("create") => wanted.insert(object),
                        // Its API comes with an earlier step.
                        Some("create-later") => later.insert(object.clone()) && wanted.insert(object),
                        _ => panic!("there is nothing yet to do this with: {change}"),
                    };
                }
            }
        }
        let gateway = if pipeline == "prod.yaml" { "istio-system" } else { "istio-ingress" };
        let custom = [
            format!("Gateway {gateway}/default-gateway"),
            "PeerAuthentication istio-system/default".to_owned(),
            "Telemetry istio-system/default".to_owned(),
        ];
        assert_eq!(later, custom.into(), "{planned}");

        let run = cluster.meshrun(["run", "--report", "json"]).arg(fixtures::pipeline(pipeline));
        let run = run.run().expect_code(0);
        let events = run.events();
        let created =
            events.iter().filter(|event| event["event"] == "object-done" && event["done"] == "created");
        let created: BTreeSet<String> = created.map(|event| key(&event["object"])).collect();
        assert_eq!(created, wanted, "{planned}{run}");
        cluster.reset();
    }
}

#[test]
fn object_that_its_crd_refuses_is_found_before_the_crd_is_there() {
    let cluster = cluster();
    let Some(_) = cluster.lab() else { return };
    if !fixtures::charts().join("istiod-1.19.3.tgz").is_file() {
        return eprintln!("skipped: the stand-in charts have CRDs that take anything");
    }
    let before = cluster.objects().snapshot();
    let object = "[{ apiVersion: security.istio.io/v1beta1, kind: PeerAuthentication, metadata: { name: strict, \
                  namespace: istio-system }, spec: { mtls: { mode: STRIKT } } }]";
    for pipeline in ["prod.yaml", "latest.yaml"] {
        for command in ["plan", "run"] {
            let refused = cluster
                .meshrun([command, &format!("--set=steps.security.with.objects={object}")])
                .arg(fixtures::pipeline(pipeline))
                .run()
                .expect_code(3);
            let wanted = "error: step `security`: PeerAuthentication istio-system/strict is invalid: spec.mtls.mode: \
                          expected one of UNSET, DISABLE, PERMISSIVE, STRICT, got \"STRIKT\"\n  --> ";
            assert!(refused.stderr.contains(wanted), "{refused}");
            assert!(refused.stderr.contains("uses: security"), "no place\n{refused}");
            assert!(refused.stderr.contains("= correct what the step's `with:` says"), "no hint\n{refused}");
            before.assert_unchanged(&cluster.objects().snapshot(), &refused);
        }
    }
}

fn key(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match object["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text("kind"), text("name")),
        None => format!("{} {}", text("kind"), text("name")),
    }
}
