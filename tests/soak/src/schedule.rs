//! Which runs are disturbed how: the moments of every kind in turn, in an order that a seed decides.

use std::{collections::BTreeMap, time::Duration};

use meshrun_tests::{Disturbance, Moment};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Returns the runs to make, each with the kind that the table counts it under.
pub(crate) fn schedule(
    moments: &BTreeMap<&'static str, Vec<Moment>>,
    seed: u64,
    kills: usize,
    restarts: usize,
    faults: usize,
) -> Vec<(&'static str, Disturbance)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinds: Vec<(&'static str, Vec<Moment>)> =
        moments.iter().map(|(kind, moments)| (*kind, moments.clone())).collect();
    for (_, moments) in &mut kinds {
        // Steps that run side by side tell their events in another order each time; the seed shall decide.
        moments.sort();
        moments.shuffle(&mut random);
    }
    let mut rounds = Vec::new();
    while rounds.len() < kills && kinds.iter().any(|(_, moments)| !moments.is_empty()) {
        for (kind, moments) in &mut kinds {
            if rounds.len() < kills
                && let Some(moment) = moments.pop()
            {
                rounds.push((*kind, Disturbance::Kill(moment)));
            }
        }
    }
    let longest = moments.get("time").map_or(1, Vec::len) as u64 * 100;
    rounds.extend((0..restarts).map(|_| {
        let after = Duration::from_millis(random.random_range(100..longest.max(200)));
        ("API server restarted", Disturbance::RestartServer(after))
    }));
    rounds.extend((0..faults).map(|_| ("429 and 500", Disturbance::Faults(10))));
    rounds.shuffle(&mut random);
    rounds
}
