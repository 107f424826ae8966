//! A cluster for tests: the rehearsal behind a connection that loses answers, hangs, or lets others in between.

use async_trait::async_trait;
use futures::stream::BoxStream;
use meshrun_protocol::{
    ClusterInfo, ExecQuery, ExecResult, HttpQuery, HttpResult, ListQuery, LogsQuery, ObjectRef,
};
use serde_json::Value;

use super::{
    ApplyOptions, Cluster, ClusterError, ErrorKind, Kind, Object, Result, Scope, WatchEvent, WatchQuery,
    rehearsal::Rehearsal,
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is carried out, and the answer does not arrive.
    AnswerLost,
    /// It does not arrive, and nobody says so.
    Silent,
}

/// The rehearsal, taken for a real cluster; before each request a test says what becomes of it.
pub(crate) struct Flaky<F> {
    /// The cluster behind the connection.
    pub(crate) inner: Rehearsal,
    fate: F,
}

impl<F: Fn(&'static str, &Rehearsal) -> Fate + Send + Sync> Flaky<F> {
    /// Puts a cluster behind a connection; `fate` gets the name of the method that is called.
    pub(crate) fn new(inner: Rehearsal, fate: F) -> Self {
        Self { inner, fate }
    }

    async fn pass<T>(&self, method: &'static str, request: impl Future<Output = Result<T>>) -> Result<T> {
        match (self.fate)(method, &self.inner) {
            Fate::Answered => request.await,
            Fate::AnswerLost => {
                let _ = request.await;
                Err(ClusterError::new(method, ErrorKind::Unreachable, "connection reset"))
            }
            Fate::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl<F: Fn(&'static str, &Rehearsal) -> Fate + Send + Sync> Cluster for Flaky<F> {
    fn info(&self) -> ClusterInfo {
        ClusterInfo { rehearsal: false, ..self.inner.info() }
    }

    fn name(&self) -> String {
        "flaky".into()
    }

    async fn scope(&self, api_version: &str, kind: &str) -> Result<Option<Scope>> {
        self.inner.scope(api_version, kind).await
    }

    async fn api_versions(&self) -> Result<Vec<String>> {
        self.inner.api_versions().await
    }

    async fn kinds(&self) -> Result<Vec<Kind>> {
        self.inner.kinds().await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Object>> {
        self.pass("get", self.inner.get(object)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>> {
        self.pass("list", self.inner.list(query)).await
    }

    async fn apply(&self, object: &Object, options: &ApplyOptions) -> Result<Object> {
        self.pass("apply", self.inner.apply(object, options)).await
    }

    async fn create(&self, object: &Object) -> Result<Object> {
        self.pass("create", self.inner.create(object)).await
    }

    async fn replace(&self, object: &Object) -> Result<Object> {
        self.pass("replace", self.inner.replace(object)).await
    }

    async fn patch(&self, object: &ObjectRef, patch: &Value, subresource: Option<&str>) -> Result<Object> {
        self.pass("patch", self.inner.patch(object, patch, subresource)).await
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        self.pass("delete", self.inner.delete(object)).await
    }

    fn watch(&self, query: WatchQuery) -> BoxStream<'static, Result<WatchEvent>> {
        self.inner.watch(query)
    }

    async fn logs(&self, query: &LogsQuery) -> Result<String> {
        self.inner.logs(query).await
    }

    async fn exec(&self, query: &ExecQuery) -> Result<ExecResult> {
        self.inner.exec(query).await
    }

    async fn http(&self, query: &HttpQuery) -> Result<HttpResult> {
        self.inner.http(query).await
    }
}
