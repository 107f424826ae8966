//! Keeps a message in a ConfigMap and checks that it is still the same.

use meshrun_sdk::prelude::*;

/// What `with:` may say.
#[derive(Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// What to say.
    pub message: String,
    /// Namespace of the ConfigMap.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

fn default_namespace() -> String {
    "default".into()
}

/// The step `uses: echo`.
pub struct Echo;

impl Step for Echo {
    const NAME: &'static str = "echo";
    const SUMMARY: &'static str = "Keeps a message in a ConfigMap.";
    type Config = Config;

    fn lint(config: &Config) -> Vec<Diagnostic> {
        let finding = || Diagnostic::warning("/message", "the message is empty").with_hint("say something");
        config.message.is_empty().then(finding).into_iter().collect()
    }

    fn plan(config: &Config, _: &Cx<'_>) -> Result<Plan> {
        let message = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "echo", "namespace": config.namespace },
            "data": { "message": config.message },
        });
        Ok(Plan::new().apply("message", vec![message]))
    }

    fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
        let (id, title) = ("message", "the ConfigMap holds the message");
        let object = ObjectRef::namespaced("v1", "ConfigMap", &config.namespace, "echo");
        let check = match cx.get(&object)? {
            Some(found) if found["data"]["message"] == config.message => {
                Check::passed(id, title, config.message.clone())
            }
            Some(found) => Check::failed(id, title, found["data"]["message"].to_string()),
            None => Check::failed(id, title, format!("there is no {object}")),
        };
        Ok(vec![check])
    }
}

export_plugin!(Echo);

#[cfg(test)]
mod tests {
    use meshrun_sdk::testing::FakeCluster;

    use super::*;

    fn config(message: &str) -> Config {
        Config { message: message.into(), namespace: default_namespace() }
    }

    #[test]
    fn finds_what_it_planned() -> Result<()> {
        let plan = Echo::plan(&config("hello"), &FakeCluster::new().cx("echo"))?;
        let ActionKind::Apply(apply) = &plan.actions()[0].kind else { panic!("not an apply: {plan:?}") };

        let cluster = FakeCluster::new().with(apply.objects[0].clone());
        let checks = Echo::check(&config("hello"), &cluster.cx("echo"))?;
        assert_eq!(checks, [Check::passed("message", "the ConfigMap holds the message", "hello")]);
        Ok(())
    }

    #[test]
    fn says_what_is_there_instead() -> Result<()> {
        let checks = Echo::check(&config("hello"), &FakeCluster::new().cx("echo"))?;
        assert_eq!(checks[0].status, CheckStatus::Failed);
        assert_eq!(checks[0].evidence, "there is no ConfigMap default/echo");
        Ok(())
    }
}
