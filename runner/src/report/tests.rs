//! What each reporter says of the same runs; the terminal is one in memory, so cursor movements are part of it.

use std::{
    fs,
    io::{self, Cursor},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use meshrun_protocol::Check;
use quick_xml::{Reader, events::Event as Xml};

use super::{
    Color, Options, Output, Reporter, Surroundings, json::Json, junit::Junit, live::Live, plain::Plain,
    samples, samples::Run, terminal::Terminal,
};
use crate::{
    event::{Event, Problem},
    ids::StepId,
    text::Style,
};

/// A writer whose text can be read.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn output(&self) -> Output {
        Output::new(Box::new(self.clone()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }

    /// What a terminal shows after all that was written.
    pub(super) fn screen(&self, rows: u16, columns: u16) -> String {
        let mut terminal = vt100::Parser::new(rows, columns, 0);
        // A terminal's line discipline turns a line break into a carriage return and a line feed.
        terminal.process(self.text().replace('\n', "\r\n").as_bytes());
        terminal.screen().contents()
    }
}

fn feed(reporter: &mut dyn Reporter, run: &Run) {
    let mut now = Duration::ZERO;
    for (at, event) in run {
        let at = Duration::from_secs_f64(*at);
        while now < at {
            reporter.tick(now);
            now += Duration::from_secs(1);
        }
        reporter.event(at, event);
    }
    reporter.tick(now);
}

fn plain(run: &Run, verbose: bool, github: bool) -> String {
    let log = Log::default();
    let mut reporter = Plain::new(log.output(), Style::plain(verbose), github);
    feed(&mut reporter, run);
    reporter.finish().expect("memory can be written");
    log.text()
}

fn screen(run: &Run, style: Style) -> String {
    let log = Log::default();
    let live = Live::new(log.output(), Box::new(move || (70, style.width)));
    let mut reporter = Terminal::new(live, style);
    feed(&mut reporter, run);
    reporter.finish().expect("memory can be written");
    log.screen(70, u16::try_from(style.width).expect("a screen's width"))
}

fn junit(run: &Run) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("new/report.xml");
    let mut reporter = Junit::create(&path).expect("a new directory");
    feed(&mut reporter, run);
    reporter.finish().expect("a writable file");
    fs::read_to_string(&path).expect("the file")
}

fn wide(width: usize) -> Style {
    Style { color: false, unicode: true, width, verbose: false }
}

#[test]
fn terminal_tells_a_success() {
    insta::assert_snapshot!(screen(&samples::success(), wide(80)));
}

#[test]
fn terminal_tells_a_success_on_a_wide_screen() {
    insta::assert_snapshot!(screen(&samples::success(), wide(200)));
}

#[test]
fn terminal_tells_a_failure_and_what_it_skips() {
    insta::assert_snapshot!(screen(&samples::failure(), wide(80)));
}

#[test]
fn terminal_tells_a_failure_on_a_wide_screen() {
    insta::assert_snapshot!(screen(&samples::failure(), wide(200)));
}

#[test]
fn terminal_tells_a_retry_and_a_tolerated_failure() {
    insta::assert_snapshot!(screen(&samples::retry(), wide(80)));
}

#[test]
fn terminal_tells_failed_checks_once() {
    insta::assert_snapshot!(screen(&samples::failed_checks(), wide(80)));
}

#[test]
fn terminal_tells_an_interruption() {
    insta::assert_snapshot!(screen(&samples::interrupted(), wide(80)));
}

#[test]
fn terminal_tells_that_nothing_had_to_change() {
    insta::assert_snapshot!(screen(&samples::unchanged(), wide(80)));
}

#[test]
fn terminal_uses_words_where_signs_cannot_be_shown() {
    let ascii = Style { unicode: false, verbose: true, ..wide(80) };
    let text = screen(&samples::failure(), ascii);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn live_lines_say_what_is_done_and_waited_for() {
    let mut run = samples::success();
    run.retain(|(at, _)| *at <= 3.5);
    insta::assert_snapshot!(screen(&run, wide(80)));
}

#[test]
fn live_lines_cut_a_long_reason_that_is_told_in_full_above() {
    let mut run = samples::failure();
    run.retain(|(at, _)| *at <= 9.0);
    let long = "Pod istiod-7d9c5-x2x: CrashLoopBackOff: back-off 5m0s restarting failed container=discovery \
                pod=istiod-7d9c5-x2x_istio-system: its last words: Error: failed to start: no such file";
    let step = StepId::new("istiod");
    run.push((9.1, Event::Waiting { step, action: "ready".into(), reason: long.into() }));
    run.push((14.0, Event::StepStarted { step: StepId::new("gateway"), attempt: 1 }));
    insta::assert_snapshot!(screen(&run, wide(80)));
}

#[test]
fn plain_tells_a_success() {
    insta::assert_snapshot!(plain(&samples::success(), false, false));
}

#[test]
fn plain_tells_every_object_when_verbose() {
    insta::assert_snapshot!(plain(&samples::unchanged(), true, false));
}

#[test]
fn plain_tells_a_failure_again_at_the_end() {
    insta::assert_snapshot!(plain(&samples::failure(), false, false));
}

#[test]
fn plain_tells_a_retry_and_a_tolerated_failure() {
    insta::assert_snapshot!(plain(&samples::retry(), false, false));
}

#[test]
fn plain_tells_an_interruption() {
    insta::assert_snapshot!(plain(&samples::interrupted(), false, false));
}

#[test]
fn plain_annotates_and_folds_on_github() {
    insta::assert_snapshot!(plain(&samples::success(), false, true));
}

#[test]
fn json_tells_every_event_in_a_line() {
    let log = Log::default();
    let mut reporter = Json::new(log.output());
    feed(&mut reporter, &samples::retry());
    for line in log.text().lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["time"].is_f64() && event["event"].is_string(), "{line}");
    }
    insta::assert_snapshot!(log.text());
}

