//! HTTP GET to a pod, through a port-forward, or to an address; redirects are not followed.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use meshrun_protocol::{Endpoint, HttpQuery, HttpResult};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{failure::failure, send::open};
use crate::cluster::{ClusterError, ErrorKind, Result};

/// Bytes of a body that are read; a longer one is an error, not a shortened truth.
const BODY_LIMIT: usize = 1024 * 1024;
/// Seconds where the query does not say.
const DEFAULT_TIMEOUT: u64 = 5;

pub(super) async fn get(client: &Client, query: &HttpQuery) -> Result<HttpResult> {
    let target = match &query.endpoint {
        Endpoint::Pod { namespace, pod, port } => format!("Pod {namespace}/{pod} port {port}"),
        Endpoint::Address { address } => address.clone(),
    };
    let doing = format!("GET {} of {target}", query.path);
    let limit = Duration::from_secs(query.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT));
    match tokio::time::timeout(limit, answer(client, query, &doing)).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(&doing, format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn answer(client: &Client, query: &HttpQuery, doing: &str) -> Result<HttpResult> {
    match &query.endpoint {
        Endpoint::Address { address } => {
            let stream =
                TcpStream::connect(address).await.map_err(|error| unreachable(doing, error.to_string()))?;
            exchange(stream, address, query, doing).await
        }
        Endpoint::Pod { namespace, pod, port } => {
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let mut forward =
                open(async || api.portforward(pod, &[*port]).await.map_err(|error| failure(doing, error)))
                    .await?;
            let stream = forward
                .take_stream(*port)
                .ok_or_else(|| unreachable(doing, "the server opened no stream for the port".into()))?;
            exchange(stream, "localhost", query, doing).await
        }
    }
}

async fn exchange<S>(stream: S, host: &str, query: &HttpQuery, doing: &str) -> Result<HttpResult>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| unreachable(doing, error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The connection makes progress in a task of its own and ends with the sender.
    let driver = tokio::spawn(connection);
    let mut request = Request::get(&query.path).header(http::header::HOST, host);
    for (name, value) in &query.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| ClusterError::new(doing, ErrorKind::Other, error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let body = Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| unreachable(doing, error.to_string()))?
        .to_bytes();
    driver.abort();
    Ok(HttpResult { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unreachable(doing: &str, message: String) -> ClusterError {
    ClusterError::new(doing, ErrorKind::Unreachable, message)
}
