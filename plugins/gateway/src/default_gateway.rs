//! The default Gateway and its certificate.
//!
//! Istio accepts a Gateway whose Secret does not exist: port 443 then fails every handshake, and a redirect sends
//! everybody there. So HTTPS and the redirect come only with the Secret, unless the configuration says otherwise.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use meshrun_plugin_common::object;
use meshrun_sdk::prelude::{Cx, Diagnostic, ObjectRef, Result, Value, json};

use crate::{Config, MissingSecret, Tls, chart_values::istio_label};

/// What the default Gateway needs.
#[derive(Debug, PartialEq)]
pub(crate) struct Designed {
    /// The Secret, where the configuration brings the certificate.
    pub(crate) secret: Option<Value>,
    /// The Gateway.
    pub(crate) gateway: Value,
    /// What is worth saying about it.
    pub(crate) findings: Vec<Diagnostic>,
}

/// Designs the default Gateway for the Secret that is there, or `None` where none is wanted.
pub(crate) fn design(config: &Config, cx: &Cx<'_>) -> Result<Option<Designed>> {
    if !config.default_gateway.enabled {
        return Ok(None);
    }
    let Some(tls) = &config.default_gateway.tls else {
        return Ok(Some(Designed { secret: None, gateway: gateway(config, None), findings: Vec::new() }));
    };
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        let secret = Some(secret(config, tls, certificate, key));
        return Ok(Some(Designed { secret, gateway: gateway(config, Some(tls)), findings: Vec::new() }));
    }
    let found = cx.get(&ObjectRef::namespaced("v1", "Secret", &config.namespace, &tls.secret))?;
    let finding = unusable(config, tls, found.as_ref());
    let serves_https = finding.is_none() || tls.missing == MissingSecret::Allow;
    Ok(Some(Designed {
        secret: None,
        gateway: gateway(config, serves_https.then_some(tls)),
        findings: finding.into_iter().collect(),
    }))
}

/// Says why the Secret cannot serve the Gateway.
fn unusable(config: &Config, tls: &Tls, secret: Option<&Value>) -> Option<Diagnostic> {
    let name = format!("Secret {}/{}", config.namespace, tls.secret);
    let why = match secret {
        None => format!("{name} does not exist"),
        Some(secret) if !has_key_pair(secret) => format!("{name} holds no certificate and key"),
        Some(_) => return None,
    };
    let path = "/default_gateway/tls/secret";
    let found = match tls.missing {
        MissingSecret::HttpOnly => {
            Diagnostic::warning(path, format!("{why}, so the gateway serves HTTP only, without a redirect"))
        }
        MissingSecret::Error => Diagnostic::error(path, why),
        MissingSecret::Allow => Diagnostic::warning(path, format!("{why}, so HTTPS fails until it does")),
    };
    Some(found.with_code("istio/tls-secret").with_hint(format!(
        "give `certificate` and `key`, or run `kubectl create secret tls {} -n {} --cert=tls.crt --key=tls.key`, then \
         run the pipeline again",
        tls.secret, config.namespace
    )))
}

/// Whether a Secret has the keys that istiod takes: those of `kubernetes.io/tls`, or the older `cert` and `key`.
pub(crate) fn has_key_pair(secret: &Value) -> bool {
    let has = |key: &str| secret["data"][key].as_str().is_some_and(|value| !value.is_empty());
    (has("tls.crt") && has("tls.key")) || (has("cert") && has("key"))
}

fn secret(config: &Config, tls: &Tls, certificate: &str, key: &str) -> Value {
    let mut data = json!({ "tls.crt": BASE64.encode(certificate), "tls.key": BASE64.encode(key) });
    if let Some(ca) = &tls.ca {
        data["ca.crt"] = json!(BASE64.encode(ca));
    }
    object("v1", "Secret", &tls.secret)
        .namespace(&config.namespace)
        .field("type", json!("kubernetes.io/tls"))
        .field("data", data)
        .build()
}

