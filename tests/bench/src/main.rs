//! Measures meshrun on the lab, in one run beside the manual guide's commands (helm) and beside a floor (a bare client
//! that applies the same objects), and prints one table. How each figure is taken: `README.md`.

mod chores;
mod client;
mod figures;
mod floor;
mod memory;
mod reaction;
mod script;
mod subject;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;

use chores::{Lab, Tools};
use figures::{Aim, Beside, Row, Series, Table, Unit};
use subject::Subject;

/// Measures meshrun on the lab, beside helm and beside a bare client.
#[derive(Debug, Parser)]
struct Cli {
    /// How often each figure is taken; the table shows medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The meshrun to measure, its plugins beside it [default: the one beside this program].
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Leave the helm script out, which takes most of the time.
    #[arg(long)]
    without_helm: bool,
    /// Print JSON: every value of every run.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(text) => match writeln!(std::io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            chores::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(&self) -> Result<String> {
        // A second call finds the provider set already: that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let tools = Tools::find()?;
        let binary = match &self.bin {
            Some(binary) => fs_err::canonicalize(binary)?,
            None => beside_this("meshrun")?,
        };
        let lab = Lab::start(&tools.lab)?;
        let subject = Subject::new(binary, &tools, lab.kubeconfig())?;
        let measured = Measured::take(self, &runtime, &tools, &lab, &subject)?;
        let title =
            format!("{}, prod.yaml on the lab; medians, runs: {}", subject.version_text()?, self.runs);
        let notes = measured.notes();
        let table = Table { title, rows: measured.rows(), notes };
        Ok(if self.json { table.json() } else { table.text() })
    }
}

fn beside_this(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let binary = this.parent().unwrap_or(Path::new(".")).join(name);
    fs_err::canonicalize(binary)
        .context("build meshrun and its plugins first (`make build`), or name it with --bin")
}

/// Every figure, run by run.
#[derive(Debug, Default)]
struct Measured {
    fresh: Series,
    unchanged: Series,
    plan: Series,
    plan_cold: Series,
    validate: Series,
    start: Series,
    memory_fresh: Series,
    memory_fresh_tree: Series,
    memory_unchanged: Series,
    memory_unchanged_tree: Series,
    reaction: Series,
    floor_fresh: Series,
    floor_unchanged: Series,
    helm_template: Series,
    helm_dry_run: Series,
    script: Series,
    script_again: Series,
    script_unready: usize,
    script_wait: Series,
    script_wait_again: Series,
}

impl Measured {
    fn take(
        cli: &Cli,
        runtime: &tokio::runtime::Runtime,
        tools: &Tools,
        lab: &Lab,
        subject: &Subject,
    ) -> Result<Self> {
        let mut all = Self::default();
        chores::tell("a first rollout: fills the caches, and gives the floor its objects");
        lab.reset()?;
        subject.run()?;
        subject.run()?;
        let wanted = runtime.block_on(floor::Wanted::collect(tools, subject, lab.kubeconfig()))?;
        let releases = script::Releases::recorded(tools, lab.kubeconfig())?;
        for run in 1..=cli.runs {
            chores::tell(&format!("run {run} of {}", cli.runs));
            lab.reset()?;
            all.fresh.push(subject.run()?);
            all.unchanged.push(subject.run()?);
            all.plan.push(subject.plan()?);
            all.validate.push(subject.validate()?);
            all.start.push(subject.start()?);
            subject.forget_renderings()?;
            all.plan_cold.push(subject.plan()?);
            all.helm_template.push(releases.template()?);
            all.helm_dry_run.push(releases.dry_run()?);

            lab.reset()?;
            let peak = subject.memory()?;
            all.memory_fresh.push(peak.own);
            all.memory_fresh_tree.push(peak.tree);
            let peak = subject.memory()?;
            all.memory_unchanged.push(peak.own);
            all.memory_unchanged_tree.push(peak.tree);

            lab.reset()?;
            all.reaction.extend(runtime.block_on(reaction::measure(subject, lab.kubeconfig()))?);

            lab.reset()?;
            all.floor_fresh.push(runtime.block_on(wanted.roll_out(lab.kubeconfig(), false))?);
            all.floor_unchanged.push(runtime.block_on(wanted.roll_out(lab.kubeconfig(), true))?);

            if !cli.without_helm {
                lab.reset()?;
                let script = script::Script::new(tools, lab.kubeconfig(), false);
                all.script.push(script.run()?);
                all.script_unready += usize::from(!script.gateway_becomes_ready()?);
                all.script_again.push(script.run()?);
                lab.reset()?;
                let script = script::Script::new(tools, lab.kubeconfig(), true);
                all.script_wait.push(script.run()?);
                all.script_wait_again.push(script.run()?);
            }
        }
        Ok(all)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.script_unready > 0 {
            notes.push(format!(
                "helm script without --wait: gateway not ready 10 s after its end in {} of the runs",
                self.script_unready
            ));
        }
        notes
    }

    fn rows(self) -> Vec<Row> {
        let cold = self.plan_cold.minus_median(&self.plan);
        let seconds = |figure: &str, series| Row::new(figure, Unit::Seconds, series);
        let memory = |figure: &str, series| Row::new(figure, Unit::Mebibytes, series);
        vec![
            seconds("fresh, until ready", self.fresh)
                .aim(Aim::Ratio(2.0))
                .beside(Beside::new("floor", self.floor_fresh))
                .beside(Beside::new("helm script --wait", self.script_wait))
                .beside(Beside::new("helm script", self.script)),
            seconds("run, unchanged", self.unchanged)
                .aim(Aim::Ratio(1.5))
                .beside(Beside::new("floor", self.floor_unchanged))
                .beside(Beside::new("helm script --wait", self.script_wait_again))
                .beside(Beside::new("helm script", self.script_again)),
            seconds("plan, unchanged", self.plan)
                .aim(Aim::Below(0.4))
                .beside(Beside::new("helm --dry-run=server", self.helm_dry_run)),
            seconds("plan, cold", self.plan_cold),
            seconds("rendering, cold", cold).beside(Beside::new("helm template", self.helm_template)),
            seconds("validate", self.validate).aim(Aim::Below(0.05)),
            seconds("start (--version)", self.start),
            memory("memory, fresh", self.memory_fresh).aim(Aim::Below(50.0)),
            memory("  and its children", self.memory_fresh_tree),
            memory("memory, unchanged", self.memory_unchanged).aim(Aim::Below(50.0)),
            memory("  and its children", self.memory_unchanged_tree),
            seconds("event to action", self.reaction).aim(Aim::Below(0.02)),
        ]
    }
}
