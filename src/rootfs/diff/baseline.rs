//! The note of what was in a plain rootfs: a file that only this module understands, for the life of one build.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::status::{Fingerprint, Status, Time};

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: PathBuf,
    pub(super) status: Status,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// All paths, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) records: Vec<Record>,
}

/// Length of what precedes a path: nine numbers, whether there is a fingerprint, the fingerprint, the path's length.
const FIXED: usize = 4 * 3 + 8 + 12 + 12 + 8 + 4 + 8 + 1 + 32 + 2;

impl Baseline {
    /// Writes the note and puts it in the place of an older one.
    pub(super) fn replace(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&new)?);
        let latest = self.records.iter().map(|record| record.status.ctime).max().unwrap_or_default();
        let coarse = self.records.iter().all(|record| record.status.ctime.1 == 0);
        write_time(&mut out, latest)?;
        out.write_all(&[u8::from(coarse)])?;
        out.write_all(&(self.records.len() as u64).to_le_bytes())?;
        for Record { path, status, fingerprint } in &self.records {
            for number in [status.mode, status.uid, status.gid, status.links] {
                out.write_all(&number.to_le_bytes())?;
            }
            for number in [status.size, status.inode, status.device] {
                out.write_all(&number.to_le_bytes())?;
            }
            write_time(&mut out, status.mtime)?;
            write_time(&mut out, status.ctime)?;
            out.write_all(&[u8::from(fingerprint.is_some())])?;
            out.write_all(&fingerprint.unwrap_or_default())?;
            let path = path.as_os_str().as_bytes();
            let length = u16::try_from(path.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(path)?;
        }
        out.into_inner()?;
        fs::rename(new, path)
    }

    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut bytes = Bytes(&bytes);
        bytes.header()?;
        let count = u64::from_le_bytes(bytes.take()?);
        let possible = bytes.0.len() / FIXED;
        let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(possible).min(possible));
        for _ in 0..count {
            let [mode, uid, gid, links] = [bytes.u32()?, bytes.u32()?, bytes.u32()?, bytes.u32()?];
            let [size, inode, device] = [bytes.u64()?, bytes.u64()?, bytes.u64()?];
            let (mtime, ctime) = (bytes.time()?, bytes.time()?);
            let [has_fingerprint] = bytes.take()?;
            let fingerprint: Fingerprint = bytes.take()?;
            let length = u16::from_le_bytes(bytes.take()?);
            let path = OsString::from_vec(bytes.slice(usize::from(length))?.to_vec());
            records.push(Record {
                path: path.into(),
                status: Status { mode, uid, gid, size, mtime, ctime, inode, links, device },
                fingerprint: (has_fingerprint == 1).then_some(fingerprint),
            });
        }
        Ok(Self { records })
    }
}

/// Waits (a few milliseconds at most, where the file system keeps fractions of seconds) until whatever is changed
/// from now on gets a change time that is in no record of the note.
pub(crate) fn wait_until_later(baseline: &Path) -> io::Result<()> {
    let mut start = [0; 13];
    BufReader::new(File::open(baseline)?).read_exact(&mut start)?;
    let (latest, coarse) = Bytes(&start).header()?;
    let attempts = if coarse { 1100 } else { 20 };
    for _ in 0..attempts {
        // The clock that file systems stamp with.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let is_later = if coarse {
            now.tv_sec > latest.0
        } else {
            (now.tv_sec, now.tv_nsec) > (latest.0, i64::from(latest.1))
        };
        // A clock that was set back stays behind for long; the other evidence has to do then.
        if is_later || now.tv_sec + 2 < latest.0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What unpacking noted: 8 bytes of inode and 32 of fingerprint each. Of one inode the last counts.
pub(super) fn read_fingerprints(path: &Path) -> io::Result<HashMap<u64, Fingerprint>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut rest = Bytes(&bytes);
    let mut found = HashMap::with_capacity(bytes.len() / 40);
    while !rest.0.is_empty() {
        found.insert(rest.u64()?, rest.take()?);
    }
    Ok(found)
}

fn write_time(out: &mut impl Write, (seconds, nanoseconds): Time) -> io::Result<()> {
    out.write_all(&seconds.to_le_bytes())?;
    out.write_all(&nanoseconds.to_le_bytes())
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (found, rest) = self.0.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(found)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn time(&mut self) -> io::Result<Time> {
        Ok((i64::from_le_bytes(self.take()?), self.u32()?))
    }

    /// The latest change time, and whether times have no fractions.
    fn header(&mut self) -> io::Result<(Time, bool)> {
        let latest = self.time()?;
        let [coarse] = self.take()?;
        Ok((latest, coarse == 1))
    }
}
