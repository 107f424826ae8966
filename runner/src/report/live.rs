//! The lower end of a terminal, drawn anew as often as needed: finished text goes above, live lines stay below.
//!
//! Every line ends with a line break and the cursor rests below the last one, so finished text can be copied, survives
//! a change of the window's width, and an echoed `^C` spoils nothing.

use std::fmt::Write;

use super::{Output, ReportError};

/// Rows and columns of the terminal now.
pub(super) type Size = Box<dyn Fn() -> (usize, usize) + Send>;

/// Draws to a terminal.
pub(super) struct Live {
    output: Output,
    size: Size,
    /// Columns of the live lines on the screen, from the top.
    drawn: Vec<usize>,
}

impl Live {
    pub(super) fn new(output: Output, size: Size) -> Self {
        Self { output, size, drawn: Vec::new() }
    }

    /// Columns of the terminal now.
    pub(super) fn columns(&self) -> usize {
        (self.size)().1
    }

    /// Replaces the live lines, and puts finished text above them. One write, so that nothing flickers.
    pub(super) fn draw(&mut self, above: Option<&str>, lines: &[String]) {
        let (rows, columns) = (self.size)();
        let mut text = String::from("\r");
        // The terminal may have become narrower and broken lines since.
        let height: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if height > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\u{1b}[{height}A");
        }
        text.push_str("\u{1b}[J");
        if let Some(above) = above {
            text.push_str(above);
            text.push('\n');
        }
        // What has scrolled out at the top cannot be drawn over any more; the last lines matter most.
        let lines = &lines[lines.len().saturating_sub(rows.saturating_sub(1))..];
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.iter().map(|line| console::measure_text_width(line)).collect();
        self.output.write(&text);
    }

    pub(super) fn finish(&mut self) -> Result<(), ReportError> {
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::Log;

    fn live(log: &Log, rows: usize, columns: usize) -> Live {
        Live::new(log.output(), Box::new(move || (rows, columns)))
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keeps_finished_text_above() {
        let log = Log::default();
        let mut live = live(&log, 10, 40);
        live.draw(None, &lines(&["working", "waiting"]));
        live.draw(Some("done"), &lines(&["next"]));
        assert_eq!(log.screen(10, 40), "done\nnext");
    }

    #[test]
    fn survives_an_echoed_ctrl_c() {
        let log = Log::default();
        let mut live = live(&log, 10, 40);
        live.draw(None, &lines(&["working"]));
        live.output.write("^C");
        live.draw(Some("stopping"), &lines(&["working"]));
        assert_eq!(log.screen(10, 40), "stopping\nworking");
    }

    #[test]
    fn shows_the_last_lines_where_the_terminal_is_low() {
        let log = Log::default();
        let mut live = live(&log, 3, 40);
        for _ in 0..3 {
            live.draw(None, &lines(&["1", "2", "3", "4"]));
        }
        assert_eq!(log.screen(3, 40), "3\n4");
    }
}
