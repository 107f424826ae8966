//! Peak memory of a process and of everything it starts, read from `/proc` while it runs.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(5);
/// How often the whole tree is added up: that is the dearer look.
const TREE_EVERY: Duration = Duration::from_millis(20);

/// Peaks in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak {
    /// Resident set of the process, as the kernel keeps it (`VmHWM`).
    pub(crate) own: f64,
    /// The process and its descendants at the same moment, shared pages counted once per process (`VmRSS`).
    pub(crate) tree: f64,
}

/// Watches a process until it has ended.
pub(crate) fn watch(pid: u32) -> Peak {
    let mut peak = Peak::default();
    let mut tree_read = Instant::now();
    // A process that has ended and was not waited for has no memory lines any more.
    while let Some(own) = field(pid, "VmHWM:") {
        peak.own = peak.own.max(own);
        if tree_read.elapsed() >= TREE_EVERY {
            peak.tree = peak.tree.max(tree(pid));
            tree_read = Instant::now();
        }
        sleep(EVERY);
    }
    peak.tree = peak.tree.max(peak.own);
    peak
}

fn tree(pid: u32) -> f64 {
    field(pid, "VmRSS:").unwrap_or(0.0) + children(pid).into_iter().map(tree).sum::<f64>()
}

fn children(pid: u32) -> Vec<u32> {
    // Every thread has its own children.
    let Ok(threads) = fs_err::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| read(&thread.path().join("children")));
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn field(pid: u32, name: &str) -> Option<f64> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn read(path: &Path) -> Option<String> {
    fs_err::read_to_string(path).ok()
}
