//! The step `gateway`: the ingress gateway, its load balancer and its default Gateway.

mod chart_values;
mod config;
mod default_gateway;
mod health;
mod lint;
mod load_balancer;
mod release;
mod skew;
mod teardown;

pub use config::{
    Address, Autoscaling, Budget, Config, Controller, DefaultGateway, LoadBalancer, MissingSecret, Port,
    Scheme, Service, ServiceType, TargetType, Tls, TlsMode, TrafficPolicy,
};
use meshrun_sdk::{
    prelude::{Check, Cx, Diagnostic, Plan, Result, Step},
    protocol::TeardownResponse,
};

/// The step.
pub struct Gateway;

impl Step for Gateway {
    const NAME: &'static str = "gateway";
    const SUMMARY: &'static str = "Installs the ingress gateway and its default Gateway";
    const PROVIDES: &'static [&'static str] = &["mesh.gateway"];
    const REQUIRES: &'static [&'static str] = &["mesh.control-plane"];
    const OUTPUTS: &'static [(&'static str, &'static str)] = &[
        ("address", "Host name or IP address of the gateway's Service."),
        ("selector", "Labels that a Gateway selects the gateway's pods by, such as `{ istio: gateway }`."),
        ("namespace", "Namespace of the gateway."),
        ("gateway", "The default Gateway as a VirtualService names it: `istio-system/default-gateway`."),
    ];

    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        lint::lint(config)
    }

    fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
        release::plan(config, cx)
    }

    fn teardown(config: &Config, cx: &Cx<'_>) -> Result<TeardownResponse> {
        teardown::teardown(config, cx)
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        health::check(config, cx)
    }
}

meshrun_sdk::export_plugin!(Gateway);
