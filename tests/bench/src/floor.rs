//! The floor: a bare client that applies the same objects with the same dependencies between the steps and waits for
//! the same readiness. It plans, renders, records, checks and asks nothing: no tool that rolls out by these gates can
//! be faster.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    chores::Tools,
    client::{self, Kinds},
    script::Releases,
    subject::Subject,
};

/// Requests of a step in flight.
const IN_FLIGHT: usize = 8;
/// Pause before a request that came too early (a CRD just established) is repeated.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is repeated.
const ATTEMPTS: u32 = 100;

/// One step: its objects, and the steps that it needs.
#[derive(Debug)]
struct Step {
    id: String,
    needs: Vec<String>,
    objects: Vec<Value>,
}

/// What is to be rolled out.
#[derive(Debug)]
pub(crate) struct Wanted {
    steps: Vec<Step>,
    kinds: Kinds,
}

impl Wanted {
    /// Reads what meshrun rolled out: the steps and their objects from its plan, the objects of releases as helm shows
    /// them, the others as the cluster has them.
    pub(crate) async fn collect(tools: &Tools, subject: &Subject, kubeconfig: &Path) -> Result<Self> {
        let client = client::connect(kubeconfig).await?;
        let kinds = client::kinds(&client).await?;
        let mut rendered = Vec::new();
        for manifest in Releases::recorded(tools, kubeconfig)?.manifests()? {
            rendered.extend(client::documents(&manifest)?);
        }
        let plan = subject.plan_json()?;
        let mut steps = Vec::new();
        for step in items(&plan["steps"]) {
            let changes = items(&step["actions"]).iter().flat_map(|action| items(&action["changes"]));
            let mut objects = Vec::new();
            for change in changes {
                objects.push(object(&client, &kinds, &rendered, &change["object"]).await?);
            }
            let needs = items(&step["needs"]).iter().filter_map(Value::as_str).map(Into::into).collect();
            steps.push(Step { id: step["id"].as_str().unwrap_or_default().into(), needs, objects });
        }
        Ok(Self { steps, kinds })
    }

    /// Rolls out, `again` where everything is there already. Returns the seconds it took.
    ///
    /// The client connects anew; where kinds are found it knows.
    pub(crate) async fn roll_out(&self, kubeconfig: &Path, again: bool) -> Result<f64> {
        let started = Instant::now();
        let client = client::connect(kubeconfig).await?;
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut running = stream::FuturesUnordered::new();
        let mut left: Vec<&Step> = self.steps.iter().collect();
        loop {
            let is_free = |step: &&Step| step.needs.iter().all(|need| done.contains(need.as_str()));
            let (free, later): (Vec<_>, Vec<_>) = left.into_iter().partition(is_free);
            left = later;
            for step in free {
                let client = client.clone();
                running.push(async move { self.step(&client, step, again).await.map(|()| step.id.as_str()) });
            }
            match running.next().await {
                Some(step) => drop(done.insert(step?)),
                None => break,
            }
        }
        Ok(started.elapsed().as_secs_f64())
    }

    async fn step(&self, client: &Client, step: &Step, again: bool) -> Result<()> {
        for phase in 0..3 {
            let objects = step.objects.iter().filter(|object| phase_of(object) == phase);
            let writes: Vec<_> = objects.map(|object| self.apply(client, object, again)).collect();
            stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
            if phase == 0 {
                self.wait(client, step, "CustomResourceDefinition", |crd| {
                    let conditions = crd.data.pointer("/status/conditions").and_then(Value::as_array);
                    conditions.is_some_and(|all| {
                        all.iter().any(|one| one["type"] == "Established" && one["status"] == "True")
                    })
                })
                .await?;
            }
        }
        self.ready(client, step, again).await
    }

