//! Logs of a container and commands in it.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{AttachParams, LogParams},
};
use meshrun_protocol::{ExecQuery, ExecResult, LogsQuery};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{failure::failure, send::open};
use crate::cluster::{ClusterError, ErrorKind, Result};

/// Lines of a log where the query does not say.
const DEFAULT_TAIL: u32 = 100;

pub(super) async fn logs(client: &Client, query: &LogsQuery) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &query.namespace);
    let params = LogParams {
        container: query.container.clone(),
        tail_lines: Some(i64::from(query.tail.unwrap_or(DEFAULT_TAIL))),
        ..LogParams::default()
    };
    let doing = format!("read the log of Pod {}/{}", query.namespace, query.pod);
    open(async || api.logs(&query.pod, &params).await.map_err(|error| failure(&doing, error))).await
}

pub(super) async fn exec(client: &Client, query: &ExecQuery) -> Result<ExecResult> {
    let doing = format!("run `{}` in Pod {}/{}", query.command.join(" "), query.namespace, query.pod);
    let api: Api<Pod> = Api::namespaced(client.clone(), &query.namespace);
    let params = AttachParams { container: query.container.clone(), ..AttachParams::default() }.stderr(true);
    let mut process = open(async || {
        api.exec(&query.pod, &query.command, &params).await.map_err(|error| failure(&doing, error))
    })
    .await?;
    let status = process.take_status();
    let (stdout, stderr) = tokio::join!(text(process.stdout()), text(process.stderr()));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let exit_code = status.as_ref().and_then(|status| {
        if status.status.as_deref() == Some("Success") {
            return Some(0);
        }
        let causes = status.details.as_ref().and_then(|details| details.causes.as_ref())?;
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        code.message.as_ref()?.parse().ok()
    });
    let io = |error: std::io::Error| ClusterError::new(&doing, ErrorKind::Unreachable, error.to_string());
    Ok(ExecResult { stdout: stdout.map_err(io)?, stderr: stderr.map_err(io)?, exit_code })
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
