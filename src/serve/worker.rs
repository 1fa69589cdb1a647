//! One build in a process of its own: this program again, as `cooper worker FILE`.
//!
//! ```text
//! service ── job file ──► worker: lock, limits, `cooper build --progress json …`
//!    ▲                       │
//!    └──── stderr, lines ────┘     a closed pipe tells the worker that the service is gone
//! ```
//!
//! The arguments are in the file, not in `argv`, which other users of the machine see. The context that came with the
//! request is the worker's standard input. The file's directory has a lock that a worker holds while it lives, so that
//! a build never runs twice at once, whatever has happened to the service.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::build::Built;
use super::journal::Journal;
use super::memory;
use crate::layer::Digest;

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Of `cooper`.
    pub(super) arguments: Vec<String>,
    /// Locked while a worker lives.
    pub(super) lock: PathBuf,
    /// The control group to join.
    pub(super) group: Option<PathBuf>,
    /// Bytes.
    pub(super) memory: u64,
}

/// A worker that was told to end has so long before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// What is left of a killed worker's group has so long to put the pod's files back, with RUNs in-place.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// A worker waits so long for one that had the same build before, and must be on its way out.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// A line that is longer is cut.
const MAX_LINE: usize = 1 << 20;

/// How a worker ended.
#[derive(Debug)]
pub(super) enum WorkerEnd {
    /// By itself.
    Exited(u8),
    /// By a signal that the service did not send.
    Killed(i32),
    /// It took too long.
    TimedOut,
    /// Nobody wants the build any more.
    Cancelled,
    /// The service stops.
    Stopped,
}

/// Why a worker is to end before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The build is not wanted any more.
    Cancel,
    /// The service ends.
    Shutdown,
}

/// Starts a worker in `directory`, an empty one.
/// `hidden` are variables that are none of its business.
pub(super) fn start(
    job_file: &Path,
    directory: &Path,
    context: Option<&Path>,
    hidden: &[String],
) -> io::Result<Child> {
    let stdin = match context {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    let mut command = Command::new("/proc/self/exe");
    for name in hidden {
        command.env_remove(name);
    }
    command
        .arg("worker")
        .arg(job_file)
        .current_dir(directory)
        .env_remove("COOPER_TOKEN")
        .env_remove("COOPER_REMOTE")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Takes down what a worker says until it ends, or ends it: after `limit`, or when `stop` says so. `told` is called
/// after every line.
pub(super) async fn supervise(
    mut child: Child,
    journal: &mut Journal,
    limit: Duration,
    stop: impl Future<Output = Stop>,
    told: impl Fn(),
) -> io::Result<WorkerEnd> {
    let Some(stderr) = child.stderr.take() else {
        return Err(io::Error::other("the worker has no standard error"));
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut lines = Lines { from: BufReader::new(stderr), line: Vec::new() };
    let mut why = None;
    let mut status = None;
    let mut kill_at = None;
    let deadline = sleep_until(Instant::now() + limit);
    tokio::pin!(deadline, stop);
    loop {
        let too_late = async {
            match kill_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = lines.next() => match line {
                Ok(Some(line)) => {
                    journal.take(line)?;
                    lines.line.clear();
                    told();
                }
                Ok(None) | Err(_) => break,
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                // What it said last is still in the pipe; who else holds it has nothing to say.
                kill_at = Some(Instant::now() + LAST_GRACE);
            }
            () = &mut deadline, if why.is_none() && status.is_none() => {
                why = Some(WorkerEnd::TimedOut);
                kill_at = Some(Instant::now() + GRACE);
                signal(group, Signal::TERM);
            }
            stop = &mut stop, if why.is_none() && status.is_none() => {
                why = Some(match stop {
                    Stop::Cancel => WorkerEnd::Cancelled,
                    Stop::Shutdown => WorkerEnd::Stopped,
                });
                kill_at = Some(Instant::now() + GRACE);
                signal(group, Signal::TERM);
            }
            () = too_late => break,
        }
    }
    let status = if let Some(status) = status {
        status
    } else {
        let patience = kill_at.unwrap_or_else(|| Instant::now() + GRACE);
        if let Ok(status) = tokio::time::timeout_at(patience, child.wait()).await {
            status?
        } else {
            signal(group, Signal::KILL);
            child.wait().await?
        }
    };
    end_group(group).await;
    Ok(match (why, status.code()) {
        // It was done before the signal came.
        (_, Some(0)) => WorkerEnd::Exited(0),
        (Some(why), _) => why,
        (None, _) => ended(status),
    })
}

fn ended(status: ExitStatus) -> WorkerEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => WorkerEnd::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => WorkerEnd::Killed(signal.unwrap_or(0)),
    }
}

/// To the worker alone: it ends its RUNs itself, in good order.
fn signal(worker: Option<Pid>, signal: Signal) {
    if let Some(worker) = worker {
        // It may have ended.
        let _ = kill_process(worker, signal);
    }
}

/// Ends what a worker has left behind.
async fn end_group(group: Option<Pid>) {
    let Some(group) = group else { return };
    let until = Instant::now() + LAST_GRACE;
    while rustix::process::test_kill_process_group(group).is_ok() {
        if Instant::now() >= until {
            // Gone by now, or gone with this.
            let _ = kill_process_group(group, Signal::KILL);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lines, none longer than [`MAX_LINE`].
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line without its end; must be cleared by the caller. Can be dropped and called again.
    async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let available = self.from.fill_buf().await?;
            if available.is_empty() {
                return Ok((!self.line.is_empty()).then_some(&self.line));
            }
            let (part, is_whole) = match available.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at, true),
                None => (available.len(), false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part);
            self.line.extend_from_slice(&available[..room]);
            self.from.consume(part + usize::from(is_whole));
            if is_whole {
                return Ok(Some(&self.line));
            }
        }
    }
}

