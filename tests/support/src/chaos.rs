//! Runs that are disturbed on purpose, and the proof that they ended where an undisturbed run ends.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{Cluster, EndState, Finished, Lab, Meshrun, Running, binary};

/// How long the one normal run after a kill may wait for the lock of the dead one.
const WAIT_LOCK: &str = "--wait-lock=30s";
/// Time for a killed process's children to notice.
const ORPHANS: Duration = Duration::from_secs(3);

/// When a run is killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// As soon as it tells of an event: `action-started istiod/available`.
    Event(String),
    /// While a request of it is under way: the n-th of a method that writes.
    Request {
        /// `PATCH`.
        method: &'static str,
        /// Counted from 0; dry runs do not count.
        number: u64,
        /// Whether the server has done what it asks for.
        done: bool,
    },
    /// After a time.
    After(Duration),
}

/// What was done to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// kill -9, then one normal run.
    Kill(Moment),
    /// kill -9 of the API server after this time, which is started again at once.
    RestartServer(Duration),
    /// So many percent of all answers are 429 or 500.
    Faults(u64),
}

/// One disturbed run.
#[derive(Debug)]
pub struct Round {
    /// What was done to it.
    pub disturbance: Disturbance,
    /// Whether the moment came before the run was over.
    pub happened: bool,
    /// How long it took, the run after it included.
    pub took: Duration,
    /// What is not as after an undisturbed run; empty where all is well.
    pub problems: Vec<String>,
    /// What is there and is not after an undisturbed run: objects, releases, processes.
    pub leftovers: Vec<String>,
}

/// A pipeline that is run again and again.
pub struct Chaos<'a> {
    cluster: &'a Cluster,
    lab: &'a Lab,
    pipeline: PathBuf,
    wanted: EndState,
    /// The moments that an undisturbed run offers, by kind.
    pub moments: BTreeMap<&'static str, Vec<Moment>>,
}

impl<'a> Chaos<'a> {
    /// Runs a pipeline undisturbed, to learn where it ends and which moments it has.
    ///
    /// # Panics
    /// When that run fails.
    pub fn prepare(cluster: &'a Cluster, lab: &'a Lab, pipeline: PathBuf) -> Self {
        lab.reset().expect("the lab goes back");
        let counters = [("POST", ""), ("PUT", ""), ("PATCH", "")];
        // The first rule that matches counts: a dry run writes nothing.
        lab.control("POST", "/faults", &json!({ "id": "dry", "query": "dryRun=" }));
        for (method, _) in counters {
            lab.control("POST", "/faults", &json!({ "id": method, "method": method, "skip": 100_000 }));
        }
        let finished = run(cluster, lab, &pipeline, &[]).run().expect_code(0);
        let faults = lab.control("GET", "/faults", &Value::Null);
        lab.control("DELETE", "/faults", &Value::Null);

        let mut moments = BTreeMap::<&'static str, Vec<Moment>>::new();
        for event in finished.events() {
            let Some((kind, name)) = name_of(&event) else { continue };
            let moment = Moment::Event(name);
            let list = moments.entry(kind).or_default();
            if !list.contains(&moment) {
                list.push(moment);
            }
        }
        for (method, _) in counters {
            let seen = faults.as_array().into_iter().flatten().find(|rule| rule["id"] == method);
            let seen = seen.and_then(|rule| rule["seen"].as_u64()).unwrap_or_default();
            for done in [false, true] {
                let kind = if done { "request done" } else { "request begun" };
                let requests = (0..seen).map(|number| Moment::Request { method, number, done });
                moments.entry(kind).or_default().extend(requests);
            }
        }
        let steps = u64::try_from(finished.elapsed.as_millis() / 100).unwrap_or(1);
        let times = (1..=steps).map(|step| Moment::After(Duration::from_millis(step * 100)));
        moments.entry("time").or_default().extend(times);
        // Once everything that follows a run has happened: this is what later ones are held against.
        let mut wanted = EndState::read(cluster);
        loop {
            thread::sleep(Duration::from_secs(2));
            let now = EndState::read(cluster);
            if now == wanted {
                break;
            }
            wanted = now;
        }
        Self { cluster, lab, pipeline, wanted, moments }
    }

