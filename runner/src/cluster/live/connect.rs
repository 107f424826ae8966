//! Finding the cluster: kubeconfig, context, in-cluster service account; its version proves that it answers.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{Live, discovery::Discovery, failure::failure, send};
use crate::cluster::{ClusterError, ErrorKind, Result};

/// Which cluster, as the command line says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// `--kubeconfig`; where not given: `KUBECONFIG`, `~/.kube/config`, then the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; where not given, the kubeconfig's current one.
    pub context: Option<String>,
}

impl Live {
    /// Connects and asks for the server's version and its APIs.
    ///
    /// # Errors
    /// Kind `Config` for a kubeconfig that cannot be used, else what the first request met.
    pub async fn connect(options: &ConnectOptions) -> Result<Self> {
        // A second call finds the provider set already: that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (mut config, context) = config(options).await?;
        config.connect_timeout = Some(Duration::from_secs(10));
        // Watches live longer than any read time-out; a hanging server is noticed by the steps' own time limits.
        config.read_timeout = None;
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let doing = format!("connect to {server}");
        let client = Client::try_from(config).map_err(|error| failure(&doing, error))?;
        let discovery = Discovery::default();
        // The APIs are needed in any case. What goes wrong with them is told to who needs them: there it is asked again.
        let (version, _) =
            tokio::join!(send::get::<Info>(&client, &doing, "/version"), discovery.first(&client));
        let version = version?.git_version;
        Ok(Self { client, context, server, version, discovery })
    }
}

async fn config(options: &ConnectOptions) -> Result<(Config, Option<String>)> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|error| wrong(format!("read kubeconfig `{}`", path.display()), error))?,
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => kubeconfig,
            // Without a kubeconfig this may be a pod; with a named context it cannot be.
            Err(error) if options.context.is_some() => {
                return Err(wrong("read the kubeconfig".into(), error));
            }
            Err(_) => {
                let config = Config::infer().await.map_err(|error| nowhere(&error))?;
                return Ok((config, None));
            }
        },
    };
    let context = options.context.clone().or_else(|| kubeconfig.current_context.clone());
    if let Some(context) = &context
        && !kubeconfig.contexts.iter().any(|known| &known.name == context)
    {
        let known: Vec<_> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
        let message = format!("no context `{context}`; there are: {}", known.join(", "));
        return Err(ClusterError::new("read the kubeconfig", ErrorKind::Config, message));
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &selection)
        .await
        .map_err(|error| wrong("read the kubeconfig".into(), error))?;
    Ok((config, context))
}

fn wrong(doing: String, error: KubeconfigError) -> ClusterError {
    ClusterError::new(doing, ErrorKind::Config, error.to_string())
}

fn nowhere(error: &InferConfigError) -> ClusterError {
    tracing::debug!(%error, "neither a kubeconfig nor a pod's service account");
    ClusterError::new(
        "find a cluster",
        ErrorKind::Config,
        "there is no kubeconfig, and this is not a pod with a service account",
    )
}