    /// Waits as the pipeline does: workloads in full, webhooks configured, load balancers with an address.
    async fn ready(&self, client: &Client, step: &Step, again: bool) -> Result<()> {
        let mut least = BTreeMap::new();
        for autoscaler in step.objects.iter().filter(|object| object["kind"] == "HorizontalPodAutoscaler") {
            let replicas = autoscaler["spec"]["minReplicas"].as_u64().unwrap_or(1);
            let name = autoscaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default();
            least.insert(name, replicas);
            let target = step.objects.iter().find(|one| one["kind"] == "Deployment" && name_of(one) == name);
            if let Some(target) = target.filter(|_| !again && replicas > 1) {
                let scale = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
                client::api(client, &self.kinds, target)?
                    .patch_scale(name, &PatchParams::default(), &scale)
                    .await?;
            }
        }
        self.wait(client, step, "Deployment", |object| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            client::is_available(object, least.get(name).copied().unwrap_or(1))
        })
        .await?;
        if step.objects.iter().any(|object| object["kind"] == "Deployment") {
            let before = self.steps.iter().filter(|other| step.needs.contains(&other.id));
            let waits = before.chain([step]).flat_map(|step| {
                ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
                    .map(|kind| self.wait(client, step, kind, client::is_configured))
            });
            try_join_all(waits).await?;
        }
        let is_balanced = |object: &&Value| object["spec"]["type"] == "LoadBalancer";
        for service in step.objects.iter().filter(is_balanced) {
            let api = client::api(client, &self.kinds, service)?;
            client::wait_for(api, [name_of(service).to_owned()], client::has_address).await?;
        }
        Ok(())
    }

    /// Waits for the step's objects of a kind.
    async fn wait(
        &self,
        client: &Client,
        step: &Step,
        kind: &str,
        is_ready: impl Fn(&kube::api::DynamicObject) -> bool,
    ) -> Result<()> {
        let objects: Vec<&Value> = step.objects.iter().filter(|object| object["kind"] == kind).collect();
        let Some(first) = objects.first() else { return Ok(()) };
        let names = objects.iter().map(|object| name_of(object).to_owned());
        client::wait_for(client::api(client, &self.kinds, first)?, names, is_ready).await
    }

    async fn apply(&self, client: &Client, object: &Value, again: bool) -> Result<()> {
        let api = client::api(client, &self.kinds, object)?;
        let mut object = object.clone();
        if again && let Some(webhooks) = object.get_mut("webhooks").and_then(Value::as_array_mut) {
            // istiod's by now: writing it would put the mesh out of order until istiod writes it again.
            for webhook in webhooks.iter_mut().filter_map(Value::as_object_mut) {
                webhook.remove("failurePolicy");
            }
        }
        let params = PatchParams::apply("floor").force();
        let mut attempts = ATTEMPTS;
        loop {
            let error = match api.patch(name_of(&object), &params, &Patch::Apply(&object)).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let too_early = matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 500));
            attempts -= 1;
            if !too_early || attempts == 0 {
                return Err(error).with_context(|| format!("apply {} {}", object["kind"], name_of(&object)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What others need first, webhooks last.
fn phase_of(object: &Value) -> usize {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" | "CustomResourceDefinition" => 0,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => 2,
        _ => 1,
    }
}

/// The object that a reference of the plan names, as it is to be applied.
async fn object(client: &Client, kinds: &Kinds, rendered: &[Value], reference: &Value) -> Result<Value> {
    let namespace = &reference["namespace"];
    let found = rendered.iter().find(|object| {
        let own = &object["metadata"]["namespace"];
        object["kind"] == reference["kind"]
            && object["metadata"]["name"] == reference["name"]
            && (own == namespace || own.is_null())
    });
    let mut object = match found {
        Some(object) => object.clone(),
        None => {
            let name = reference["name"].as_str().unwrap_or_default();
            let place = json!({ "apiVersion": reference["apiVersion"], "kind": reference["kind"],
                                "metadata": { "namespace": namespace } });
            let live = client::api(client, kinds, &place)?.get(name).await?;
            as_wanted(serde_json::to_value(live)?)
        }
    };
    if !namespace.is_null() {
        object["metadata"]["namespace"] = namespace.clone();
    }
    Ok(object)
}

/// A live object without what the server wrote.
fn as_wanted(mut live: Value) -> Value {
    if let Some(metadata) = live["metadata"].as_object_mut() {
        metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    }
    if let Some(object) = live.as_object_mut() {
        object.remove("status");
        if object["kind"] == "Namespace" {
            object.remove("spec");
        }
    }
    live
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
