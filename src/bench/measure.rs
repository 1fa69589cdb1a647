//! Running a build and watching what it takes.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::procfs::{self, Usage};

/// How often memory is looked at. What a process had before its last look is not missed: the kernel remembers.
const PERIOD: Duration = Duration::from_millis(10);

/// What a build took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// From before the first process until after the last.
    pub(super) wall: Duration,
    /// Of the processes, and of the daemon in that time.
    pub(super) usage: Usage,
    /// The most memory in bytes, see [`procfs::resident_below`].
    pub(super) memory: u64,
}

/// Runs commands one after the other, what they print going to the file `log`. `daemon` works for them.
pub(super) fn measure(
    commands: Vec<Command>,
    daemon: Option<u32>,
    log: &Path,
) -> Result<Measured, BenchError> {
    let failed = |source| BenchError::io(log, source);
    let output = File::create(log).map_err(failed)?;
    if let Some(daemon) = daemon {
        procfs::forget_most_resident(daemon).map_err(|source| BenchError::io("/proc".as_ref(), source))?;
    }
    let usage = || {
        let own = Usage::of_children()?;
        match daemon {
            None => Some(own),
            Some(daemon) => Some(own.and(Usage::of_process(daemon)?)),
        }
    };
    let usage = || usage().ok_or(BenchError::NoCounters);
    let before = usage()?;
    let began = Instant::now();
    let mut memory = 0;
    for mut command in commands {
        let program = command.get_program().to_string_lossy().into_owned();
        let unstarted = |source| BenchError::Start { program: program.clone(), source };
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(failed)?);
        command.stderr(output.try_clone().map_err(failed)?);
        let mut child = command.spawn().map_err(unstarted)?;
        let roots: Vec<u32> = [child.id()].into_iter().chain(daemon).collect();
        let ended = AtomicBool::new(false);
        let (status, most) = thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&roots, &ended));
            let status = child.wait();
            ended.store(true, Ordering::Relaxed);
            watcher.thread().unpark();
            (status, watcher.join().unwrap_or(0))
        });
        memory = memory.max(most);
        let status = status.map_err(unstarted)?;
        if !status.success() {
            return Err(BenchError::Failed { program, status, log: log.to_owned() });
        }
    }
    let wall = began.elapsed();
    Ok(Measured { wall, usage: usage()?.since(before), memory })
}

fn watch(roots: &[u32], ended: &AtomicBool) -> u64 {
    let mut most = 0;
    while !ended.load(Ordering::Relaxed) {
        most = most.max(procfs::resident_below(roots));
        thread::park_timeout(PERIOD);
    }
    most
}
