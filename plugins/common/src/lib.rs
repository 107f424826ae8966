//! What meshrun's own mesh plugins share: versions, chart sources, values, objects, and ways to look at a cluster.
//!
//! Everything here is pure or only reads through [`meshrun_sdk::Cx`]; a plugin of another team can use it as well.

mod chart;
pub mod checks;
mod names;
mod object;
mod observe;
mod releases;
mod resources;
mod skew;
mod text;
pub mod values;
mod version;

pub use chart::{ChartSource, ISTIO_CHARTS, KIALI_CHARTS};
pub use names::{CRDS, ControlPlane, crds};
pub use object::{Object, lint_objects, object};
pub use observe::{
    condition, containers, is_ready, istiod_pods, labels_of, list, name_of, ordered_version, pods, reference,
    running_version, version_in,
};
pub use releases::{RELEASES, Release, known_minors, release_of};
pub use resources::{Quantities, Quantity, Resources};
pub use skew::{Proxy, proxies, refuse_skew};
pub use text::{StringMap, Text, string_map};
pub use version::{IstioVersion, UnknownVersion, kubernetes_minor};
