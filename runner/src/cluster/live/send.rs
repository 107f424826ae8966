//! One request to the server and its answer: sent again where that is safe, after the pause that the server asks for.
//!
//! The client's own retries are off: they go on for minutes where nobody sees them, a stop of the run included.

use std::time::Duration;

use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use kube::{Client, client::Body, core::Status};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::failure::failure;
use crate::cluster::{ClusterError, ErrorKind, Result};

/// Waits before the attempts after the first: long enough for an API server to restart.
const BACKOFF: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
    Duration::from_millis(3200),
];
/// How long an attempt may take: longer than an API server lets a request take, webhooks included.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether the same request may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Its effect is the same.
    Safe,
    /// A second one could fail although the first succeeded.
    Never,
}

/// A failed attempt.
struct Refused {
    error: ClusterError,
    /// The pause that the server asks for; it has not done anything then.
    pause: Option<Duration>,
}

/// Sends a request and reads the JSON that answers it.
pub(super) async fn send<T: DeserializeOwned>(
    client: &Client,
    doing: &str,
    request: Request<Vec<u8>>,
    repeat: Repeat,
) -> Result<T> {
    send_within(LIMIT, client, doing, request, repeat).await
}

/// Sends a request whose attempts may each take so long; a server that is silent is asked twice.
async fn send_within<T: DeserializeOwned>(
    limit: Duration,
    client: &Client,
    doing: &str,
    request: Request<Vec<u8>>,
    repeat: Repeat,
) -> Result<T> {
    let began = Instant::now();
    let mut waits = BACKOFF.iter();
    loop {
        let answer = timeout(limit, attempt(client, doing, request.clone())).await;
        let Refused { error, pause } = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(refused)) => refused,
            Err(_) => {
                let message = format!("no answer within {}", humantime::format_duration(limit));
                Refused { error: ClusterError::new(doing, ErrorKind::Unreachable, message), pause: None }
            }
        };
        let may_pass = matches!(error.kind, ErrorKind::ServerBusy | ErrorKind::Unreachable)
            && began.elapsed() < limit * 2;
        let again = may_pass && (repeat == Repeat::Safe || pause.is_some());
        let Some(wait) = waits.next().filter(|_| again) else { return Err(error) };
        let wait = pause.unwrap_or_default().clamp(*wait, LONGEST_PAUSE);
        tracing::debug!(%error, ?wait, "the request is tried again");
        tokio::time::sleep(wait).await;
    }
}

/// Opens a stream to a pod: again where the server was busy, which has done nothing then. Not as long as for a request:
/// a pod's node that fails looks the same.
pub(super) async fn open<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    for wait in &BACKOFF[..4] {
        match attempt().await {
            Err(error) if error.kind == ErrorKind::ServerBusy => {
                tracing::debug!(%error, ?wait, "the stream is opened again");
                tokio::time::sleep(*wait).await;
            }
            answer => return answer,
        }
    }
    attempt().await
}

/// Sends a GET that needs no other headers.
pub(super) async fn get<T: DeserializeOwned>(client: &Client, doing: &str, target: &str) -> Result<T> {
    send(client, doing, built(doing, Request::get(target))?, Repeat::Safe).await
}

/// Ends the building of a request without a body.
pub(super) fn built(doing: &str, request: http::request::Builder) -> Result<Request<Vec<u8>>> {
    request.body(Vec::new()).map_err(|error| ClusterError::new(doing, ErrorKind::Other, error.to_string()))
}

async fn attempt<T: DeserializeOwned>(
    client: &Client,
    doing: &str,
    request: Request<Vec<u8>>,
) -> std::result::Result<T, Refused> {
    let plain = |error| Refused { error, pause: None };
    let response =
        client.send(request.map(Body::from)).await.map_err(|error| plain(failure(doing, error)))?;
    let status = response.status();
    let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let pause = response.headers().get(RETRY_AFTER).filter(|_| asks).and_then(|value| {
        let seconds = value.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    });
    let body = response.into_body().collect().await.map_err(|error| plain(failure(doing, error)))?.to_bytes();
    if !status.is_success() {
        return Err(Refused { error: failure(doing, kube::Error::Api(said(status, &body).boxed())), pause });
    }
    serde_json::from_slice(&body).map_err(|error| {
        plain(ClusterError::new(doing, ErrorKind::Other, format!("the server's answer is no JSON: {error}")))
    })
}

/// What the server said: a `Status`, or the words of something in front of it.
fn said(code: StatusCode, body: &[u8]) -> Status {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.code != 0 => status,
        _ => Status::failure(&String::from_utf8_lossy(body), "").with_code(code.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use kube::Config;
    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Sends one request to a server that answers with these, one connection each; returns how it ended.
    async fn check(
        method: Method,
        repeat: Repeat,
        answers: Vec<&'static str>,
    ) -> std::result::Result<Value, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let server = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let _ = stream.read(&mut [0; 1024]).await.expect("a request");
                let (head, body) = answer.split_once('|').expect("head|body");
                let length = body.len();
                let text =
                    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.expect("the client reads");
            }
        });
        let mut config = Config::new(format!("http://{address}").parse().expect("an address"));
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let request = built("ask", Request::builder().method(method).uri("/x")).expect("a request");
        let result = send(&client, "ask", request, repeat).await.map_err(|error| error.to_string());
        server.await.expect("every answer was asked for");
        result
    }

    #[tokio::test]
    async fn repeats_a_read_while_the_server_is_busy() {
        let result = check(Method::GET, Repeat::Safe, vec!["503 Busy|later", "200 OK|{\"a\":1}"]).await;
        assert_eq!(result, Ok(json!({ "a": 1 })));
    }

    #[tokio::test]
    async fn repeats_a_creation_only_where_the_server_says_that_it_did_nothing() {
        let asked = "429 Too Many Requests\r\nretry-after: 0|too many requests";
        let result = check(Method::POST, Repeat::Never, vec![asked, "201 Created|{}"]).await;
        assert_eq!(result, Ok(json!({})));
        let result = check(Method::POST, Repeat::Never, vec!["503 Busy|the proxy lost it"]).await;
        assert_eq!(result, Err("ask: the proxy lost it".into()));
    }

    #[tokio::test]
    async fn repeats_no_refusal() {
        let refusal = "403 Forbidden|{\"kind\":\"Status\",\"code\":403,\"message\":\"not you\"}";
        let result = check(Method::GET, Repeat::Safe, vec![refusal]).await;
        assert_eq!(result, Err("ask: not you".into()));
    }

    #[tokio::test]
    async fn gives_up_on_a_server_that_takes_the_request_and_never_answers() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok(Ok((stream, _))) = timeout(Duration::from_secs(2), listener.accept()).await {
                taken.push(stream);
            }
            taken.len()
        });
        let mut config = Config::new(format!("http://{address}").parse().expect("an address"));
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let ask = |repeat| {
            let request = built("ask", Request::get("/x")).expect("a request");
            send_within::<Value>(Duration::from_millis(200), &client, "ask", request, repeat)
        };
        for repeat in [Repeat::Safe, Repeat::Never] {
            let error = ask(repeat).await.expect_err("nobody answers");
            assert_eq!(error.to_string(), "ask: no answer within 200ms");
            assert!(error.retryable());
        }
        assert_eq!(asked.await.expect("it counts"), 3, "what may be repeated is asked twice");
    }
}