/// What a worker wrote down when the image was pushed: the file of `--metadata-file`.
pub(super) fn result(path: &Path) -> Option<Built> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "containerimage.digest")]
        digest: Digest,
        #[serde(rename = "image.name")]
        names: String,
    }
    let metadata: Metadata = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let images = metadata.names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Built { digest: metadata.digest, images })
}

/// The worker's side: takes the lock, limits itself, watches for the service's end. Gives what to do, and the lock,
/// which is to be kept until the process ends.
pub(crate) fn prepare(job_file: &Path) -> Result<(Vec<String>, File), String> {
    let text =
        std::fs::read(job_file).map_err(|error| format!("cannot read `{}`: {error}", job_file.display()))?;
    let job: Job =
        serde_json::from_slice(&text).map_err(|error| format!("the job makes no sense: {error}"))?;
    watch_service();
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&job.lock)
        .map_err(|error| format!("cannot open `{}`: {error}", job.lock.display()))?;
    let until = std::time::Instant::now() + LOCK_PATIENCE;
    while let Err(error) = lock.try_lock() {
        match error {
            std::fs::TryLockError::Error(error) => {
                return Err(format!("cannot lock `{}`: {error}", job.lock.display()));
            }
            std::fs::TryLockError::WouldBlock if std::time::Instant::now() > until => {
                return Err("an earlier worker still has this build; it does not end".to_owned());
            }
            std::fs::TryLockError::WouldBlock => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    memory::limit_self(job.group.as_deref(), job.memory)
        .map_err(|error| format!("cannot limit the memory of this build: {error}"))?;
    Ok((job.arguments, lock))
}

/// Ends the build when nobody reads standard error any more: the service was killed, and will do the build again.
fn watch_service() {
    use rustix::event::{PollFd, PollFlags, poll};
    // A thread that cannot be started leaves a worker that ends when its build has.
    let _ = std::thread::Builder::new().name("service".to_owned()).spawn(|| {
        let stderr = io::stderr();
        loop {
            let mut fds = [PollFd::new(&stderr, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        let own = rustix::process::getpid();
        let _ = kill_process(own, Signal::TERM);
        std::thread::sleep(GRACE);
        let _ = kill_process(own, Signal::KILL);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cuts_long_lines() {
        let text = [vec![b'a'; MAX_LINE + 5], b"\nb\n\nlast".to_vec()].concat();
        let mut lines = Lines { from: BufReader::new(text.as_slice()), line: Vec::new() };
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            lengths.push(line.len());
            lines.line.clear();
        }
        assert_eq!(lengths, [MAX_LINE, 1, 0, 4]);
    }
}