#[test]
fn an_unwritable_output_is_told_once_and_stops_nothing() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut reporter = Plain::new(Output::new(Box::new(Full)), Style::plain(false), false);
    feed(&mut reporter, &samples::success());
    let error = reporter.finish().expect_err("a full disk");
    assert_eq!(error.to_string(), "write the report to standard output");
    reporter.finish().expect("told already");
}

#[test]
fn colours_follow_the_terminal_unless_told_otherwise() {
    let color = |color, tty, no_color| {
        let surroundings = Surroundings { tty, no_color, ..Surroundings::default() };
        Options { color, surroundings, ..Options::default() }.style().color
    };
    assert!(color(Color::Auto, true, false));
    assert!(!color(Color::Auto, true, true));
    assert!(!color(Color::Auto, false, false));
    assert!(color(Color::Always, false, true));
    assert!(!color(Color::Never, true, false));
}

#[test]
fn errors_end_with_what_to_do() {
    let problem = Problem {
        message: "read pipeline file `prod.yaml`: no such file or directory".into(),
        hint: Some("pipelines are in pipelines/".into()),
    };
    assert_eq!(
        super::error_text(&problem, &wide(80)),
        "error: read pipeline file `prod.yaml`: no such file or directory\nhint: pipelines are in pipelines/"
    );
}

/// Reads the document to its end; returns how many test cases it has.
fn test_cases(xml: &str) -> usize {
    let mut reader = Reader::from_reader(Cursor::new(xml));
    let (mut buffer, mut count) = (Vec::new(), 0);
    loop {
        match reader.read_event_into(&mut buffer).expect("well-formed XML") {
            Xml::Start(tag) | Xml::Empty(tag) => {
                tag.attributes().for_each(|attribute| {
                    attribute.expect("a well-formed attribute").unescape_value().expect("known entities");
                });
                count += usize::from(tag.name().as_ref() == b"testcase");
            }
            Xml::Eof => return count,
            _ => {}
        }
        buffer.clear();
    }
}

#[test]
fn junit_tells_a_success() {
    insta::assert_snapshot!(junit(&samples::success()));
}

#[test]
fn junit_tells_a_failure_and_what_it_skips() {
    insta::assert_snapshot!(junit(&samples::failure()));
}

#[test]
fn junit_forgets_a_failed_attempt_that_was_mended() {
    insta::assert_snapshot!(junit(&samples::retry()));
}

#[test]
fn junit_counts_what_was_stopped_as_skipped() {
    insta::assert_snapshot!(junit(&samples::interrupted()));
}

#[test]
fn junit_is_well_formed_whatever_a_cluster_says() {
    let evidence = "<a & \"b\" ]]> \u{1b}[31mred\u{0}\u{ffff}";
    let mut events = samples::success();
    let check = Check::failed("x", "<title & more>", evidence).with_hint("a < b");
    events.insert(2, (0.1, Event::Checked { step: StepId::new("base"), check }));
    let xml = junit(&events);
    assert_eq!(test_cases(&xml), test_cases(&junit(&samples::success())) + 1);
    assert!(xml.contains(r#"message="&lt;a &amp; &quot;b&quot; ]]&gt; red""#), "{xml}");
}

#[test]
fn junit_leaves_no_stale_report_behind() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), "<testsuites/>").expect("a writable file");
    Junit::create(file.path()).expect("a writable file");
    assert_eq!(fs::read_to_string(file.path()).expect("the file"), "");
}

#[test]
fn junit_says_which_file_cannot_be_written() {
    let error = Junit::create(Path::new("/proc/none/report.xml")).err().expect("no such directory");
    assert_eq!(error.to_string(), "write the JUnit report `/proc/none/report.xml`");
}
