//! What can be said about a configuration without a cluster.

use std::collections::BTreeSet;

use meshrun_sdk::prelude::{Diagnostic, Value};

use crate::{
    Config,
    chart_values::{self, Sampling},
};

/// Kinds of extension providers, as MeshConfig names them.
const PROVIDER_KINDS: [&str; 14] = [
    "envoyExtAuthzHttp",
    "envoyExtAuthzGrpc",
    "zipkin",
    "lightstep",
    "datadog",
    "stackdriver",
    "opencensus",
    "skywalking",
    "opentelemetry",
    "prometheus",
    "envoyFileAccessLog",
    "envoyHttpAls",
    "envoyTcpAls",
    "envoyOtelAls",
];

/// Top-level values of the chart up to 1.23; anything else is silently ignored there.
const VALUES_BEFORE_1_24: [&str; 10] = [
    "pilot",
    "sidecarInjectorWebhook",
    "istiodRemote",
    "telemetry",
    "revision",
    "revisionTags",
    "meshConfig",
    "global",
    "base",
    "istio_cni",
];

/// Environment variables that the chart renders itself, and the minor from which it does not any more.
const CHART_ENV: [(&str, Option<u32>); 12] = [
    ("REVISION", None),
    ("PILOT_CERT_PROVIDER", None),
    ("POD_NAME", None),
    ("POD_NAMESPACE", None),
    ("SERVICE_ACCOUNT", None),
    ("KUBECONFIG", None),
    ("PILOT_ENABLE_ANALYSIS", None),
    ("CLUSTER_ID", None),
    ("GOMAXPROCS", None),
    ("JWT_POLICY", Some(22)),
    ("ISTIOD_ADDR", Some(20)),
    ("GOMEMLIMIT", Some(29)),
];

pub(crate) fn lint(config: &Config) -> Vec<Diagnostic> {
    let (values, sampling) = chart_values::build(config);
    let mut found: Vec<Diagnostic> = config.version.support("/version").into_iter().collect();
    found.extend(sampling_variable(config, &sampling));
    found.extend(chart_variables(config, &values));
    found.extend(trusted_proxies(config, &values));
    found.extend(tracer(config));
    found.extend(disruption_budget(config, &values));
    found.extend(replicas(config));
    found.extend(sampling_range(config));
    found.extend(providers(config));
    found.extend(ignored_values(config));
    found
}

fn sampling_variable(config: &Config, sampling: &Sampling) -> Option<Diagnostic> {
    let path = match config.env.contains_key("PILOT_TRACE_SAMPLING") {
        true => "/env/PILOT_TRACE_SAMPLING",
        false => "/values/pilot/env/PILOT_TRACE_SAMPLING",
    };
    let left_out =
        "PILOT_TRACE_SAMPLING is left out of the environment: the chart renders it from `trace_sampling`";
    let diagnostic = match sampling {
        Sampling::Absent => return None,
        Sampling::Same => Diagnostic::hint(path, left_out).with_hint("take the variable out"),
        Sampling::Moved => {
            Diagnostic::hint(path, "PILOT_TRACE_SAMPLING is set through `trace_sampling` instead").with_hint(
                "write `trace_sampling`: the variable would be there twice, which the API server refuses",
            )
        }
        Sampling::Overruled => {
            Diagnostic::warning(path, "PILOT_TRACE_SAMPLING is left out: `trace_sampling` says another")
                .with_hint("say it once, in `trace_sampling`")
        }
    };
    Some(diagnostic.with_code("istio/duplicate-env"))
}

fn chart_variables(config: &Config, values: &Value) -> Vec<Diagnostic> {
    let rendered =
        |(_, until): &&(&str, Option<u32>)| until.is_none_or(|minor| !config.version.at_least(1, minor));
    CHART_ENV
        .iter()
        .filter(rendered)
        .filter(|(name, _)| values.pointer(&format!("/pilot/env/{name}")).is_some())
        .map(|(name, _)| {
            let path = if config.env.contains_key(*name) { "/env" } else { "/values/pilot/env" };
            Diagnostic::error(format!("{path}/{name}"), format!("{name} is set by the chart itself"))
                .with_code("istio/duplicate-env")
                .with_hint(
                    "the API server refuses a variable that is there twice: use the chart's own value for it",
                )
        })
        .collect()
}

fn trusted_proxies(config: &Config, values: &Value) -> Option<Diagnostic> {
    const PLACE: &str = "/defaultConfig/gatewayTopology/numTrustedProxies";
    let count = values.pointer(&format!("/meshConfig{PLACE}"))?.as_u64().filter(|count| *count > 0)?;
    let path = if config.values.get("meshConfig").is_some_and(|mesh| mesh.pointer(PLACE).is_some()) {
        format!("/values/meshConfig{PLACE}")
    } else if Value::Object(config.mesh_config.clone()).pointer(PLACE).is_some() {
        format!("/mesh_config{PLACE}")
    } else {
        "/num_trusted_proxies".to_owned()
    };
    let proxies = if count == 1 { "a proxy" } else { "proxies" };
    Some(
        Diagnostic::warning(
            path,
            format!(
                "clients can choose the address that the mesh takes for theirs, unless {count} {proxies} in front of \
                 the gateway append to X-Forwarded-For"
            ),
        )
        .with_code("istio/trusted-proxies")
        .with_hint(
            "0 behind a network load balancer (it appends nothing), 1 behind an ALB, 2 behind a CDN and an ALB; \
             `service.external_traffic_policy: Local` of the gateway keeps the client's address",
        ),
    )
}

