//! Finding out what a layer lists while its bytes are on the way to somewhere else.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::layer::{FileDigests, LayerIndex, TarError};

/// How many blocks of the tar may be ahead of who lists it.
const BLOCKS_AHEAD: usize = 16;

/// A thread that lists a layer from the blocks it is given.
#[derive(Debug)]
pub(super) struct Listing {
    blocks: SyncSender<Vec<u8>>,
    thread: JoinHandle<Result<LayerIndex, TarError>>,
}

impl Listing {
    pub(super) fn begin(digests: FileDigests) -> Self {
        let (blocks, receiver) = sync_channel(BLOCKS_AHEAD);
        let blocks_of_tar = Blocks { receiver, block: Vec::new(), at: 0 };
        let thread = std::thread::spawn(move || LayerIndex::read_with(blocks_of_tar, digests));
        Self { blocks, thread }
    }

    /// Takes the next bytes of the tar. False when they are not wanted any more: something before them was wrong, and
    /// [`Listing::finish`] says what.
    pub(super) fn take(&self, bytes: &[u8]) -> bool {
        self.blocks.send(bytes.to_vec()).is_ok()
    }

    /// What the layer lists, after its last byte.
    pub(super) fn finish(self) -> Result<LayerIndex, TarError> {
        drop(self.blocks);
        match self.thread.join() {
            Ok(index) => index,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The receiving end: blocks as a stream.
struct Blocks {
    receiver: Receiver<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            match self.receiver.recv() {
                Ok(block) => (self.block, self.at) = (block, 0),
                // The layer has ended, or reading it was given up.
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