fn gateway(config: &Config, tls: Option<&Tls>) -> Value {
    let wanted = &config.default_gateway;
    let mut http =
        json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": wanted.hosts });
    if tls.is_some() && wanted.https_redirect.unwrap_or(true) {
        http["tls"] = json!({ "httpsRedirect": true });
    }
    let https = tls.map(|tls| {
        json!({
            "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
            "hosts": wanted.hosts,
            "tls": { "mode": tls.mode.as_str(), "credentialName": tls.secret },
        })
    });
    let servers: Vec<Value> = [http].into_iter().chain(https).collect();
    object(config.version.networking_api(), "Gateway", &wanted.name)
        .namespace(&config.namespace)
        .spec(json!({ "selector": { "istio": istio_label(config) }, "servers": servers }))
        .build()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn design(gateway: Value, cluster: &FakeCluster) -> Result<Designed> {
        let config: Config =
            from_value(json!({ "version": "1.19.3", "default_gateway": gateway })).expect("a configuration");
        Ok(super::design(&config, &cluster.cx("gateway"))?.expect("it is enabled"))
    }

    fn with_secret(data: Value) -> FakeCluster {
        FakeCluster::new().with(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "default-gateway-certs", "namespace": "istio-system" }, "data": data,
        }))
    }

    fn guide() -> Value {
        json!({ "tls": { "secret": "default-gateway-certs" } })
    }

    #[test]
    fn guide_step_6_with_its_secret() -> Result<()> {
        let designed = design(guide(), &with_secret(json!({ "tls.crt": "eA==", "tls.key": "eA==" })))?;
        assert_eq!((designed.secret, designed.findings), (None, Vec::new()));
        assert_eq!(
            designed.gateway,
            json!({
                "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
                "metadata": { "name": "default-gateway", "namespace": "istio-system" },
                "spec": {
                    "selector": { "istio": "gateway" },
                    "servers": [
                        {
                            "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"],
                            "tls": { "httpsRedirect": true },
                        },
                        {
                            "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
                            "tls": { "mode": "SIMPLE", "credentialName": "default-gateway-certs" },
                        },
                    ],
                },
            })
        );
        Ok(())
    }

    #[test]
    fn nothing_redirects_to_a_port_without_certificate() -> Result<()> {
        let http_only =
            json!([{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }]);
        let designed = design(guide(), &FakeCluster::new())?;
        assert_eq!(designed.gateway["spec"]["servers"], http_only);
        assert_eq!(
            designed.findings[0].message,
            "Secret istio-system/default-gateway-certs does not exist, so the gateway serves HTTP only, without a \
             redirect"
        );
        let designed = design(guide(), &with_secret(json!({ "tls.crt": "eA==" })))?;
        assert_eq!(designed.gateway["spec"]["servers"], http_only);
        assert_eq!(
            designed.findings[0].message,
            "Secret istio-system/default-gateway-certs holds no certificate and key, so the gateway serves HTTP only, \
             without a redirect"
        );
        let designed = design(json!({}), &FakeCluster::new())?;
        assert_eq!((&designed.gateway["spec"]["servers"], designed.findings.len()), (&http_only, 0));
        Ok(())
    }

    #[test]
    fn missing_secret_can_be_refused_or_allowed() -> Result<()> {
        use meshrun_sdk::prelude::Severity;
        let tls = |missing: &str| json!({ "tls": { "secret": "certs", "missing": missing } });
        let designed = design(tls("error"), &FakeCluster::new())?;
        assert_eq!(designed.findings[0].severity, Severity::Error);
        assert_eq!(designed.findings[0].message, "Secret istio-system/certs does not exist");
        let designed = design(tls("allow"), &FakeCluster::new())?;
        assert_eq!(designed.gateway["spec"]["servers"].as_array().map(Vec::len), Some(2));
        assert_eq!(designed.findings[0].severity, Severity::Warning);
        Ok(())
    }

    #[test]
    fn certificate_of_the_configuration_becomes_the_secret() -> Result<()> {
        let designed = design(
            json!({
                "https_redirect": false,
                "tls": { "secret": "certs", "certificate": "CERT", "key": "KEY", "ca": "CA", "mode": "MUTUAL" },
            }),
            &FakeCluster::new(),
        )?;
        assert_eq!(
            designed.secret,
            Some(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": "certs", "namespace": "istio-system" },
                "data": { "tls.crt": "Q0VSVA==", "tls.key": "S0VZ", "ca.crt": "Q0E=" },
            }))
        );
        let servers = &designed.gateway["spec"]["servers"];
        assert!(servers[0]["tls"].is_null());
        assert_eq!(servers[1]["tls"], json!({ "mode": "MUTUAL", "credentialName": "certs" }));
        Ok(())
    }

    #[test]
    fn no_gateway_where_none_is_wanted() -> Result<()> {
        let config: Config =
            from_value(json!({ "version": "1.30.3", "default_gateway": { "enabled": false } }))
                .expect("a config");
        assert_eq!(super::design(&config, &FakeCluster::new().cx("gateway"))?, None);
        Ok(())
    }
}
