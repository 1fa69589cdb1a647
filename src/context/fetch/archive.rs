//! Archives as they stream in: unpacked into a directory, or found to be a Dockerfile.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::Activity;
use crate::layer::{Compression, TarReader, decompress};
use crate::request::MAX_DOCKERFILE;
use crate::rootfs::unpack::{UnpackError, unpack_archive};

/// The largest context, unpacked, in bytes: more is a mistake or an attack, and would fill a node's disk.
const MAX_UNPACKED: u64 = 64 << 30;

/// So many bytes tell a tar from a text: room for the records that come before the first member.
const HEAD: u64 = 64 << 10;

/// What a stream turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// An archive, which is unpacked now.
    Files,
    /// A Dockerfile.
    Dockerfile(String),
}

/// Why a stream is neither.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read to its end.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is damaged, or holds what it must not.
    #[error("the archive cannot be unpacked")]
    Unpack(#[from] UnpackError),
    /// Neither an archive nor text.
    #[error("it is neither a tar archive (plain, gzip, bzip2, xz or zstd) nor the text of a Dockerfile")]
    Neither,
    /// Not an archive, where only an archive will do.
    #[error("it is no tar archive (plain, gzip, bzip2, xz or zstd)")]
    NoArchive,
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It grows beyond all measure.
    #[error("the archive holds more than {} GiB", MAX_UNPACKED >> 30)]
    TooLarge,
}

/// Unpacks `stream` into `directory`, or reads it as a Dockerfile if it may be one. Blocks; nothing is held in memory.
pub(super) fn receive(
    stream: impl Read + Send,
    directory: &Path,
    may_be_dockerfile: bool,
) -> Result<Received, ArchiveError> {
    let mut stream = stream;
    let mut head = Vec::new();
    (&mut stream).take(HEAD).read_to_end(&mut head).map_err(ArchiveError::Read)?;
    if head.is_empty() {
        return Err(ArchiveError::Empty);
    }
    let is_compressed = Compression::detect(&head) != Compression::Uncompressed;
    if !is_compressed && !begins_like_tar(&head) {
        if !may_be_dockerfile {
            return Err(ArchiveError::NoArchive);
        }
        let mut text = head;
        stream.take(MAX_DOCKERFILE + 1).read_to_end(&mut text).map_err(ArchiveError::Read)?;
        let is_text = text.len() as u64 <= MAX_DOCKERFILE && !text.contains(&0);
        return match String::from_utf8(text) {
            Ok(text) if is_text => Ok(Received::Dockerfile(text)),
            _ => Err(ArchiveError::Neither),
        };
    }
    let root = File::open(directory).map_err(ArchiveError::Read)?;
    let whole = Cursor::new(head).chain(stream);
    let mut tar = Bounded { from: decompress(whole).map_err(ArchiveError::Read)?, left: MAX_UNPACKED };
    let unpacked = unpack_archive(&mut tar, root.as_fd());
    if tar.left == 0 {
        return Err(ArchiveError::TooLarge);
    }
    unpacked?;
    Ok(Received::Files)
}

/// Whether a tar begins so: with a member, or with the two empty blocks that are its end.
fn begins_like_tar(head: &[u8]) -> bool {
    const BLOCK: usize = 512;
    let empty = head.len() >= BLOCK && head.iter().take(2 * BLOCK).all(|byte| *byte == 0);
    empty || matches!(TarReader::of_archive(head).next_entry(), Ok(Some(_)))
}

/// Ends with an error when there is too much.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.from.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Tells how far a stream is, and ends it when nobody wants it any more.
pub(super) struct Watched<R> {
    pub(super) from: R,
    pub(super) activity: Arc<Activity>,
    pub(super) total: Option<u64>,
    pub(super) done: u64,
    pub(super) stop: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.from.read(buffer)?;
        self.done += count as u64;
        self.activity.progress(self.done, self.total);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Entry, Metadata, TarWriter};

    fn tar() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        let metadata = Metadata { uid: 12_345, gid: 12_345, ..Metadata::with_mode(0o640) };
        tar.append(&Entry::file("a/b", metadata, 5), &b"hello"[..]).unwrap();
        tar.finish().unwrap()
    }

    #[test]
    fn archives_and_dockerfiles_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let receive = |bytes: &[u8], may| receive(bytes, directory.path(), may);
        assert_eq!(receive(&tar(), true).unwrap(), Received::Files);
        assert_eq!(std::fs::read_to_string(directory.path().join("a/b")).unwrap(), "hello");
        assert_eq!(receive(b"FROM x\n", true).unwrap(), Received::Dockerfile("FROM x\n".to_owned()));
        assert!(matches!(receive(b"FROM x\n", false), Err(ArchiveError::NoArchive)));
        assert!(matches!(receive(&[7, 0, 1], true), Err(ArchiveError::Neither)));
        assert!(matches!(receive(&[], true), Err(ArchiveError::Empty)));
        assert_eq!(receive(&[0; 1024], true).unwrap(), Received::Files);
        let cut = &tar()[..512 + 3];
        assert!(matches!(receive(cut, true), Err(ArchiveError::Unpack(_))));
    }

    #[test]
    fn what_is_beyond_measure_ends() {
        let mut bounded = Bounded { from: io::repeat(1), left: 10 };
        assert!(bounded.read_to_end(&mut Vec::new()).is_err());
        assert_eq!(bounded.left, 0);
    }
}