fn tracer(config: &Config) -> Option<Diagnostic> {
    let no_tracer = config.version.at_least(1, 22) && config.provider_names().len() == 3;
    (config.trace_sampling.is_some() && no_tracer).then(|| {
        Diagnostic::hint("/trace_sampling", "nothing is traced: from 1.22 on Istio has no default tracer")
            .with_code("istio/no-tracer")
            .with_hint("add an extension provider and name it in a `telemetry` step")
    })
}

fn disruption_budget(config: &Config, values: &Value) -> Option<Diagnostic> {
    let enabled = values.pointer("/global/defaultPodDisruptionBudget/enabled").and_then(Value::as_bool);
    let replicas = match values.pointer("/pilot/autoscaleEnabled").and_then(Value::as_bool) {
        Some(false) => values.pointer("/pilot/replicaCount"),
        _ => values.pointer("/pilot/autoscaleMin"),
    };
    let single = replicas.and_then(Value::as_u64).unwrap_or(1) < 2;
    // From 1.28 on the chart leaves the budget out where there is one replica.
    (enabled.unwrap_or(true) && single && !config.version.at_least(1, 28)).then(|| {
        let path =
            if config.pod_disruption_budget.is_some() { "/pod_disruption_budget" } else { "/autoscale/min" };
        Diagnostic::warning(path, "the PodDisruptionBudget of a single istiod blocks the drain of its node")
            .with_code("istio/single-replica-budget")
            .with_hint("set `autoscale.min: 2`, or `pod_disruption_budget: false`")
    })
}

fn replicas(config: &Config) -> Option<Diagnostic> {
    let bounds = &config.autoscale;
    if config.replicas.is_some() && *bounds != crate::Autoscale::default() {
        return Some(
            Diagnostic::error("/replicas", "`replicas` and `autoscale` exclude each other")
                .with_code("istio/replicas")
                .with_hint("`replicas` switches the autoscaler off"),
        );
    }
    let (min, max) = (bounds.min.unwrap_or(1), bounds.max.unwrap_or(5));
    (min > max).then(|| {
        Diagnostic::error("/autoscale", format!("at least {min} and at most {max} replicas cannot both be"))
            .with_code("istio/replicas")
            .with_hint("the chart's own maximum is 5")
    })
}

fn sampling_range(config: &Config) -> Option<Diagnostic> {
    let sampling = config.trace_sampling.filter(|sampling| !(0.0..=100.0).contains(sampling))?;
    Some(
        Diagnostic::error("/trace_sampling", format!("{sampling} is no percentage"))
            .with_code("istio/trace-sampling")
            .with_hint("0 to 100; 1.0 traces one request in a hundred"),
    )
}

fn providers(config: &Config) -> Vec<Diagnostic> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (index, provider) in config.extension_providers.iter().enumerate() {
        let path = format!("/extension_providers/{index}");
        let mut say = |message: String, hint: &str| {
            let diagnostic = Diagnostic::error(path.clone(), message);
            found.push(diagnostic.with_code("istio/extension-provider").with_hint(hint));
        };
        let kinds: Vec<&str> = provider.keys().map(String::as_str).filter(|key| *key != "name").collect();
        match provider.get("name").and_then(Value::as_str) {
            None | Some("") => say("the provider has no name".into(), "a Telemetry refers to it by `name`"),
            Some(name) if !names.insert(name) => {
                say(format!("there is another provider `{name}`"), "names are unique in a mesh");
            }
            Some(_) => {}
        }
        match kinds[..] {
            [kind] if PROVIDER_KINDS.contains(&kind) => {}
            [kind] => {
                let hint = format!("one of {}", PROVIDER_KINDS.join(", "));
                say(format!("`{kind}` is no kind of provider"), &hint);
            }
            _ => say(
                "a provider has a name and exactly one kind".into(),
                "such as `opentelemetry: { service: tempo.observability.svc.cluster.local, port: 4317 }`",
            ),
        }
    }
    found
}

