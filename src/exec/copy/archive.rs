//! Archives that ADD unpacks.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::Path;

use crate::layer::{DiffId, Entry, Hashing, TarError, TarReader, decompress};

/// An archive whose entries are known and whose contents can be read.
#[derive(Debug)]
pub struct Archive {
    /// Digest of the uncompressed tar: what the contents of its files are found by.
    pub digest: DiffId,
    /// What it holds, in its order.
    pub entries: Vec<Entry>,
    /// The uncompressed tar, in a temporary file without a name.
    pub tar: File,
}

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins as an archive and does not go on as one.
    #[error("the archive is damaged, or holds what no archive for ADD may hold")]
    Tar(#[from] TarError),
    /// It cannot be read, or its contents cannot be put aside.
    #[error("cannot read the archive")]
    Io(#[from] io::Error),
}

impl Archive {
    /// Opens `file` as an archive: a tar, plain or compressed in any of the usual ways, recognised by its content and
    /// never by its name. `None` if it is none; then ADD copies it as it is.
    ///
    /// The uncompressed tar goes into a temporary file in `directory`, in the one pass that lists it.
    pub fn open(mut file: File, directory: &Path) -> Result<Option<Self>, ArchiveError> {
        if !looks_like_tar(&mut file) {
            return Ok(None);
        }
        file.rewind()?;
        let mut spool = tempfile::tempfile_in(directory)?;
        let copying = Copying { from: decompress(file)?, to: Hashing::new(io::BufWriter::new(&mut spool)) };
        let mut reader = TarReader::of_archive(copying);
        let mut entries = Vec::new();
        while let Some((entry, _)) = reader.next_entry()? {
            entries.push(entry);
        }
        let (mut writer, digest, _) = reader.finish()?.to.finish();
        writer.flush()?;
        drop(writer);
        Ok(Some(Self { digest: DiffId(digest), entries, tar: spool }))
    }
}

/// Whether there is at least one entry of a tar at the beginning. Something compressed that holds no tar is no archive.
fn looks_like_tar(file: &mut File) -> bool {
    decompress(file).is_ok_and(|content| matches!(TarReader::of_archive(content).next_entry(), Ok(Some(_))))
}

/// Reads, and writes what was read.
struct Copying<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Digest, GzipWriter, Metadata, TarWriter};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), 6, std::num::NonZeroUsize::MIN).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn tar() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        tar.append(&Entry::file("a/.wh.b", Metadata::with_mode(0o600), 0), io::empty()).unwrap_err();
        let mut tar = TarWriter::new(Vec::new());
        tar.append(&Entry::file("a/b", Metadata::with_mode(0o600), 5), &b"hello"[..]).unwrap();
        tar.finish().unwrap()
    }

    #[test]
    fn is_recognised_by_content() {
        let directory = tempfile::tempdir().unwrap();
        for bytes in [tar(), gzip(&tar())] {
            let archive = Archive::open(file(&bytes), directory.path()).unwrap().unwrap();
            assert_eq!(archive.digest.0, Digest::of(tar()));
            assert_eq!(archive.entries.len(), 1);
            let mut spooled = Vec::new();
            let mut spool = archive.tar;
            spool.rewind().unwrap();
            spool.read_to_end(&mut spooled).unwrap();
            assert_eq!(spooled, tar());
        }
    }

    #[test]
    fn other_files_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let empty_tar = TarWriter::new(Vec::new()).finish().unwrap();
        for bytes in [Vec::new(), b"text".to_vec(), gzip(b"text"), empty_tar, vec![0x1f, 0x8b, 0]] {
            assert!(Archive::open(file(&bytes), directory.path()).unwrap().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn damage_behind_the_first_entry_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = tar();
        bytes.truncate(512 + 3);
        assert!(Archive::open(file(&bytes), directory.path()).is_err());
    }
}
