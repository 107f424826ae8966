//! What `with:` of a `gateway` step may say.

use meshrun_plugin_common::{ChartSource, ControlPlane, IstioVersion, Resources, StringMap};
use meshrun_sdk::{
    prelude::{Deserialize, JsonSchema, Value},
    serde_json::Map,
};

/// Configuration of the step `gateway`. What is not said is the chart's choice.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version.
    pub version: IstioVersion,
    /// Namespace of the gateway.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Whether to create the namespace.
    #[serde(default)]
    pub create_namespace: bool,
    /// Namespace of the control plane.
    #[serde(default = "istio_system")]
    pub istio_namespace: String,
    /// Name of the Helm release. Deployment and Service have it too, and the label `istio` that a Gateway selects
    /// by is made of it: `istio-gateway` becomes `istio: gateway`.
    #[serde(default = "default_release")]
    pub release: String,
    /// Where the chart comes from, if not from Istio's repository.
    #[serde(default)]
    pub chart: ChartSource,
    /// Revision of the control plane that injects the proxy.
    #[serde(default)]
    pub revision: Option<String>,
    /// The Service.
    #[serde(default)]
    pub service: Service,
    /// Requests and limits of the proxy.
    #[serde(default)]
    pub resources: Resources,
    /// The HorizontalPodAutoscaler.
    #[serde(default)]
    pub autoscaling: Autoscaling,
    /// A fixed number of replicas in place of the autoscaler.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub replicas: Option<u32>,
    /// The PodDisruptionBudget; none where it is not said.
    #[serde(default)]
    pub pod_disruption_budget: Budget,
    /// The wait for the load balancer's address, a phase of its own after the pods are ready.
    #[serde(default)]
    pub address: Address,
    /// The Gateway that VirtualServices attach to.
    #[serde(default)]
    pub default_gateway: DefaultGateway,
    /// Raw chart values, merged over all others; `null` takes a value out.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// Further objects to apply once the webhooks are in force: VirtualServices, certificates.
    #[serde(default)]
    pub objects: Vec<Value>,
}

/// The gateway's Service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Service {
    /// Type, `LoadBalancer` where it is not said; `None` makes no Service.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Annotations, over those made for the load balancer; always strings in the cluster.
    pub annotations: StringMap,
    /// What the load balancer should be like.
    pub load_balancer: LoadBalancer,
    /// `Local` keeps the client's address, and sends traffic only to nodes with a gateway pod.
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Address ranges that may reach the load balancer.
    pub source_ranges: Vec<String>,
    /// Ports; the chart has 15021 (health), 80 and 443.
    pub ports: Vec<Port>,
}

/// Types of a gateway's Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum ServiceType {
    /// An external load balancer.
    #[default]
    LoadBalancer,
    /// A port of every node.
    NodePort,
    /// Inside the cluster only.
    ClusterIP,
    /// No Service.
    None,
}

/// Where a node sends traffic that arrives from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum TrafficPolicy {
    /// To any gateway pod.
    Cluster,
    /// To gateway pods of the same node.
    Local,
}

/// One port of the Service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Port {
    /// Name: `http2`, `https`.
    pub name: String,
    /// Port of the Service.
    pub port: u16,
    /// Port of the pod; the same where it is not said.
    #[serde(default)]
    pub target_port: Option<u16>,
}

/// What the load balancer should be like.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct LoadBalancer {
    /// Who makes it; `auto` where it is not said.
    pub controller: Controller,
    /// From where it can be reached; `internet-facing` where it is not said.
    pub scheme: Option<Scheme>,
    /// Where the AWS Load Balancer Controller sends traffic.
    pub target_type: Option<TargetType>,
    /// Whether every zone's node of it sends traffic to all zones.
    pub cross_zone: Option<bool>,
    /// Further attributes for the AWS Load Balancer Controller: `deletion_protection.enabled: true`.
    pub attributes: StringMap,
}