fn ignored_values(config: &Config) -> Vec<Diagnostic> {
    let known = |key: &&String| config.version.at_least(1, 24) || VALUES_BEFORE_1_24.contains(&key.as_str());
    config
        .values
        .keys()
        .filter(|key| !known(key))
        .map(|key| {
            let message = format!("the istiod chart of {} ignores `{key}`", config.version);
            Diagnostic::warning(format!("/values/{key}"), message).with_code("istio/unknown-value").with_hint(
                format!("did you mean `pilot.{key}`? The form without the prefix works from 1.24 on"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value};

    use super::*;

    fn check(with: Value) -> String {
        let config: Config = from_value(with).expect("a configuration");
        let line = |found: &Diagnostic| {
            format!(
                "{:?} {} {}: {}",
                found.severity,
                found.path,
                found.code.as_deref().unwrap_or("-"),
                found.message
            )
        };
        lint(&config).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn guide_step_3() {
        insta::assert_snapshot!(check(json!({
            "version": "1.19.3",
            "env": { "PILOT_TRACE_SAMPLING": "1.0" }, "trace_sampling": 1.0, "num_trusted_proxies": 2,
        })), @r"
        Warning /version istio/end-of-life: Istio 1.19 gets no security fixes any more
        Hint /env/PILOT_TRACE_SAMPLING istio/duplicate-env: PILOT_TRACE_SAMPLING is left out of the environment: the chart renders it from `trace_sampling`
        Warning /num_trusted_proxies istio/trusted-proxies: clients can choose the address that the mesh takes for theirs, unless 2 proxies in front of the gateway append to X-Forwarded-For
        Warning /autoscale/min istio/single-replica-budget: the PodDisruptionBudget of a single istiod blocks the drain of its node
        ");
    }

    #[test]
    fn sensible_configuration_has_no_findings() {
        assert_eq!(
            check(json!({ "version": "1.30.3", "num_trusted_proxies": 0, "autoscale": { "min": 2 } })),
            ""
        );
        assert_eq!(
            check(json!({ "version": "1.28.0", "autoscale": { "min": 1 }, "env": { "PILOT_X": "1" } })),
            "",
            "from 1.28 on the chart leaves the budget of one replica out"
        );
    }

    #[test]
    fn trusted_proxies_are_found_in_raw_configuration() {
        let topology = json!({ "defaultConfig": { "gatewayTopology": { "numTrustedProxies": 1 } } });
        let of = |with: Value| check(with).split(": ").next().unwrap_or_default().to_owned();
        assert_eq!(
            of(json!({ "version": "1.30.3", "mesh_config": topology })),
            "Warning /mesh_config/defaultConfig/gatewayTopology/numTrustedProxies istio/trusted-proxies"
        );
        assert_eq!(
            of(json!({ "version": "1.30.3", "values": { "meshConfig": topology } })),
            "Warning /values/meshConfig/defaultConfig/gatewayTopology/numTrustedProxies istio/trusted-proxies"
        );
    }

    #[test]
    fn variables_of_the_chart_are_refused() {
        insta::assert_snapshot!(check(json!({
            "version": "1.30.3",
            "env": { "CLUSTER_ID": "one", "GOMEMLIMIT": "1GiB" }, "values": { "pilot": { "env": { "REVISION": "x" } } },
        })), @r"
        Error /values/pilot/env/REVISION istio/duplicate-env: REVISION is set by the chart itself
        Error /env/CLUSTER_ID istio/duplicate-env: CLUSTER_ID is set by the chart itself
        ");
    }

    #[test]
    fn replicas_that_cannot_be_are_refused() {
        insta::assert_snapshot!(check(json!({ "version": "1.30.3", "replicas": 2, "autoscale": { "min": 2 } })), @"Error /replicas istio/replicas: `replicas` and `autoscale` exclude each other");
        insta::assert_snapshot!(check(json!({ "version": "1.30.3", "autoscale": { "min": 8 } })), @"Error /autoscale istio/replicas: at least 8 and at most 5 replicas cannot both be");
    }

    #[test]
    fn extension_providers_are_checked() {
        insta::assert_snapshot!(check(json!({
            "version": "1.30.3", "trace_sampling": 101,
            "extension_providers": [
                { "name": "tempo", "opentelemetry": { "service": "tempo.observability.svc", "port": 4317 } },
                { "name": "tempo", "openTelemetry": {} },
                { "zipkin": {}, "datadog": {} },
            ],
        })), @r"
        Error /trace_sampling istio/trace-sampling: 101 is no percentage
        Error /extension_providers/1 istio/extension-provider: there is another provider `tempo`
        Error /extension_providers/1 istio/extension-provider: `openTelemetry` is no kind of provider
        Error /extension_providers/2 istio/extension-provider: the provider has no name
        Error /extension_providers/2 istio/extension-provider: a provider has a name and exactly one kind
        ");
    }

    #[test]
    fn sampling_without_a_tracer_is_pointed_out() {
        insta::assert_snapshot!(check(json!({ "version": "1.30.3", "trace_sampling": 1.0 })), @"Hint /trace_sampling istio/no-tracer: nothing is traced: from 1.22 on Istio has no default tracer");
    }

    #[test]
    fn values_that_an_old_chart_ignores_are_pointed_out() {
        insta::assert_snapshot!(check(json!({
            "version": "1.19.3", "autoscale": { "min": 2 }, "values": { "resources": {}, "pilot": {} },
        })), @r"
        Warning /version istio/end-of-life: Istio 1.19 gets no security fixes any more
        Warning /values/resources istio/unknown-value: the istiod chart of 1.19.3 ignores `resources`
        ");
    }
}
