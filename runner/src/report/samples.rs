//! Hand-written runs that every reporter is tried with: `(seconds since the start, event)`.

use std::time::Duration;

use meshrun_protocol::{Check, Diagnostic, ObjectRef};

use crate::{
    event::{ActionOutcome, Done, Event, Problem, RunOutcome, StepInfo, StepOutcome, Tally},
    ids::StepId,
};

/// A run: when and what.
pub(super) type Run = Vec<(f64, Event)>;

pub(super) fn steps() -> Vec<StepInfo> {
    let step = |id: &str, uses: &str, needs: &[&str]| StepInfo {
        id: StepId::new(id),
        uses: uses.into(),
        needs: needs.iter().map(|need| StepId::new(*need)).collect(),
    };
    vec![
        step("base", "istio-base", &[]),
        step("istiod", "istiod", &["base"]),
        step("gateway", "gateway", &["istiod"]),
        step("kiali", "kiali", &["istiod"]),
        step("verify", "verify", &["gateway", "kiali"]),
    ]
}

fn id(step: &str) -> StepId {
    StepId::new(step)
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn problem(message: &str, hint: &str) -> Problem {
    Problem { message: message.into(), hint: Some(hint.into()) }
}

fn tally(created: usize, updated: usize, unchanged: usize) -> Tally {
    Tally { created, updated, unchanged, ..Tally::default() }
}

fn started() -> Event {
    Event::RunStarted {
        pipeline: "prod".into(),
        file: "pipelines/prod.yaml".into(),
        cluster: "eks-prod (https://k8s.example:6443)".into(),
        steps: steps(),
    }
}

fn begin(step: &str) -> Event {
    Event::StepStarted { step: id(step), attempt: 1 }
}

fn action(step: &str, action: &str, title: &str) -> Event {
    Event::ActionStarted { step: id(step), action: action.into(), title: title.into() }
}

fn waiting(step: &str, action: &str, reason: &str) -> Event {
    Event::Waiting { step: id(step), action: action.into(), reason: reason.into() }
}

fn object(step: &str, object: ObjectRef, done: Done) -> Event {
    Event::ObjectDone { step: id(step), action: "chart".into(), object, done }
}

fn acted(step: &str, action: &str, outcome: ActionOutcome, elapsed: f64) -> Event {
    Event::ActionFinished { step: id(step), action: action.into(), outcome, elapsed: secs(elapsed) }
}

fn release(step: &str, release: &str, revision: u32) -> Event {
    Event::ReleaseRecorded {
        step: id(step),
        release: release.into(),
        namespace: "istio-system".into(),
        revision,
    }
}

fn ended(step: &str, outcome: StepOutcome, elapsed: f64, tally: Tally) -> Event {
    Event::StepFinished { step: id(step), outcome, elapsed: secs(elapsed), tally }
}

fn checked(step: &str, check: Check) -> Event {
    Event::Checked { step: id(step), check }
}

fn skipped(step: &str, reason: &str) -> Event {
    ended(step, StepOutcome::Skipped { reason: reason.into() }, 0.0, Tally::default())
}

fn finished(outcome: RunOutcome, elapsed: f64, tally: Tally) -> Event {
    Event::RunFinished { outcome, elapsed: secs(elapsed), tally }
}

fn twice() -> Event {
    Event::Diagnosed {
        step: Some(id("istiod")),
        diagnostic: Diagnostic::warning(
            "/values/pilot/env/PILOT_TRACE_SAMPLING",
            "the variable PILOT_TRACE_SAMPLING is set twice, and server-side apply refuses a list \
             with a key twice",
        )
        .with_code("istio/duplicate-env")
        .with_hint("keep pilot.traceSampling and remove pilot.env.PILOT_TRACE_SAMPLING"),
        place: Some("pipelines/prod.yaml:24:9".into()),
    }
}

const BASE: &str = "helm release istio-system/istio-base (base 1.19.3)";
const ISTIOD: &str = "helm release istio-system/istiod (istiod 1.19.3)";
const GATEWAY: &str = "helm release istio-system/istio-gateway (gateway 1.19.3)";

fn base(done: Done, count: Tally) -> Run {
    let crd = |name: &str| ObjectRef::cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition", name);
    vec![
        (0.3, begin("base")),
        (0.3, action("base", "chart", BASE)),
        (0.4, object("base", crd("gateways.networking.istio.io"), done)),
        (0.4, object("base", crd("virtualservices.networking.istio.io"), done)),
        (0.9, acted("base", "chart", ActionOutcome::Done, 0.6)),
        (1.0, ended("base", StepOutcome::Succeeded, 0.7, count)),
    ]
}

/// A first run: everything is created, one optional action fails, one check should be looked at.
pub(super) fn success() -> Run {
    let mut run = vec![(0.0, started()), (0.2, twice())];
    run.extend(base(Done::Created, tally(16, 0, 0)));
    let late = problem(
        "wait for an address of Service istio-system/istio-gateway: none after 30s: \
         the load balancer is being provisioned",
        "look at the events of the Service: kubectl describe service -n istio-system istio-gateway",
    );
    let istiod = Check::passed("istiod-version", "istiod runs 1.19.3", "image docker.io/istio/pilot:1.19.3");
    let deployment = ObjectRef::namespaced("apps/v1", "Deployment", "istio-system", "istiod");
    let passed = Check::passed("crds", "the CRDs of Istio are served", "14 of 14");
    let none = "no workload in the mesh";
    let kiali = Check::warning(
        "kiali-tracing",
        "Kiali reaches its tracing backend",
        "GET http://tempo-query-frontend.observability.svc.cluster.local:3200/status: connection refused",
    )
    .with_hint("deploy the tracing backend, or set external_services.tracing.enabled to false");
    run.extend([
        (1.0, begin("istiod")),
        (1.0, action("istiod", "chart", ISTIOD)),
        (1.2, object("istiod", deployment, Done::Created)),
        (1.3, release("istiod", "istiod", 1)),
        (1.3, acted("istiod", "chart", ActionOutcome::Done, 0.3)),
        (1.3, action("istiod", "ready", "wait until Deployment istio-system/istiod is available")),
        (1.4, waiting("istiod", "ready", "Pod istiod-7d9c5-x2x: ContainerCreating")),
        (3.0, acted("istiod", "ready", ActionOutcome::Done, 1.7)),
        (3.1, checked("istiod", istiod)),
        (3.1, ended("istiod", StepOutcome::Succeeded, 2.1, tally(24, 0, 0))),
        (3.1, begin("gateway")),
        (3.1, begin("kiali")),
        (3.1, action("gateway", "chart", GATEWAY)),
        (3.1, action("kiali", "chart", "helm release istio-system/kiali-server (kiali-server 1.74.0)")),
        (3.5, release("gateway", "istio-gateway", 1)),
        (3.5, acted("gateway", "chart", ActionOutcome::Done, 0.4)),
        (3.5, action("gateway", "address", "wait for an address of Service istio-system/istio-gateway")),
        (4.0, release("kiali", "kiali-server", 1)),
        (4.0, acted("kiali", "chart", ActionOutcome::Done, 0.9)),
        (4.0, checked("kiali", kiali)),
        (4.1, ended("kiali", StepOutcome::Succeeded, 1.0, tally(7, 1, 0))),
        (33.5, acted("gateway", "address", ActionOutcome::Tolerated { error: late }, 30.0)),
        (33.5, ended("gateway", StepOutcome::Succeeded, 30.4, tally(8, 0, 1))),
        (33.5, begin("verify")),
        (33.6, checked("verify", passed)),
        (33.6, checked("verify", Check::skipped("mtls", "plain text is refused", none))),
        (33.6, checked("verify", Check::skipped("sidecars", "every pod has a sidecar", none))),
        (33.6, checked("verify", Check::skipped("tls", "certificates are there", "no Gateway names one"))),
        (33.7, ended("verify", StepOutcome::Succeeded, 0.2, Tally::default())),
        (33.7, finished(RunOutcome::Succeeded, 33.7, tally(55, 1, 1))),
    ]);
    run
}

/// Nothing had to change.
pub(super) fn unchanged() -> Run {
    let mut run = vec![(0.0, started())];
    run.extend(base(Done::Unchanged, tally(0, 0, 16)));
    for (step, count) in [("istiod", 24), ("gateway", 9), ("kiali", 8)] {
        run.extend([
            (1.0, begin(step)),
            (1.0, action(step, "chart", "helm release istio-system/x (x 1.19.3)")),
            (1.1, acted(step, "chart", ActionOutcome::Done, 0.1)),
            (1.1, ended(step, StepOutcome::Succeeded, 0.1, tally(0, 0, count))),
        ]);
    }
    run.push((1.2, skipped("verify", "its `if` is false")));
    run.push((1.2, finished(RunOutcome::Succeeded, 1.2, tally(0, 0, 57))));
    run
}

/// istiod never gets ready; what needs it is skipped.
pub(super) fn failure() -> Run {
    let mut run = vec![(0.0, started())];
    run.extend(base(Done::Created, tally(16, 0, 0)));
    let pull =
        "Pod istiod-7d9c5-x2x: ImagePullBackOff: Back-off pulling image \"docker.io/istio/pilot:1.19.33\"";
    let error = problem(
        &format!("wait until Deployment istio-system/istiod is available: not after 4m: {pull}"),
        "check the image's name and tag, and the registry credentials of the namespace",
    );
    run.extend([
        (1.0, begin("istiod")),
        (1.0, action("istiod", "chart", ISTIOD)),
        (1.3, acted("istiod", "chart", ActionOutcome::Done, 0.3)),
        (1.3, action("istiod", "ready", "wait until Deployment istio-system/istiod is available")),
        (1.4, waiting("istiod", "ready", "Pod istiod-7d9c5-x2x: ContainerCreating")),
        (9.0, waiting("istiod", "ready", pull)),
        (20.0, waiting("istiod", "ready", "Pod istiod-7d9c5-x2x: ContainerCreating")),
        (241.3, acted("istiod", "ready", ActionOutcome::Failed { error: error.clone() }, 240.0)),
        (241.4, ended("istiod", StepOutcome::Failed { error, tolerated: false }, 240.4, tally(24, 0, 0))),
        (241.4, skipped("gateway", "needs istiod, which failed")),
        (241.4, skipped("kiali", "needs istiod, which failed")),
        (241.4, skipped("verify", "needs gateway, which was skipped")),
        (241.4, finished(RunOutcome::Failed, 241.4, tally(40, 0, 0))),
    ]);
    run
}

/// Two checks of the last step fail.
pub(super) fn failed_checks() -> Run {
    let first = Check::failed(
        "crds",
        "the CRDs of Istio are served",
        "13 of 14: telemetries.telemetry.istio.io is not",
    )
    .with_hint("run the step that brings them again");
    let second = Check::failed("gateway", "the gateway answers", "GET http://10.0.0.7/: connection refused");
    let error = problem(
        "2 of 3 checks failed: the CRDs of Istio are served: 13 of 14: telemetries.telemetry.istio.io is not",
        "run the step that brings them again",
    );
    let checked = |check| (0.2, checked("verify", check));
    vec![
        (0.0, started()),
        (0.1, begin("verify")),
        checked(Check::passed("version", "istiod runs 1.19.3", "image docker.io/istio/pilot:1.19.3")),
        checked(first),
        checked(second),
        (0.3, ended("verify", StepOutcome::Failed { error, tolerated: false }, 0.2, Tally::default())),
        (0.3, finished(RunOutcome::Failed, 0.3, Tally::default())),
    ]
}

/// The second attempt succeeds; a step with continue-on-error fails.
pub(super) fn retry() -> Run {
    let mut run = vec![(0.0, started())];
    run.extend(base(Done::Created, tally(16, 0, 0)));
    let refused = problem(
        "apply Deployment istio-system/istiod: webhook \"rev.namespace.sidecar-injector.istio.io\" \
         did not answer: connection refused",
        "look at the pods behind the webhook's service",
    );
    let config = problem(
        "plan step kiali: values are wrong: `auth.strategy` is `anon`",
        "use one of anonymous, login, openid, token",
    );
    run.extend([
        (1.0, begin("istiod")),
        (1.0, twice()),
        (1.0, action("istiod", "chart", ISTIOD)),
        (1.2, acted("istiod", "chart", ActionOutcome::Failed { error: refused.clone() }, 0.2)),
        (
            1.2,
            Event::StepRetrying {
                step: id("istiod"),
                attempt: 1,
                attempts: 3,
                backoff: secs(5.0),
                error: refused,
            },
        ),
        (6.2, Event::StepStarted { step: id("istiod"), attempt: 2 }),
        (6.2, twice()),
        (6.2, action("istiod", "chart", ISTIOD)),
        (6.5, release("istiod", "istiod", 4)),
        (6.5, acted("istiod", "chart", ActionOutcome::Done, 0.3)),
        (6.6, ended("istiod", StepOutcome::Succeeded, 5.6, tally(0, 3, 21))),
        (6.6, begin("gateway")),
        (6.6, begin("kiali")),
        (6.7, ended("kiali", StepOutcome::Failed { error: config, tolerated: true }, 0.1, Tally::default())),
        (6.8, ended("gateway", StepOutcome::Succeeded, 0.2, tally(0, 0, 9))),
        (6.8, skipped("verify", "its `if` is false")),
        (6.8, finished(RunOutcome::Succeeded, 6.8, tally(16, 3, 30))),
    ]);
    run
}

/// Ctrl-C while the gateway waits for its address.
pub(super) fn interrupted() -> Run {
    let mut run = vec![(0.0, started())];
    run.extend(base(Done::Unchanged, tally(0, 0, 16)));
    run.extend([
        (1.0, begin("istiod")),
        (1.1, ended("istiod", StepOutcome::Succeeded, 0.1, tally(0, 0, 24))),
        (1.1, begin("gateway")),
        (1.1, action("gateway", "address", "wait for an address of Service istio-system/istio-gateway")),
        (1.2, waiting("gateway", "address", "the load balancer has no address yet")),
        (12.0, Event::Interrupted),
        (12.1, acted("gateway", "address", ActionOutcome::Cancelled, 11.0)),
        (12.1, ended("gateway", StepOutcome::Cancelled, 11.0, tally(8, 0, 0))),
        (12.1, finished(RunOutcome::Interrupted, 12.1, tally(8, 0, 40))),
    ]);
    run
}
