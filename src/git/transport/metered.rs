//! How much comes from git servers: told as it comes, and limited.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Problem;
use crate::context::source::GitUrl;
use crate::git::GitError;

/// The most that one repository and its submodules may send, in bytes: what an archive may hold, too.
const LIMIT: u64 = 64 << 30;

/// Hears how many bytes have come, and at the end how many there were.
type Tell = Box<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// What has come so far, of a repository and its submodules.
pub(crate) struct Received {
    bytes: AtomicU64,
    limit: u64,
    tell: Tell,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Received {
    /// Nothing yet; `tell` hears of each step in bytes since the beginning, and at the end also of the total.
    pub(crate) fn new(tell: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), limit: LIMIT, tell: Box::new(tell) })
    }

    /// Adds to it; false if it is too much now.
    fn add(&self, count: usize) -> bool {
        let bytes = self.bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        (self.tell)(bytes, None);
        bytes <= self.limit
    }

    /// Says that this is all.
    pub(crate) fn complete(&self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (self.tell)(bytes, Some(bytes));
    }
}

/// Counts what is read through it.
#[derive(Debug)]
pub(super) struct Metered<R> {
    from: R,
    received: Arc<Received>,
    problem: Problem,
    url: GitUrl,
}

impl<R> Metered<R> {
    pub(super) fn new(from: R, received: &Arc<Received>, problem: Problem, url: &GitUrl) -> Self {
        Self { from, received: Arc::clone(received), problem, url: url.clone() }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if self.received.add(count) {
            return Ok(count);
        }
        let limit = self.received.limit;
        self.problem.tell(GitError::TooLarge { url: self.url.to_string(), what: "sends", limit });
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn tells_and_ends() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&told);
        let tell = move |bytes, total| hear.lock().unwrap().push((bytes, total));
        let received = Arc::new(Received { bytes: AtomicU64::new(0), limit: 25, tell: Box::new(tell) });
        let url = GitUrl::parse("https://h/a.git").unwrap().0;
        let problem = Problem::default();
        // Two streams of one repository are counted together.
        let mut first = Metered::new(&[1; 20][..], &received, problem.clone(), &url);
        let mut second = Metered::new(io::repeat(1), &received, problem.clone(), &url);
        assert_eq!(first.read(&mut [0; 30]).unwrap(), 20);
        assert!(problem.take().is_none());
        assert!(second.read(&mut [0; 10]).is_err());
        received.complete();
        assert_eq!(*told.lock().unwrap(), [(20, None), (30, None), (30, Some(30))]);
        let error = problem.take().unwrap().to_string();
        assert_eq!(error, "the repository https://h/a.git sends more than 25 bytes, which is the limit");
    }
}
