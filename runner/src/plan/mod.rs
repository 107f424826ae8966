//! From a pipeline, its plugins and a cluster to a [`model::Plan`]: what would change, object by object.

pub mod model;
pub mod render;
