//! `make soak`: kills, restarts and faults spread over runs of the shipped pipeline, as a table. Exit code 1 where one of
//! them ended in another state than an undisturbed run, or where fewer happened than were asked for.

mod schedule;
mod table;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use meshrun_tests::{Chaos, Disturbance, Round, cluster, fixtures};
use schedule::{Kind, Schedule};
use table::Table;

/// Disturbs runs of a pipeline and compares where they end.
#[derive(Parser)]
struct Args {
    /// Runs that must be killed; one that is over before its moment counts for nothing, and another takes its place
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Runs during which the API server must be restarted
    #[arg(long, default_value_t = 10)]
    restarts: usize,
    /// Runs that must meet faults in 10 % of all answers
    #[arg(long, default_value_t = 2)]
    faults: usize,
    /// No new run is begun after this time; what is missing by then is a failure
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Chooses the same moments again
    #[arg(long)]
    seed: Option<u64>,
    /// A shipped pipeline
    #[arg(long, default_value = "prod.yaml")]
    pipeline: String,
}

/// One round; a run that hangs is a round with a problem, not the end of the soak.
fn round(chaos: &Chaos<'_>, disturbance: Disturbance) -> Round {
    let started = Instant::now();
    let made = catch_unwind(AssertUnwindSafe(|| chaos.round(disturbance.clone())));
    made.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let problems = vec![text.unwrap_or_else(|| "the run could not be judged".into())];
        // Whether it happened is not known either.
        Round { disturbance, happened: false, took: started.elapsed(), problems, leftovers: Vec::new() }
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    if std::env::var_os("MESHRUN_BIN").is_none() {
        eprintln!("soak: MESHRUN_BIN names no meshrun to disturb; `make soak` does");
        return ExitCode::from(2);
    }
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return ExitCode::from(2) };
    let started = Instant::now();
    let chaos = Chaos::prepare(&cluster, lab, fixtures::pipeline(&args.pipeline));
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("soak of {}: seed {seed}, at most {} s", args.pipeline, args.seconds);
    let wanted =
        [(Kind::Kill, args.kills), (Kind::RestartServer, args.restarts), (Kind::Faults, args.faults)];
    let mut schedule = Schedule::new(&chaos.moments, seed, &wanted);
    let mut table = Table::default();
    let mut end = "there are no more moments";
    while let Some((name, disturbance)) = schedule.next() {
        if started.elapsed() > Duration::from_secs(args.seconds) {
            end = "the time is up";
            break;
        }
        let round = round(&chaos, disturbance);
        let missed = if round.happened { "" } else { "  (the run was over before)" };
        println!("{:3} {:5.1}s  {}{missed}", table.rounds() + 1, round.took.as_secs_f64(), round.disturbance);
        schedule.done(&round);
        table.add(name, round);
    }
    println!("\n{table}");
    let missing = schedule.missing();
    for (kind, count, wanted) in &missing {
        eprintln!("soak: {end}: {} of {wanted} {kind} happened", wanted - count);
    }
    if table.is_clean() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
