//! One signal that ends a build from outside: SIGINT, SIGTERM, a deleted job, a timeout.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A switch that can be thrown once and be seen by blocking and async code alike.
///
/// Clones share the switch. Blocking code that waits for a child polls [`Cancel::as_fd`], which becomes readable
/// when the switch is thrown and stays so; loops ask [`Cancel::is_cancelled`].
#[derive(Debug, Clone)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    thrown: AtomicBool,
    event: OwnedFd,
}

impl Cancel {
    /// A switch that is not thrown. Fails only when the process is out of file descriptors.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { shared: Arc::new(Shared { thrown: AtomicBool::new(false), event }) })
    }

    /// Throws the switch; throwing it again changes nothing.
    pub fn cancel(&self) {
        if !self.shared.thrown.swap(true, Ordering::SeqCst) {
            // Cannot fail: the counter goes from 0 to 1 once.
            let _ = rustix::io::write(&self.shared.event, &1_u64.to_ne_bytes());
        }
    }

    /// Becomes `true` when the switch is thrown; for code that knows nothing of switches.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.shared.thrown
    }

    /// Whether the switch was thrown.
    pub fn is_cancelled(&self) -> bool {
        self.shared.thrown.load(Ordering::SeqCst)
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn is_seen_by_flag_and_by_poll() {
        let cancel = Cancel::new().unwrap();
        let ready = |cancel: &Cancel| {
            poll(&mut [PollFd::new(cancel, PollFlags::IN)], Some(&rustix::time::Timespec::default())).unwrap()
        };
        assert_eq!((cancel.is_cancelled(), ready(&cancel)), (false, 0));
        cancel.clone().cancel();
        cancel.cancel();
        assert_eq!((cancel.is_cancelled(), ready(&cancel)), (true, 1));
    }
}
