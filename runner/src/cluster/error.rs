//! Why a request to a cluster failed, in words for people and kinds for decisions.

use std::error::Error as StdError;

use meshrun_protocol::Failure;

/// A failed request: what was being done, what kind of failure it is, what the server said.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct ClusterError {
    /// What was being done: `apply Deployment istio-system/istiod`.
    pub doing: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What the server, the network or the kubeconfig said.
    pub message: String,
    /// The cause, where there is more to it than the message.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Kinds of failure that lead to different decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No kubeconfig, no such context, a file it names is missing.
    Config,
    /// No connection, or it broke.
    Unreachable,
    /// The server does not know us (401): expired or wrong credentials.
    Unauthorized,
    /// The server knows us and says no (403).
    Forbidden,
    /// The API of the object is not served.
    NotServed,
    /// The object does not exist where it must.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// Another field manager owns a field, or the object changed since it was read (409).
    Conflict,
    /// The server refuses the object (400, 422).
    Invalid,
    /// An admission webhook refused the object.
    Denied,
    /// An admission webhook did not answer.
    WebhookUnavailable,
    /// The server is overloaded or failing (429, 5xx).
    ServerBusy,
    /// A rehearsal cannot know this.
    NotInRehearsal,
    /// Anything else.
    Other,
}

impl ClusterError {
    /// An error without a cause behind it.
    pub fn new(doing: impl Into<String>, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, message: message.into(), source: None }
    }

    /// Whether what was asked for can only be had by deleting the object first. What holds data (a claim's volume) is not
    /// among it.
    pub fn needs_replacement(&self) -> bool {
        const SIGNS: [&str; 3] = [
            "field is immutable",
            "cannot change roleRef",
            "updates to statefulset spec for fields other than",
        ];
        self.kind == ErrorKind::Invalid && SIGNS.iter().any(|sign| self.message.contains(sign))
    }

    /// Whether the same request may succeed a little later.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable | ErrorKind::ServerBusy | ErrorKind::WebhookUnavailable)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            ErrorKind::Config => Some("pass --kubeconfig and --context, or set KUBECONFIG"),
            ErrorKind::Unreachable => {
                Some("check the server's address in the kubeconfig and the network to it")
            }
            ErrorKind::Unauthorized => Some(
                "log in again: the kubeconfig's credentials, or the program that fetches them, do not work",
            ),
            ErrorKind::Forbidden => Some("ask for this right, or use a context that has it (--context)"),
            ErrorKind::NotServed => Some("install its CRD in an earlier step"),
            ErrorKind::Conflict => {
                Some("another tool owns this field; see `kubectl get -o yaml --show-managed-fields`")
            }
            ErrorKind::WebhookUnavailable => Some("look at the pods behind the webhook's service"),
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Invalid
            | ErrorKind::Denied
            | ErrorKind::ServerBusy
            | ErrorKind::NotInRehearsal
            | ErrorKind::Other => None,
        }
    }
}

/// The error as a plugin sees it.
impl From<&ClusterError> for Failure {
    fn from(error: &ClusterError) -> Self {
        Self {
            code: "service".into(),
            message: error.to_string(),
            path: None,
            hint: error.hint().map(Into::into),
            retryable: error.retryable(),
        }
    }
}
