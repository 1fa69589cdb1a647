//! The machine that was measured on.

use std::fs;

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct Machine {
    /// What the processor calls itself.
    pub(super) processor: String,
    /// How many processors this process may use.
    pub(super) processors: usize,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) kernel: String,
    pub(super) system: String,
    /// Processes that waited for a processor in the last minute, on average, when the measuring was over.
    pub(super) load: String,
}

impl Machine {
    /// This one, as far as it tells.
    pub(in crate::bench) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(separator).map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal", ':').unwrap_or_default();
        let kibibytes: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name", ':')
                .unwrap_or_else(|| "unknown".to_owned()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kibibytes << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .unwrap_or_else(|| "unknown".to_owned()),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}
