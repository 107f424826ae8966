//! What the black-box tests share: the built binary, commands with their whole output, the lab, independent witnesses.
//!
//! Tests without a cluster (`tests/cli_*.rs`) need [`sandbox`] alone: a directory, and transcripts for snapshots. Lab tests (`tests/lab_*.rs`) take
//! [`cluster()`]: an empty cluster, and nobody else's until they let go of it.

mod binary;
mod chaos;
mod cluster;
mod end_state;
pub mod fixtures;
pub mod http;
mod lab;
mod objects;
pub mod plugins;
mod process;
pub mod sandbox;

pub use binary::binary;
pub use chaos::{Chaos, Disturbance, Moment, Round};
pub use cluster::{Cluster, Forward, Helm, cluster};
pub use end_state::EndState;
pub use lab::Lab;
pub use objects::{Objects, Snapshot};
pub use process::{Finished, Meshrun, Running};
