//! A run that is killed, or whose API server fails, ends where an undisturbed run ends; the long version is `make soak`.

use std::time::Duration;

use meshrun_tests::{Chaos, Disturbance, Moment, cluster, fixtures};

#[test]
fn disturbed_runs_end_where_undisturbed_runs_end() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    let chaos = Chaos::prepare(&cluster, lab, fixtures::pipeline("prod.yaml"));
    let event = |name: &str| Disturbance::Kill(Moment::Event(name.into()));
    let request = |number, done| Disturbance::Kill(Moment::Request { method: "POST", number, done });
    for disturbance in [
        // Between the objects of a release and its record; in a wait; while several steps are at work.
        event("object-done istiod/chart Deployment istiod"),
        event("action-started istiod/webhooks"),
        event("release-recorded gateway/ istio-gateway"),
        // The lock or the inventory written, and nobody told.
        request(0, true),
        request(1, true),
        Disturbance::RestartServer(Duration::from_secs(2)),
        Disturbance::Faults(10),
    ] {
        let round = chaos.round(disturbance);
        println!("{} ({:.1?})", round.disturbance, round.took);
        assert!(round.happened, "{} did not happen", round.disturbance);
        let wrong = [round.problems, round.leftovers].concat();
        assert!(wrong.is_empty(), "{}:\n{}", round.disturbance, wrong.join("\n"));
    }
}
