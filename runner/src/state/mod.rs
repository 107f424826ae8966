//! What meshrun keeps in the cluster about a pipeline: the inventory of what it made, and the lock of a run.

pub mod inventory;
pub mod lock;
mod persist;
mod process;

pub(crate) use persist::persist;

/// The name of everything that is kept for a pipeline.
fn object_name(pipeline: &str) -> String {
    format!("meshrun.{pipeline}")
}
