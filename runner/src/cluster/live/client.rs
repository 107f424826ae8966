//! The client for a cluster: kube's own stack, on connections that send what they have at once.
//!
//! kube leaves Nagle's algorithm on. The last message of a TLS handshake and the first request are two small packets, so
//! the request waits until the server has acknowledged the first: 40 ms for every new connection, three times in a plan.

use http::Request;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config, Result,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, ServiceBuilder, ServiceExt};

/// Builds the client.
///
/// # Errors
/// When the configuration's credentials or certificates cannot be used.
pub fn client(config: Config) -> Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_request(|request: Request<Body>| {
            tracing::debug!(method = %request.method(), uri = %request.uri(), "request");
            request
        })
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).build(connector));
    Ok(ClientBuilder::new(service.boxed(), config.default_namespace).build())
}
