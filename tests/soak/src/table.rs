//! The outcome: how often what was done, and how often a run did not end as it should.

use std::{collections::BTreeMap, fmt, time::Duration};

use meshrun_tests::Round;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<&'static str, Row>,
    problems: Vec<String>,
}

#[derive(Debug, Default)]
struct Row {
    runs: usize,
    /// Runs that were over before it could happen.
    missed: usize,
    differing: usize,
    /// Runs that left something that an undisturbed run does not leave.
    leftovers: usize,
    longest: Duration,
}

impl Table {
    pub(crate) fn add(&mut self, kind: &'static str, round: Round) {
        let row = self.rows.entry(kind).or_default();
        row.runs += 1;
        row.missed += usize::from(!round.happened);
        row.longest = row.longest.max(round.took);
        row.differing += usize::from(!round.problems.is_empty());
        row.leftovers += usize::from(!round.leftovers.is_empty());
        let wrong = [round.problems, round.leftovers].concat();
        if !wrong.is_empty() {
            let wrong = wrong.join("\n").replace('\n', "\n    ");
            self.problems.push(format!("{}\n    {wrong}", round.disturbance));
        }
    }

    /// How many rounds were made.
    pub(crate) fn rounds(&self) -> usize {
        self.rows.values().map(|row| row.runs).sum()
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty() && !self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        writeln!(
            f,
            "{:<24} {:>5} {:>9} {:>10} {:>10} {:>9}",
            "disturbed at", "runs", "happened", "differing", "leftovers", "longest"
        )?;
        let mut all = Row::default();
        for (kind, row) in &self.rows {
            line(f, kind, row)?;
            all.runs += row.runs;
            all.missed += row.missed;
            all.differing += row.differing;
            all.leftovers += row.leftovers;
            all.longest = all.longest.max(row.longest);
        }
        line(f, "all", &all)
    }
}

fn line(f: &mut fmt::Formatter<'_>, kind: &str, row: &Row) -> fmt::Result {
    let happened = row.runs - row.missed;
    writeln!(
        f,
        "{kind:<24} {:>5} {happened:>9} {:>10} {:>10} {:>8.1}s",
        row.runs,
        row.differing,
        row.leftovers,
        row.longest.as_secs_f64()
    )
}
