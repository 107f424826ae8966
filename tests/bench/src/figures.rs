//! From values of several runs to the table: medians, ratios, aims; as text of at most 100 columns, or as JSON.

use serde_json::{Value, json};

/// The values of one figure, run by run; seconds or MiB.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn extend(&mut self, values: Vec<f64>) {
        self.0.extend(values);
    }

    /// What these values are above the median of others.
    pub(crate) fn minus_median(&self, other: &Self) -> Self {
        let base = other.median();
        Self(self.0.iter().map(|value| (value - base).max(0.0)).collect())
    }

    fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[length / 2],
            length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Mebibytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let (digits, factor, name) = self.form(value);
        format!("{:.digits$} {name}", value * factor)
    }

    /// The ends of a range, in the form of its middle.
    fn spread(self, middle: f64, sorted: &[f64]) -> String {
        let (digits, factor, _) = self.form(middle);
        let show = |value: &f64| format!("{:.digits$}", value * factor);
        sorted
            .first()
            .zip(sorted.last())
            .map_or_else(String::new, |(least, most)| format!("{}..{}", show(least), show(most)))
    }

    /// Digits after the point, factor and name of the unit that reads best.
    fn form(self, value: f64) -> (usize, f64, &'static str) {
        match self {
            Self::Seconds if value < 0.01 => (1, 1000.0, "ms"),
            Self::Seconds if value < 0.1 => (0, 1000.0, "ms"),
            Self::Seconds => (2, 1.0, "s"),
            Self::Mebibytes => (0, 1.0, "MiB"),
        }
    }
}

/// What a figure should be; nothing fails where it is not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// Below this many of its unit.
    Below(f64),
    /// At most so many times the first figure beside it.
    Ratio(f64),
}

/// A figure that meshrun's stands beside.
#[derive(Debug)]
pub(crate) struct Beside {
    name: String,
    series: Series,
}

impl Beside {
    pub(crate) fn new(name: impl Into<String>, series: Series) -> Self {
        Self { name: name.into(), series }
    }
}

/// A figure of meshrun's.
#[derive(Debug)]
pub(crate) struct Row {
    figure: String,
    unit: Unit,
    series: Series,
    beside: Vec<Beside>,
    aim: Option<Aim>,
}

impl Row {
    pub(crate) fn new(figure: &str, unit: Unit, series: Series) -> Self {
        Self { figure: figure.into(), unit, series, beside: Vec::new(), aim: None }
    }

    /// Puts a figure beside it; one without values is left out.
    pub(crate) fn beside(mut self, other: Beside) -> Self {
        if !other.series.0.is_empty() {
            self.beside.push(other);
        }
        self
    }

    pub(crate) fn aim(self, aim: Aim) -> Self {
        Self { aim: Some(aim), ..self }
    }

    fn ratio(&self, other: &Beside) -> f64 {
        self.series.median() / other.series.median()
    }

    /// The aim in words, and whether it is met.
    fn verdict(&self) -> Option<(String, bool)> {
        let median = self.series.median();
        match self.aim? {
            Aim::Below(limit) => Some((format!("< {}", self.unit.show(limit)), median < limit)),
            Aim::Ratio(limit) => {
                let ratio = self.ratio(self.beside.first()?);
                Some((format!("<= {limit}x"), ratio <= limit))
            }
        }
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
    /// What else was seen.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// The table for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.title.clone(), String::new()];
        lines.push(line(["", "meshrun", "min..max", "beside", "", "ratio", "aim"].map(str::to_owned)));
        for row in &self.rows {
            let aim = match row.verdict() {
                Some((aim, true)) => format!("{aim} met"),
                Some((aim, false)) => format!("{aim} missed"),
                None => String::new(),
            };
            let median = row.series.median();
            let spread = row.unit.spread(median, &row.series.sorted());
            let mut left = [row.figure.clone(), row.unit.show(median), spread];
            let mut aim = Some(aim);
            let mut beside = row.beside.iter();
            loop {
                let other = beside.next();
                if other.is_none() && aim.is_none() {
                    break;
                }
                let [name, value, ratio] = other.map_or_else(Default::default, |other| {
                    let value = row.unit.show(other.series.median());
                    [other.name.clone(), value, format!("{:.2}x", row.ratio(other))]
                });
                let [figure, median, spread] = std::mem::take(&mut left);
                lines.push(line([
                    figure,
                    median,
                    spread,
                    name,
                    value,
                    ratio,
                    aim.take().unwrap_or_default(),
                ]));
            }
        }
        if !self.notes.is_empty() {
            lines.push(String::new());
            lines.extend(self.notes.iter().cloned());
        }
        lines.join("\n")
    }

    /// Every value.
    pub(crate) fn json(&self) -> String {
        let series = |series: &Series| json!({ "median": series.median(), "values": series.0 });
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let beside: Vec<Value> = row
                    .beside
                    .iter()
                    .map(|other| json!({ "name": other.name, "series": series(&other.series), "ratio": row.ratio(other) }))
                    .collect();
                let unit = match row.unit {
                    Unit::Seconds => "s",
                    Unit::Mebibytes => "MiB",
                };
                let (aim, met) = row.verdict().unzip();
                json!({ "figure": row.figure.trim(), "unit": unit, "series": series(&row.series), "beside": beside,
                        "aim": aim, "met": met })
            })
            .collect();
        json!({ "title": self.title, "rows": rows, "notes": self.notes }).to_string()
    }
}

fn line([figure, median, spread, beside, value, ratio, aim]: [String; 7]) -> String {
    let text = format!("{figure:<19}{median:>8}  {spread:<13} {beside:<23}{value:>8} {ratio:>6}  {aim}");
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_medians_ratios_and_aims() {
        let series = |values: &[f64]| Series(values.to_vec());
        let table = Table {
            title: "t".into(),
            rows: vec![
                Row::new("fresh", Unit::Seconds, series(&[3.0, 1.0, 2.0]))
                    .aim(Aim::Ratio(2.0))
                    .beside(Beside::new("floor", series(&[0.8])))
                    .beside(Beside::new("helm", series(&[]))),
                Row::new("memory", Unit::Mebibytes, series(&[40.0, 42.0])).aim(Aim::Below(50.0)),
            ],
            notes: vec!["n".into()],
        };
        let expected = "\
t

                    meshrun  min..max      beside                           ratio  aim
fresh                2.00 s  1.00..3.00    floor                    0.80 s  2.50x  <= 2x missed
memory               41 MiB  40..42                                                < 50 MiB met

n";
        assert_eq!(table.text(), expected);
    }
}
