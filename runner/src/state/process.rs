//! Whether a process is still there: told apart across reboots, containers and reused process ids.

use std::fs;

use rustix::{
    io::{self, Errno},
    process::{Pid, test_kill_process},
};

/// Names this process: boot, PID namespace, process id, start time. Empty where the system does not say.
pub(super) fn this() -> String {
    let place = place().unwrap_or_default();
    let id = rustix::process::getpid().as_raw_nonzero().get();
    let stat = stat(id).unwrap_or_default();
    started(&stat)
        .map(|start| format!("{place}/{id}/{start}"))
        .filter(|_| !place.is_empty())
        .unwrap_or_default()
}

/// Whether a named process was one of this very machine and PID namespace and is gone. What cannot be told is alive.
pub(super) fn is_gone(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '/');
    let (Some(start), Some(id), Some(there)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(pid) = id.parse().ok().and_then(Pid::from_raw) else { return false };
    // `/proc` may hide the processes of others (hidepid): that one is not there, only the kernel says.
    place().is_some_and(|here| here == there)
        && is_over(start, test_kill_process(pid), stat(pid.as_raw_nonzero().get()).as_deref())
}

/// Judges by what a signal would meet, and by what is known of the process that has the id now.
fn is_over(start: &str, signal: io::Result<()>, stat: Option<&str>) -> bool {
    match (signal, stat) {
        (Err(Errno::SRCH), _) => true,
        (_, Some(stat)) => started(stat) != Some(start),
        (_, None) => false,
    }
}

/// The boot and the PID namespace: process ids mean something only within them.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// What the kernel tells of a process; `None` where it is hidden or gone.
fn stat(id: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{id}/stat")).ok()
}

/// When a process started, in ticks since the boot; `None` where it has ended.
fn started(stat: &str) -> Option<&str> {
    // The name in parentheses may hold spaces: fields are counted from behind it. A zombie holds nothing any more.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let state = fields.first()?;
    (*state != "Z" && *state != "X").then(|| fields.get(19).copied())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_alive_and_a_reused_id_gone() {
        let this = this();
        assert!(!is_gone(&this), "{this}");
        let (before, _) = this.rsplit_once('/').expect("it has parts");
        assert!(is_gone(&format!("{before}/1")));
    }

    #[test]
    fn takes_what_it_cannot_judge_for_alive() {
        assert!(!is_gone(""));
        assert!(!is_gone("another-boot/pid:[1]/1/1"));
    }

    #[test]
    fn takes_a_process_that_it_may_not_look_at_for_alive() {
        assert!(!is_over("77", Err(Errno::PERM), None));
        assert!(!is_over("77", Ok(()), None));
        assert!(is_over("77", Err(Errno::SRCH), None));
    }

    #[test]
    fn knows_a_reused_id_and_a_zombie() {
        let stat = |state: &str| format!("4242 (mesh run) {state} {} 77 0", ["0"; 18].join(" "));
        assert!(!is_over("77", Ok(()), Some(&stat("S"))));
        assert!(is_over("76", Err(Errno::PERM), Some(&stat("S"))));
        assert!(is_over("77", Ok(()), Some(&stat("Z"))));
    }
}
