//! Helm release records (placeholder while the rest settles).
/// A release.
pub struct Release;
