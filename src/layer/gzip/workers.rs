//! The threads that deflate blocks.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::block::{Block, Deflated};

/// Threads that share one queue. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    block: Block,
    answer: SyncSender<io::Result<Deflated>>,
}

/// A block that is being deflated.
#[derive(Debug)]
pub(super) struct Reply(Receiver<io::Result<Deflated>>);

impl Workers {
    /// Starts as many threads as the system allows, at most `count`: maybe none.
    pub(super) fn start(level: u8, count: NonZeroUsize) -> Self {
        let (queue, jobs) = sync_channel(2 * count.get());
        let jobs = Arc::new(Mutex::new(jobs));
        let start = |_| {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(level, &jobs)).ok()
        };
        Self { queue: Some(queue), threads: (0..count.get()).map_while(start).collect() }
    }

    /// How many threads there are.
    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Queues a block.
    pub(super) fn submit(&self, block: Block) -> io::Result<Reply> {
        let (answer, reply) = sync_channel(1);
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Job { block, answer }).map_err(|_| stopped())?;
        Ok(Reply(reply))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has left its block unanswered, which is an error where the block was awaited.
            let _ = thread.join();
        }
    }
}

impl Reply {
    /// Waits for the block.
    pub(super) fn wait(self) -> io::Result<Deflated> {
        let _span = tracing::info_span!("wait for deflate").entered();
        self.0.recv().map_err(|_| stopped())?
    }
}

fn stopped() -> io::Error {
    io::Error::other("a compression thread stopped unexpectedly")
}

fn work(level: u8, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the threads take turns at that.
        let Ok(jobs) = jobs.lock() else { return };
        let Ok(job) = jobs.recv() else { return };
        drop(jobs);
        // Nobody waits for the answer when the writer was dropped unfinished.
        let _ = job.answer.send(job.block.deflate(level));
    }
}