    /// Disturbs one run, lets a normal one follow where it was killed, and compares.
    pub fn round(&self, disturbance: Disturbance) -> Round {
        self.lab.reset().expect("the lab goes back");
        let started = Instant::now();
        let (happened, finished) = match &disturbance {
            Disturbance::Kill(moment) => self.kill(moment),
            Disturbance::RestartServer(after) => self.restart_server(*after),
            Disturbance::Faults(percent) => self.faults(*percent),
        };
        let orphans = orphans();
        let differences = self.wanted.wait_for(self.cluster);
        let (mut leftovers, mut problems): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|difference| EndState::is_leftover(difference));
        leftovers.extend(orphans);
        if finished.code != Some(0) {
            problems.insert(0, format!("the run ended with {:?}\n{finished}", finished.code));
        }
        Round { disturbance, happened, took: started.elapsed(), problems, leftovers }
    }

    fn kill(&self, moment: &Moment) -> (bool, Finished) {
        let start = || run(self.cluster, self.lab, &self.pipeline, &[]).start();
        let (happened, killed) = match moment {
            Moment::Event(wanted) => {
                let running = start();
                let is_it = |line: &str| {
                    let event: Value = serde_json::from_str(line).unwrap_or_default();
                    name_of(&event).is_some_and(|(_, name)| name == *wanted)
                };
                (running.line(is_it).is_some(), running)
            }
            Moment::Request { method, number, done } => {
                self.lab.control("POST", "/faults", &json!({ "id": "dry", "query": "dryRun=" }));
                let rule = json!({
                    "id": "held", "method": method, "skip": number, "times": 1, "delay": "60s", "afterServer": done,
                });
                self.lab.control("POST", "/faults", &rule);
                let mut running = start();
                (until(&mut running, || self.is_held()), running)
            }
            Moment::After(time) => {
                let end = Instant::now() + *time;
                let mut running = start();
                (until(&mut running, || Instant::now() >= end), running)
            }
        };
        killed.kill();
        self.lab.control("DELETE", "/faults", &Value::Null);
        (happened, run(self.cluster, self.lab, &self.pipeline, &[WAIT_LOCK]).run())
    }

    fn is_held(&self) -> bool {
        let rules = self.lab.control("GET", "/faults", &Value::Null);
        let rules = rules.as_array().into_iter().flatten();
        rules.filter(|rule| rule["id"] == "held").any(|rule| rule["hits"].as_u64() > Some(0))
    }

    fn restart_server(&self, after: Duration) -> (bool, Finished) {
        let end = Instant::now() + after;
        let mut running = run(self.cluster, self.lab, &self.pipeline, &[]).start();
        let happened = until(&mut running, || Instant::now() >= end);
        self.lab.control("POST", "/apiserver", &json!({ "action": "restart" }));
        (happened, running.wait())
    }

    fn faults(&self, percent: u64) -> (bool, Finished) {
        for (status, percent) in [(429, percent / 2), (500, percent - percent / 2)] {
            let rule =
                json!({ "status": status, "percent": percent, "retryAfter": i32::from(status == 429) });
            self.lab.control("POST", "/faults", &rule);
        }
        let finished = run(self.cluster, self.lab, &self.pipeline, &[]).run();
        let rules = self.lab.control("GET", "/faults", &Value::Null);
        let hits = rules.as_array().into_iter().flatten().filter_map(|rule| rule["hits"].as_u64());
        let happened = hits.sum::<u64>() > 0;
        self.lab.control("DELETE", "/faults", &Value::Null);
        (happened, finished)
    }
}

/// A run through the fault proxy that tells its events.
fn run(cluster: &Cluster, lab: &Lab, pipeline: &Path, more: &[&str]) -> Meshrun {
    let run = cluster.meshrun(["run", "--report", "json"]).args(more).arg(pipeline);
    run.env("KUBECONFIG", lab.proxy_kubeconfig())
}

/// Waits for something while a run is at work; returns whether it came before the end.
fn until(running: &mut Running, come: impl Fn() -> bool) -> bool {
    loop {
        if come() {
            return true;
        }
        if running.has_ended() {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What an event is called: its kind, and a name that it has in every run.
fn name_of(event: &Value) -> Option<(&'static str, String)> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let kinds = [
        "run-started",
        "step-started",
        "action-started",
        "waiting",
        "object-done",
        "release-recorded",
        "action-finished",
        "checked",
        "step-finished",
    ];
    let kind = kinds.into_iter().find(|kind| event["event"] == *kind)?;
    let what = match kind {
        "object-done" => {
            let object = &event["object"];
            format!(" {} {}", object["kind"].as_str()?, object["name"].as_str()?)
        }
        "release-recorded" => format!(" {}", text("release")),
        "checked" => format!(" {}", event["check"]["id"].as_str()?),
        // The reasons differ from run to run; that there is one does not.
        _ => String::new(),
    };
    Some((kind, format!("{kind} {}/{}{what}", text("step"), text("action"))))
}

/// Processes of the binary that outlived their parent: plugin hosts that nobody talks to any more.
fn orphans() -> Option<String> {
    let deadline = Instant::now() + ORPHANS;
    loop {
        let left: Vec<String> = processes().collect();
        if left.is_empty() {
            return None;
        }
        if Instant::now() > deadline {
            return Some(format!("processes are left over: {}", left.join(", ")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn processes() -> impl Iterator<Item = String> {
    let program = fs::canonicalize(binary()).expect("the binary under test");
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| exe(*pid).as_ref() == Some(&program) && !is_anothers(*pid, &program)).map(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("{pid} {}", words.replace('\0', " "))
    })
}

fn exe(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whether another test process that runs beside this one has started it: those lie where the binary lies.
fn is_anothers(mut pid: u32, program: &Path) -> bool {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
        let Some(parent) = fields.and_then(|mut fields| fields.nth(1)?.parse().ok()) else { return false };
        match (exe(parent), program.parent()) {
            (Some(exe), _) if exe == program => pid = parent,
            (Some(exe), Some(built)) => return exe.starts_with(built) && parent != std::process::id(),
            _ => return false,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(name) => f.write_str(name),
            Self::Request { method, number, done } => {
                write!(f, "{method} {number} {}", if *done { "done, not answered" } else { "begun" })
            }
            Self::After(time) => write!(f, "after {time:.1?}"),
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(moment) => write!(f, "kill -9: {moment}"),
            Self::RestartServer(after) => write!(f, "API server restarted after {after:.1?}"),
            Self::Faults(percent) => write!(f, "{percent} % of answers 429 or 500"),
        }
    }
}