/// Who makes the load balancer, which decides the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum Controller {
    /// Looks at the cluster: its webhooks for the AWS Load Balancer Controller, its nodes for AWS.
    #[default]
    Auto,
    /// The AWS Load Balancer Controller.
    AwsLbc,
    /// The AWS cloud controller manager (also known as the in-tree controller).
    AwsCcm,
    /// Another one; no annotations are made.
    None,
}

/// From where a load balancer can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum Scheme {
    /// From the internet.
    InternetFacing,
    /// From the network of the cluster.
    Internal,
}

/// Where a load balancer sends traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum TargetType {
    /// To pods.
    Ip,
    /// To nodes.
    Instance,
}

/// The HorizontalPodAutoscaler of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Autoscaling {
    /// Replicas at least; the chart says 1.
    #[schemars(range(min = 1))]
    pub min: Option<u32>,
    /// Replicas at most; the chart says 5.
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// CPU use, in percent of the request, above which replicas are added; the chart says 80.
    #[schemars(range(min = 1))]
    pub target_cpu: Option<u32>,
}

/// The PodDisruptionBudget of the gateway; say one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Budget {
    /// Pods that stay at least.
    pub min_available: Option<u32>,
    /// Pods that may go at once.
    pub max_unavailable: Option<u32>,
}

/// The wait for the load balancer's address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Address {
    /// Whether to wait; yes where it is not said.
    pub wait: bool,
    /// Time limit in seconds; 300 where it is not said.
    pub timeout: u64,
    /// Whether the step fails without an address; else it is a warning.
    pub required: bool,
}

impl Default for Address {
    fn default() -> Self {
        Self { wait: true, timeout: 300, required: false }
    }
}

/// The Gateway that VirtualServices attach to.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields, default)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct DefaultGateway {
    /// Whether to create it; yes where it is not said.
    pub enabled: bool,
    /// Its name; `default-gateway` where it is not said.
    pub name: String,
    /// Hosts that it serves; all of them (`*`) where it is not said.
    pub hosts: Vec<String>,
    /// Whether port 80 redirects to HTTPS; it does where HTTPS is served, unless this says no.
    pub https_redirect: Option<bool>,
    /// HTTPS on port 443; without it the Gateway serves HTTP only.
    pub tls: Option<Tls>,
}

impl Default for DefaultGateway {
    fn default() -> Self {
        Self {
            enabled: true,
            name: "default-gateway".into(),
            hosts: vec!["*".into()],
            https_redirect: None,
            tls: None,
        }
    }
}

/// HTTPS of the default Gateway.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Tls {
    /// Name of the Secret with certificate and key, in the gateway's namespace.
    pub secret: String,
    /// Whether clients must show a certificate.
    #[serde(default)]
    pub mode: TlsMode,
    /// What to do while the Secret does not exist.
    #[serde(default)]
    pub missing: MissingSecret,
    /// Certificate chain in PEM; with it and `key` the Secret is created.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Private key in PEM.
    #[serde(default)]
    pub key: Option<String>,
    /// CA of the clients in PEM, for the mutual modes.
    #[serde(default)]
    pub ca: Option<String>,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum TlsMode {
    /// They need none.
    #[default]
    Simple,
    /// They must show one.
    Mutual,
    /// They may show one.
    OptionalMutual,
}

impl TlsMode {
    /// The mode as Istio writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
            Self::OptionalMutual => "OPTIONAL_MUTUAL",
        }
    }
}

/// What to do while the Secret of a Gateway does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "kebab-case")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum MissingSecret {
    /// HTTP only, without the redirect: nobody is sent to a port that cannot answer.
    #[default]
    HttpOnly,
    /// The step is refused.
    Error,
    /// HTTPS is set up all the same; handshakes fail until something else (cert-manager) brings the Secret.
    Allow,
}

impl Config {
    /// The control plane that injects the gateway's proxy.
    pub fn control_plane(&self) -> ControlPlane {
        ControlPlane::new(&self.istio_namespace, self.revision.as_deref())
    }
}

fn istio_system() -> String {
    "istio-system".into()
}

fn default_release() -> String {
    "istio-gateway".into()
}
