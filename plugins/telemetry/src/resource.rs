//! From the configuration to the Telemetry of the mesh.

use meshrun_plugin_common::{list, name_of, object, values};
use meshrun_sdk::{
    prelude::{Cx, Diagnostic, ObjectRef, Result, Value, json},
    serde_json::Map,
};

use crate::config::{Config, CustomTag, Tracing};

/// Name of the Telemetry, as in Istio's documentation.
pub(crate) const NAME: &str = "default";

/// Returns the Telemetry of the mesh.
pub(crate) fn telemetry(config: &Config) -> Value {
    let mut spec = json!({});
    if !config.metrics.providers.is_empty() {
        spec["metrics"] = json!([{ "providers": by_name(&config.metrics.providers) }]);
    }
    if let Some(tracing) = &config.tracing {
        spec["tracing"] = json!([self::tracing(tracing)]);
    }
    if let Some(logging) = &config.access_logging {
        spec["accessLogging"] = json!([{ "providers": by_name(&logging.providers) }]);
    }
    object(config.version.telemetry_api(), "Telemetry", NAME)
        .namespace(&config.namespace)
        .spec(values::with_raw(spec, &config.spec))
        .build()
}

/// Names the Telemetry of the mesh.
pub(crate) fn reference(config: &Config) -> ObjectRef {
    ObjectRef::namespaced(config.version.telemetry_api(), "Telemetry", &config.namespace, NAME)
}

/// Names other Telemetries that claim to speak for the mesh: Istio merges none of them, the oldest wins.
pub(crate) fn rivals(config: &Config, cx: &Cx<'_>) -> Result<Option<Diagnostic>> {
    let objects = list(cx, config.version.telemetry_api(), "Telemetry", Some(&config.namespace), "")?;
    let others: Vec<&str> = objects
        .iter()
        .filter(|object| object["spec"]["selector"].is_null() && object["spec"]["targetRefs"].is_null())
        .map(name_of)
        .filter(|name| *name != NAME)
        .collect();
    Ok((!others.is_empty()).then(|| {
        Diagnostic::warning(
            "/namespace",
            format!(
                "Telemetry {} also speaks for the whole mesh; Istio takes only the oldest",
                others.join(", ")
            ),
        )
        .with_code("istio/two-mesh-telemetries")
        .with_hint(format!(
            "kubectl delete telemetries.telemetry.istio.io -n {} {}",
            config.namespace, others[0]
        ))
    }))
}

fn tracing(tracing: &Tracing) -> Value {
    let mut rule = json!({ "providers": by_name(&tracing.providers) });
    if let Some(sampling) = tracing.sampling {
        rule["randomSamplingPercentage"] = number(sampling);
    }
    if !tracing.custom_tags.is_empty() {
        let tags: Map<String, Value> =
            tracing.custom_tags.iter().map(|(name, tag)| (name.clone(), custom_tag(tag))).collect();
        rule["customTags"] = Value::Object(tags);
    }
    rule
}

/// A whole number without its `.0`, as an API server gives it back: anything else would look like a difference.
fn number(value: f64) -> Value {
    (0_u8..=100).find(|whole| f64::from(*whole) == value).map_or_else(|| json!(value), |whole| json!(whole))
}

fn custom_tag(tag: &CustomTag) -> Value {
    match tag {
        CustomTag::Literal(value) => json!({ "literal": { "value": value } }),
        CustomTag::Header(name) => json!({ "header": { "name": name } }),
        CustomTag::Environment(name) => json!({ "environment": { "name": name } }),
    }
}

fn by_name(providers: &[String]) -> Value {
    providers.iter().map(|name| json!({ "name": name })).collect()
}
