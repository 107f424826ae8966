//! Whether a process is still there: told apart across reboots, containers and reused process ids.

use std::fs;

/// Names this process: boot, PID namespace, process id, start time. Empty where the system does not say.
pub(super) fn this() -> String {
    let place = place().unwrap_or_default();
    let id = std::process::id();
    started(id).map(|start| format!("{place}/{id}/{start}")).filter(|_| !place.is_empty()).unwrap_or_default()
}

/// Whether a named process was one of this very machine and PID namespace and is gone. What cannot be told is alive.
pub(super) fn is_gone(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '/');
    let (Some(start), Some(id), Some(there)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(here) = place() else { return false };
    match id.parse() {
        Ok(id) => here == there && started(id).as_deref() != Some(start),
        Err(_) => false,
    }
}

/// The boot and the PID namespace: process ids mean something only within them.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// When a process started, in ticks since the boot.
fn started(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold spaces: fields are counted from behind it. A zombie holds nothing any more.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let state = fields.first()?;
    (*state != "Z" && *state != "X").then(|| fields.get(19).map(|start| (*start).to_owned()))?
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
}
