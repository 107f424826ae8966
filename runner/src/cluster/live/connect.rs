//! Finding the cluster: kubeconfig, context, in-cluster service account; its version proves that it answers.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{
    Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{Live, client::client, discovery::Discovery, failure::failure, send};
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
        // Watches live longer than any read time-out, and end with the waits that need them; `send` bounds the rest.
        config.read_timeout = None;
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let doing = format!("connect to {server}");
        let login = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        let failed = |mut error: ClusterError| {
            if let (ErrorKind::Unauthorized, Some(program)) = (error.kind, &login) {
                error.message = format!("log in with `{program}`: {}", error.message);
            }
            error
        };
        let client = client(config).map_err(|error| failed(failure(&doing, error)))?;
        let discovery = Discovery::default();
        // The APIs are needed in any case. What goes wrong with them is told to who needs them: there it is asked again.
        let (version, _) =
            tokio::join!(send::get::<Info>(&client, &doing, "/version"), discovery.first(&client));
        let version = version.map_err(failed)?.git_version;
        Ok(Self { client, context, server, version, discovery })
    }
}

async fn config(options: &ConnectOptions) -> Result<(Config, Option<String>)> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let (doing, read) = match &options.kubeconfig {
        Some(path) => (format!("read kubeconfig `{}`", path.display()), Kubeconfig::read_from(path)),
        None => ("read the kubeconfig".to_owned(), Kubeconfig::read()),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // Where nobody named a kubeconfig or a context and there is none in its usual place, this may be a pod.
        Err(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..))
            if options.kubeconfig.is_none()
                && options.context.is_none()
                && std::env::var_os("KUBECONFIG").is_none_or(|files| files.is_empty()) =>
        {
            let config = Config::infer().await.map_err(|error| nowhere(&error))?;
            return Ok((config, None));
        }
        Err(error) => return Err(wrong(&doing, &error)),
    };
    let known: Vec<_> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
    let lacks = |what: String| {
        let message = match known.as_slice() {
            [] => "it has no contexts".to_owned(),
            contexts => format!("it has no {what}; its contexts are: {}", contexts.join(", ")),
        };
        ClusterError::new(doing.as_str(), ErrorKind::Config, message)
    };
    let Some(context) = options.context.clone().or_else(|| kubeconfig.current_context.clone()) else {
        return Err(lacks("current context".into()));
    };
    if !known.contains(&context.as_str()) {
        return Err(lacks(format!("context `{context}`")));
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &selection)
        .await
        .map_err(|error| wrong(&doing, &error))?;
    Ok((config, Some(context)))
}

fn wrong(doing: &str, error: &KubeconfigError) -> ClusterError {
    let message = match error {
        KubeconfigError::ReadConfig(error, path) if doing.contains('`') => {
            tracing::debug!(path = %path.display(), %error, "the kubeconfig cannot be read");
            reason(error)
        }
        KubeconfigError::ReadConfig(error, path) => format!("`{}`: {}", path.display(), reason(error)),
        KubeconfigError::Parse(error) => format!("it is no kubeconfig: {}", error.without_snippet()),
        KubeconfigError::LoadClusterOfContext(cluster) => {
            format!("the context names the cluster `{cluster}`, which is not in it")
        }
        other => other.to_string(),
    };
    ClusterError::new(doing, ErrorKind::Config, message)
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        _ => error.to_string(),
    }
}

fn nowhere(error: &InferConfigError) -> ClusterError {
    tracing::debug!(%error, "neither a kubeconfig nor a pod's service account");
    ClusterError::new(
        "find a cluster",
        ErrorKind::Config,
        "there is no kubeconfig, and this is not a pod with a service account",
    )
}
