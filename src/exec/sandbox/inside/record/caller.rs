//! The process that has made a call: its memory, and the files that it names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Longest path that the kernel takes, with the zero byte at its end.
const MAX_PATH: usize = 4096;

/// Memory is there or not by pages; the smallest of any machine has so many bytes.
const PAGE: usize = 4096;

/// A thread that waits for the answer to its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    /// The pod's `/proc`.
    pub(super) proc: BorrowedFd<'a>,
    pub(super) thread: u32,
}

/// What `/proc` says of a thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Status {
    pub(super) process: u32,
    pub(super) parent: u32,
    pub(super) umask: u32,
}

impl Status {
    pub(super) fn read(proc: impl AsFd, thread: u32) -> io::Result<Self> {
        let file = rustix::fs::openat(
            proc,
            format!("{thread}/status"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut text = String::new();
        // What is wanted is among the first lines; a name may be anything.
        File::from(file)
            .take(1024)
            .read_to_string(&mut text)
            .or_else(|error| if text.is_empty() { Err(error) } else { Ok(0) })?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let number = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let umask = field("Umask:").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o022);
        Ok(Self { process: number("Tgid:"), parent: number("PPid:"), umask })
    }
}

impl Caller<'_> {
    fn open(self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = format!("{}/{name}", self.thread);
        Ok(rustix::fs::openat(self.proc, path, flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(super) fn memory(self) -> io::Result<File> {
        Ok(self.open("mem", OFlags::RDWR)?.into())
    }

    pub(super) fn status(self) -> io::Result<Status> {
        Status::read(self.proc, self.thread)
    }

    /// A path in the caller's memory.
    pub(super) fn path(self, address: u64) -> io::Result<PathBuf> {
        let memory = self.memory()?;
        let mut bytes = Vec::new();
        while bytes.len() < MAX_PATH {
            let here = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
            let mut piece = [0; PAGE];
            // Only this page is known to be there.
            let offset = usize::try_from(here % PAGE as u64).unwrap_or(0);
            let piece = &mut piece[offset..];
            memory.read_exact_at(piece, here).map_err(|_| Errno::FAULT)?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&piece[..end]);
                return Ok(OsString::from_vec(bytes).into());
            }
            bytes.extend_from_slice(piece);
        }
        Err(Errno::NAMETOOLONG.into())
    }

    /// Numbers of 32 bits in the caller's memory.
    pub(super) fn numbers(self, address: u64, count: usize) -> io::Result<Vec<u32>> {
        let mut bytes = vec![0; count * 4];
        self.memory()?.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
        Ok(bytes.chunks_exact(4).map(number).collect())
    }

    /// The file that the caller means by a directory's descriptor and a path. `follow` says whether a link at its end is
    /// followed; an empty path means the descriptor itself.
    pub(super) fn place(self, directory: i32, path: &Path, follow: bool) -> io::Result<OwnedFd> {
        if path.as_os_str().is_empty() {
            return self.open(&described(directory), OFlags::PATH);
        }
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        if let Some(root) = self.other_root()? {
            let path = if path.is_absolute() { path.to_owned() } else { self.in_root(directory)?.join(path) };
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            return Ok(rustix::fs::openat2(root, &path, flags, Mode::empty(), resolve)?);
        }
        let resolve = ResolveFlags::NO_MAGICLINKS;
        if path.is_absolute() {
            return Ok(rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)?);
        }
        let base = self.open(&described(directory), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(rustix::fs::openat2(base, path, flags, Mode::empty(), resolve)?)
    }

    /// The directory that something is to be made in, and its name there.
    pub(super) fn new_place(self, directory: i32, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let bytes = path.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|byte| *byte != b'/').ok_or(Errno::EXIST)? + 1;
        let begin = bytes[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = &bytes[begin..end];
        if matches!(name, b"." | b"..") {
            return Err(Errno::EXIST.into());
        }
        let parent = match &bytes[..begin] {
            b"" => Path::new("."),
            parent => Path::new(OsStr::from_bytes(parent)),
        };
        Ok((self.place(directory, parent, true)?, OsStr::from_bytes(name).to_owned()))
    }

    /// The root of a caller that has changed it.
    fn other_root(self) -> io::Result<Option<OwnedFd>> {
        let root = self.open("root", OFlags::PATH | OFlags::DIRECTORY)?;
        let (its, own) = (rustix::fs::fstat(&root)?, rustix::fs::statat(CWD, "/", AtFlags::empty())?);
        Ok(((its.st_dev, its.st_ino) != (own.st_dev, own.st_ino)).then_some(root))
    }

    /// The path of a directory of the caller, as the caller sees it.
    fn in_root(self, directory: i32) -> io::Result<PathBuf> {
        let link = |name: &str| -> io::Result<PathBuf> {
            let path = format!("{}/{name}", self.thread);
            let target = rustix::fs::readlinkat(self.proc, path, Vec::new())?;
            Ok(OsString::from_vec(target.into_bytes()).into())
        };
        let (root, directory) = (link("root")?, link(&described(directory))?);
        Ok(Path::new("/").join(directory.strip_prefix(root).map_err(|_| Errno::NOENT)?))
    }
}

/// What a descriptor is called in a process's directory.
fn described(directory: i32) -> String {
    if directory == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{directory}") }
}
