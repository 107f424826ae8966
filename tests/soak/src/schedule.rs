//! Which runs are disturbed how: the moments of every kind in turn, in an order that a seed decides, until as many
//! disturbances have happened as are wanted.

use std::{collections::BTreeMap, fmt, time::Duration};

use meshrun_tests::{Disturbance, Moment, Round};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// How much of the wanted number may be missed before nothing more is tried.
const TRIES: usize = 3;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// kill -9 of the run.
    Kill,
    /// kill -9 of the API server.
    RestartServer,
    /// Answers 429 and 500.
    Faults,
}

impl Kind {
    fn of(disturbance: &Disturbance) -> Self {
        match disturbance {
            Disturbance::Kill(_) => Self::Kill,
            Disturbance::RestartServer(_) => Self::RestartServer,
            Disturbance::Faults(_) => Self::Faults,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kills",
            Self::RestartServer => "restarts of the API server",
            Self::Faults => "runs with faults",
        })
    }
}

/// The rounds to come, and how many of each kind have happened.
pub(crate) struct Schedule {
    random: StdRng,
    /// Moments by what the table counts them under.
    kills: Vec<(&'static str, Moment)>,
    /// The length of a run, in milliseconds.
    longest: u64,
    counts: BTreeMap<Kind, Count>,
}

struct Count {
    wanted: usize,
    happened: usize,
    tried: usize,
}

impl Schedule {
    pub(crate) fn new(
        moments: &BTreeMap<&'static str, Vec<Moment>>,
        seed: u64,
        wanted: &[(Kind, usize)],
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let kills = in_turn(moments, &mut random);
        let longest = moments.get("time").map_or(1, Vec::len) as u64 * 100;
        let count = |wanted| Count { wanted, happened: 0, tried: 0 };
        let counts = wanted.iter().map(|(kind, wanted)| (*kind, count(*wanted))).collect();
        Self { random, kills, longest, counts }
    }

    /// Returns the next disturbance, and what the table counts it under.
    pub(crate) fn next(&mut self) -> Option<(&'static str, Disturbance)> {
        // As often as it is still wanted: what is rare comes in between, not at the end.
        let mut open: Vec<Kind> = Vec::new();
        for (kind, count) in &self.counts {
            let possible =
                count.tried < count.wanted * TRIES && (*kind != Kind::Kill || !self.kills.is_empty());
            if possible {
                open.extend((count.happened..count.wanted).map(|_| *kind));
            }
        }
        open.shuffle(&mut self.random);
        Some(match open.first()? {
            Kind::Kill => {
                let (name, moment) = self.kills.pop()?;
                (name, Disturbance::Kill(moment))
            }
            Kind::RestartServer => {
                let after = Duration::from_millis(self.random.random_range(100..self.longest.max(200)));
                ("API server restarted", Disturbance::RestartServer(after))
            }
            Kind::Faults => ("429 and 500", Disturbance::Faults(10)),
        })
    }

    /// Counts a round.
    pub(crate) fn done(&mut self, round: &Round) {
        if let Some(count) = self.counts.get_mut(&Kind::of(&round.disturbance)) {
            count.tried += 1;
            count.happened += usize::from(round.happened);
        }
    }

    /// Returns what has not happened: kind, how many are missing, how many were wanted.
    pub(crate) fn missing(&self) -> Vec<(Kind, usize, usize)> {
        let missing =
            self.counts.iter().map(|(kind, count)| (*kind, count.wanted - count.happened, count.wanted));
        missing.filter(|(_, missing, _)| *missing > 0).collect()
    }
}

/// Returns all moments so that those taken from the end are of every kind in turn.
fn in_turn(
    moments: &BTreeMap<&'static str, Vec<Moment>>,
    random: &mut StdRng,
) -> Vec<(&'static str, Moment)> {
    let mut kinds: Vec<(&'static str, Vec<Moment>)> =
        moments.iter().map(|(kind, moments)| (*kind, moments.clone())).collect();
    for (_, moments) in &mut kinds {
        // Steps that run side by side tell their events in another order each time; the seed shall decide.
        moments.sort();
        moments.shuffle(random);
    }
    let mut rounds = Vec::new();
    while kinds.iter().any(|(_, moments)| !moments.is_empty()) {
        for (kind, moments) in &mut kinds {
            rounds.extend(moments.pop().map(|moment| (*kind, moment)));
        }
    }
    rounds.reverse();
    rounds
}
