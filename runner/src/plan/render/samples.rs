//! Hand-written plans that every rendering is tried with.

use meshrun_protocol::{Diagnostic, ObjectRef};
use serde_json::{Value, json};

use crate::{
    ids::StepId,
    plan::model::{Change, FieldChange, Plan, PlannedAction, StepPlan, StepState, Verb},
};

fn plan(steps: Vec<StepPlan>) -> Plan {
    Plan { pipeline: "prod".into(), cluster: "eks-prod (https://k8s.example:6443)".into(), steps }
}

fn step(id: &str, uses: &str, needs: &[&str], actions: Vec<PlannedAction>) -> StepPlan {
    StepPlan {
        id: StepId::new(id),
        uses: uses.into(),
        needs: needs.iter().map(|need| StepId::new(*need)).collect(),
        state: StepState::Planned,
        actions,
        diagnostics: Vec::new(),
    }
}

fn action(title: &str, revision: Option<u32>, changes: Vec<Change>) -> PlannedAction {
    PlannedAction { id: "chart".into(), title: title.into(), changes, revision }
}

fn crd(name: &str, verb: Verb) -> Change {
    let object = ObjectRef::cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition", name);
    Change { object, verb, adopted_from: None, fields: Vec::new() }
}

fn change(kind: &str, name: &str, verb: Verb, fields: &[(&str, Value, Value)]) -> Change {
    let value = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
    let field = |(path, before, after): &(&str, Value, Value)| FieldChange {
        path: (*path).into(),
        before: value(before),
        after: value(after),
    };
    Change {
        object: ObjectRef::namespaced("v1", kind, "istio-system", name),
        verb,
        adopted_from: None,
        fields: fields.iter().map(field).collect(),
    }
}

const BASE: &str = "helm release istio-system/istio-base (base 1.19.3)";
const ISTIOD: &str = "helm release istio-system/istiod (istiod 1.19.3)";

/// Nothing is there yet.
pub(super) fn first() -> Plan {
    let crds = vec![
        crd("gateways.networking.istio.io", Verb::Create),
        crd("virtualservices.networking.istio.io", Verb::Create),
    ];
    let wait = action("wait until the CRDs are established", None, Vec::new());
    let gateway = change("Gateway", "default-gateway", Verb::CreateLater, &[]);
    let mut notify = step("notify", "notify", &["gateway"], Vec::new());
    notify.state = StepState::KnownAfter { step: StepId::new("gateway") };
    let mut kiali = step("kiali", "kiali", &["base"], Vec::new());
    kiali.state = StepState::Skipped { reason: "its `if` is false".into() };
    plan(vec![
        step("base", "istio-base", &[], vec![action(BASE, Some(1), crds), wait]),
        step("gateway", "gateway", &["base"], vec![action("apply 1 object", None, vec![gateway])]),
        kiali,
        notify,
    ])
}

/// A new version of istiod, and every kind of change.
pub(super) fn upgrade() -> Plan {
    let mesh = "accessLogFile: /dev/stdout\ndefaultConfig:\n  tracing:\n    sampling: 1.0\ntrustDomain: cluster.local\n";
    let image = "spec.template.spec.containers[name=discovery].image";
    let changes = vec![
        change(
            "ConfigMap",
            "istio",
            Verb::Update,
            &[("data.mesh", json!(mesh), json!(mesh.replace("sampling: 1.0", "sampling: 100.0")))],
        ),
        change(
            "Deployment",
            "istiod",
            Verb::Update,
            &[
                ("metadata.labels[app.kubernetes.io/version]", Value::Null, json!("1.19.3")),
                ("spec.replicas", json!(1), json!(2)),
                (image, json!("docker.io/istio/pilot:1.19.2"), json!("docker.io/istio/pilot:1.19.3")),
            ],
        ),
        change("Service", "istiod", Verb::Replace, &[("spec.clusterIP", json!("10.0.0.1"), json!("None"))]),
        change("ServiceAccount", "istiod", Verb::Unchanged, &[]),
        change("Secret", "old", Verb::Delete, &[]),
    ];
    let mut istiod = step(
        "istiod",
        "istiod",
        &["base"],
        vec![
            action(ISTIOD, Some(4), changes),
            action("wait until Deployment istio-system/istiod is available", None, Vec::new()),
        ],
    );
    istiod.diagnostics.push(
        Diagnostic::warning("/values/pilot/autoscaleEnabled", "replicas are set and an autoscaler is, too")
            .with_hint("remove replicaCount, or set autoscaleEnabled to false"),
    );
    let mut plan = unchanged();
    plan.steps.push(istiod);
    plan
}

/// Everything is as it should be.
pub(super) fn unchanged() -> Plan {
    let crds = vec![
        crd("gateways.networking.istio.io", Verb::Unchanged),
        crd("virtualservices.networking.istio.io", Verb::Unchanged),
    ];
    plan(vec![step("base", "istio-base", &[], vec![action(BASE, None, crds)])])
}
