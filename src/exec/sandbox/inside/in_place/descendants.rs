//! The end of all processes that a command has started, also of those that became daemons.
//!
//! The supervisor is a subreaper: whoever loses its parent becomes its child. It kills what descends from it, waits
//! for somebody to die, and looks again, until it has no children. Never all processes that there are: a shell of
//! somebody else may be in the same container.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

/// Kills all descendants of this process and waits for them.
pub(super) fn kill_all() -> io::Result<()> {
    loop {
        for pid in descendants()? {
            match rustix::process::kill_process(pid, Signal::KILL) {
                // It is gone already, or of a user that may not be killed: its parent may.
                Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Err(Errno::CHILD) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}

fn descendants() -> io::Result<Vec<Pid>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            pairs.push((pid, parent));
        }
    }
    Ok(below(&pairs, rustix::process::getpid().as_raw_nonzero().get())
        .into_iter()
        .filter_map(Pid::from_raw)
        .collect())
}

/// The fourth field; the second, a name in parentheses, may have anything in it.
fn parent(stat: &[u8]) -> Option<i32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Who descends from `root`, given processes and their parents.
fn below(pairs: &[(i32, i32)], root: i32) -> HashSet<i32> {
    let mut found = HashSet::new();
    loop {
        let before = found.len();
        for (pid, parent) in pairs {
            if *parent == root || found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found() {
        assert_eq!(parent(b"12 (a) b (c) S 7 12 12"), Some(7));
        assert_eq!(parent(b"12"), None);
        let pairs = [(1, 0), (9, 8), (7, 1), (8, 7), (5, 1)];
        assert_eq!(below(&pairs, 7), HashSet::from([8, 9]));
        assert_eq!(below(&pairs, 9), HashSet::new());
    }
}
