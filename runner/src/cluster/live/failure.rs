//! From the client's errors to [`ClusterError`]: the kind decides, the message explains.

use std::error::Error as StdError;

use kube::{client::AuthError, core::Status};

use crate::cluster::{ClusterError, ErrorKind};

/// Turns an error of the client into ours; `doing` says what was being done.
pub(super) fn failure(doing: impl Into<String>, error: kube::Error) -> ClusterError {
    let doing = doing.into();
    match error {
        kube::Error::Api(status) => {
            let kind = kind(&status);
            ClusterError::new(doing, kind, message(kind, &status))
        }
        kube::Error::Auth(error) => ClusterError::new(doing, ErrorKind::Unauthorized, login(&error)),
        // Files that the kubeconfig names: the texts of these errors hold those of their causes.
        kube::Error::RustlsTls(error) => ClusterError::new(doing, ErrorKind::Config, error.to_string()),
        kube::Error::InferKubeconfig(error) => ClusterError::new(doing, ErrorKind::Config, error.to_string()),
        kube::Error::Service(error) => {
            ClusterError::new(doing, ErrorKind::Unreachable, innermost(error.as_ref()))
        }
        kube::Error::HyperError(error) => ClusterError::new(doing, ErrorKind::Unreachable, innermost(&error)),
        kube::Error::ReadEvents(error) => ClusterError::new(doing, ErrorKind::Unreachable, innermost(&error)),
        other => ClusterError::new(doing, ErrorKind::Other, innermost(&other)),
    }
}

fn kind(status: &Status) -> ErrorKind {
    let message = status.message.as_str();
    if message.contains("admission webhook") && message.contains("denied the request") {
        return ErrorKind::Denied;
    }
    if message.contains("failed calling webhook") {
        return ErrorKind::WebhookUnavailable;
    }
    match (status.code, status.reason.as_str()) {
        (401, _) => ErrorKind::Unauthorized,
        (403, _) => ErrorKind::Forbidden,
        (404, _) => ErrorKind::NotFound,
        (409, "AlreadyExists") => ErrorKind::AlreadyExists,
        (409, _) => ErrorKind::Conflict,
        // SSA answers 500 for what it cannot merge: a list key twice, a field that its schema does not have.
        (500, _)
            if message.contains("failed to create typed") || message.contains("failed to create manager") =>
        {
            ErrorKind::Invalid
        }
        (400 | 413 | 415 | 422, _) => ErrorKind::Invalid,
        (429 | 500..=599, _) => ErrorKind::ServerBusy,
        _ => ErrorKind::Other,
    }
}

/// The server's own words, without the part that repeats what was being done.
fn message(kind: ErrorKind, status: &Status) -> String {
    let text = status.message.trim();
    if text.is_empty() {
        return format!("the server answered {} {}", status.code, status.reason).trim_end().to_owned();
    }
    match kind {
        ErrorKind::Unauthorized => "the server does not accept these credentials".to_owned(),
        _ => text.to_owned(),
    }
}

/// Why the credentials could not be had.
fn login(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(error) => format!("the program that logs in cannot be started: {error}"),
        AuthError::AuthExecRun { cmd, out } => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!("`{cmd}` does not log in ({}): {}", out.status, said.trim())
        }
        other => other.to_string(),
    }
}

/// The text of the last cause: `Connection refused (os error 111)` says more than `client error (Connect)`.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
