//! What the kernel counts of processes: proc(5).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What processes have used since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// In user and system mode, exact to a clock tick.
    pub(super) cpu: Duration,
    /// Bytes that were to be written to disks, by those who made the pages dirty.
    pub(super) written: u64,
}

impl Usage {
    /// Of all children of this process that have ended and were waited for, and of theirs. Bytes that this process
    /// itself has written count too: it must write nothing between two calls.
    pub(super) fn of_children() -> Option<Self> {
        Some(Self { cpu: ticks("self", &[13, 14])?, written: written("self")? })
    }

    /// Of a running process and the children it has waited for.
    pub(super) fn of_process(pid: u32) -> Option<Self> {
        let pid = pid.to_string();
        Some(Self { cpu: ticks(&pid, &[11, 12, 13, 14])?, written: written(&pid)? })
    }

    /// What was used after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written: self.written.saturating_sub(earlier.written),
        }
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, written: self.written + other.written }
    }
}

/// The fields of `/proc/PID/stat` behind the name in parentheses, which may contain anything.
fn stat(pid: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    // The state is a letter, and some fields may be negative: nothing that is asked for here.
    Some(fields.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// The sum of these fields, counted from the state. `utime` is 11, `stime` 12, `cutime` 13, `cstime` 14.
fn ticks(pid: &str, fields: &[usize]) -> Option<Duration> {
    let stat = stat(pid)?;
    let sum: u64 = fields.iter().filter_map(|field| stat.get(*field)).sum();
    let rate = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_nanos(sum.saturating_mul(1_000_000_000 / rate)))
}

fn written(pid: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// The most memory that a process has had at once, in bytes: its `VmHWM`.
fn most_resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// Lets `VmHWM` of a process begin anew.
pub(super) fn forget_most_resident(pid: u32) -> std::io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The sum of the most memory that each of the processes below one of `roots`, and the roots, has had. Pages that
/// several share are counted for each.
pub(super) fn resident_below(roots: &[u32]) -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut children: HashMap<u64, Vec<u32>> = HashMap::new();
    for pid in pids {
        if let Some(parent) = stat(&pid.to_string()).and_then(|fields| fields.get(1).copied()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut waiting = roots.to_vec();
    let mut sum = 0;
    while let Some(pid) = waiting.pop() {
        sum += most_resident(pid).unwrap_or(0);
        waiting.extend(children.remove(&u64::from(pid)).unwrap_or_default());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_a_child_uses() {
        let before = Usage::of_children().unwrap();
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            most = most.max(resident_below(&[child.id()]));
        }
        let used = Usage::of_children().unwrap().since(before);
        assert!(used.cpu > Duration::from_millis(10), "{used:?}");
        assert!(most > 100 << 10, "{most}");
    }
}
