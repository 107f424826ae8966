//! `make soak`: kills, restarts and faults spread over runs of the shipped pipeline, as a table; exit code 1 where one
//! of them ended in another state than an undisturbed run.

mod schedule;
mod table;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use meshrun_tests::{Chaos, Disturbance, Round, cluster, fixtures};
use table::Table;

/// Disturbs runs of a pipeline and compares where they end.
#[derive(Parser)]
struct Args {
    /// Runs that are killed
    #[arg(long, default_value_t = 60)]
    runs: usize,
    /// Runs during which the API server is restarted
    #[arg(long, default_value_t = 10)]
    restarts: usize,
    /// Runs with faults in 10 % of all answers
    #[arg(long, default_value_t = 3)]
    faults: usize,
    /// No new run is begun after this time
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
        Round { disturbance, happened: true, took: started.elapsed(), problems }
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
    let rounds = schedule::schedule(&chaos.moments, seed, args.runs, args.restarts, args.faults);
    let planned = rounds.len();
    let mut table = Table::default();
    for (number, (kind, disturbance)) in rounds.into_iter().enumerate() {
        if started.elapsed() > Duration::from_secs(args.seconds) {
            println!("the time is up: {number} of {planned} runs were made");
            break;
        }
        let round = round(&chaos, disturbance);
        println!("{:3} {:5.1}s  {}", number + 1, round.took.as_secs_f64(), round.disturbance);
        table.add(kind, round);
    }
    println!("\n{table}");
    if table.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
