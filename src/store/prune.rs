//! What the store holds, and taking away what was not used for longest.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use walkdir::WalkDir;

use super::{Store, StoreError};
use crate::layer::Digest;

/// Clocks of file systems are coarse, and may be set: what was used this long before a build began counts as used by
/// it.
const SLACK: Duration = Duration::from_mins(1);

/// A thing in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Where, relative to the store.
    pub path: PathBuf,
    /// Bytes on the disk.
    pub size: u64,
    /// When it was used last, in seconds since 1970.
    pub used: u64,
}

/// Kinds of things in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// A layer, config or manifest.
    Blob,
    /// What a layer lists.
    Index,
    /// The result of a step.
    Step,
    /// What the steps of a build were made from, or digests of files of a context.
    Note,
    /// An unpacked layer.
    Unpacked,
    /// A directory of `RUN --mount=type=cache`.
    CacheMount,
}

/// How much may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneLimits {
    /// So many bytes; what was used last stays.
    pub max_size: Option<u64>,
    /// What was used so long ago; nothing older.
    pub max_age: Option<Duration>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What pruning came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// What is gone.
    pub removed: Vec<Item>,
    /// What should have gone, and why it did not.
    pub kept: Vec<(Item, String)>,
    /// Bytes that are left.
    pub left: u64,
}

impl ItemKind {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Index => "index",
            Self::Step => "step",
            Self::Note => "note",
            Self::Unpacked => "unpacked",
            Self::CacheMount => "cache-mount",
        }
    }
}

impl Store {
    /// Marks the unpacked layers of this chain id as used now.
    pub fn use_unpacked(&self, chain: Digest) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        let path = self.used_path(&chain.hex());
        File::create(&path).map_err(StoreError::io("create", &path))?;
        super::hold::touch(&path);
        Ok(())
    }

    fn used_path(&self, chain: &str) -> PathBuf {
        self.root.join("used").join(chain)
    }

    /// Everything, what was used longest ago first.
    pub fn items(&self) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for (kind, directory) in [
            (ItemKind::Blob, "blobs/sha256"),
            (ItemKind::Index, "indexes"),
            (ItemKind::Step, "steps"),
            (ItemKind::Note, "definitions"),
            (ItemKind::Note, "files"),
        ] {
            for (path, metadata) in self.entries(Path::new(directory))? {
                if metadata.is_file() {
                    items.push(Item { kind, path, size: metadata.blocks() * 512, used: used(&metadata) });
                }
            }
        }
        for (map, _) in self.entries(Path::new("rootfs"))? {
            for (path, metadata) in self.entries(&map.join("layers"))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let marked = fs::metadata(self.used_path(&name)).map(|found| used(&found));
                // The directory's own mtime is the layer's; nobody sets its ctime.
                let used = marked.unwrap_or_else(|_| seconds(metadata.ctime()));
                items.push(Item { kind: ItemKind::Unpacked, size: size(&self.root.join(&path)), path, used });
            }
            for (path, metadata) in self.entries(&map.join("cache"))? {
                if !metadata.is_dir() {
                    continue;
                }
                let lock = fs::metadata(self.root.join(lock_of(&path)));
                let used = lock.map_or_else(|_| seconds(metadata.ctime()), |found| used(&found));
                items.push(Item {
                    kind: ItemKind::CacheMount,
                    size: size(&self.root.join(&path)),
                    path,
                    used,
                });
            }
        }
        items.sort_by(|one, other| (one.used, &one.path).cmp(&(other.used, &other.path)));
        Ok(items)
    }

    /// The entries of a directory of the store, by their paths relative to it; none if it is not there.
    fn entries(&self, directory: &Path) -> Result<Vec<(PathBuf, Metadata)>, StoreError> {
        let full = self.root.join(directory);
        let listed = match fs::read_dir(&full) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(StoreError::io("list", &full))?,
        };
        let mut entries = Vec::new();
        for entry in listed {
            let entry = entry.map_err(StoreError::io("list", &full))?;
            match entry.metadata() {
                Ok(metadata) => entries.push((directory.join(entry.file_name()), metadata)),
                // Gone by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("read", entry.path())(error)),
            }
        }
        Ok(entries)
    }

    /// Removes what was used longest ago until the rest is within the limits. What builds that are running have used
    /// stays. Killed at any moment, it leaves nothing half-removed.
    pub fn prune(&self, limits: PruneLimits) -> Result<Pruned, StoreError> {
        let items = self.items()?;
        let oldest_build = self.oldest_build()?.map(|began| began.saturating_sub(SLACK.as_secs()));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest_kept = limits.max_age.map(|age| now.saturating_sub(age).as_secs());
        let mut pruned = Pruned { left: items.iter().map(|item| item.size).sum(), ..Pruned::default() };
        let trash = self.scratch().join("trash");
        fs::create_dir_all(&trash).map_err(StoreError::io("create", &trash))?;
        for item in items {
            let is_old = oldest_kept.is_some_and(|oldest| item.used < oldest);
            let is_much = limits.max_size.is_some_and(|most| pruned.left > most);
            if !is_old && !is_much {
                continue;
            }
            if oldest_build.is_some_and(|began| item.used >= began) {
                pruned.kept.push((item, "a running build may use it".to_owned()));
                continue;
            }
            let target = trash.join(pruned.removed.len().to_string());
            let moved = if limits.dry_run { Ok(true) } else { self.throw_away(&item, &target) };
            match moved {
                Ok(true) => {
                    pruned.left -= item.size;
                    remove(&target);
                    pruned.removed.push(item);
                }
                Ok(false) => pruned.kept.push((item, "it is in use".to_owned())),
                Err(error) => pruned.kept.push((item, error.to_string())),
            }
        }
        Ok(pruned)
    }

    /// Moves an item to `target` at one stroke, unless it was used meanwhile.
    fn throw_away(&self, item: &Item, target: &Path) -> io::Result<bool> {
        let path = self.root.join(&item.path);
        // No build looks at anything until it is decided.
        let _hold = self.hold_alone().map_err(io::Error::other)?;
        let mark = match item.kind {
            ItemKind::Unpacked => {
                self.used_path(&item.path.file_name().unwrap_or_default().to_string_lossy())
            }
            ItemKind::CacheMount => self.root.join(lock_of(&item.path)),
            _ => path.clone(),
        };
        match fs::metadata(&mark) {
            Ok(found) if used(&found) > item.used => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let lock = (item.kind == ItemKind::CacheMount).then(|| File::open(&mark)).and_then(Result::ok);
        match lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => return Ok(false),
            Some(Err(TryLockError::Error(error))) => return Err(error),
            _ => {}
        }
        match fs::rename(&path, target) {
            // Another one prunes as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            moved => moved.map(|()| true),
        }
    }

    /// When the oldest build began that is still running, in seconds since 1970.
    fn oldest_build(&self) -> Result<Option<u64>, StoreError> {
        let mut oldest: Option<u64> = None;
        for (path, _) in self.entries(Path::new("tmp"))? {
            let path = self.root.join(path);
            if path == self.scratch() {
                continue;
            }
            // One that is only just beginning has used nothing yet, and looks before it uses.
            let Ok(lock) = File::open(path.join(super::scratch::LOCK)) else { continue };
            if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
                let began = lock.metadata().map(|found| used(&found));
                let began = began.map_err(StoreError::io("read", &path))?;
                oldest = Some(oldest.map_or(began, |oldest| oldest.min(began)));
            }
        }
        Ok(oldest)
    }
}

/// The lock of a cache mount's directory.
fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Removes what was thrown away. What cannot be removed now is swept with the directory it is in.
fn remove(path: &Path) {
    let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let _ = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn used(metadata: &Metadata) -> u64 {
    seconds(metadata.mtime())
}

fn seconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or_default()
}

/// Bytes on the disk of everything below a directory. What cannot be read counts for nothing.
fn size(directory: &Path) -> u64 {
    let entries = WalkDir::new(directory).into_iter().filter_map(Result::ok);
    entries.filter_map(|entry| Some(entry.metadata().ok()?.blocks() * 512)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Descriptor, MediaType};

    fn aged(path: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let blobs: Vec<Digest> = (0..4_u8).map(|number| store.put_blob(&[number; 5000]).unwrap()).collect();
        for (digest, age) in blobs.iter().zip([4000, 3000, 2000, 1000]) {
            aged(&store.blob_path(*digest), age);
        }
        // Asking for it is using it.
        let first = Descriptor::new(MediaType::ImageLayer, blobs[0], 5000);
        assert!(store.use_blob(&first).unwrap());
        let limits = PruneLimits { max_age: Some(Duration::from_secs(2500)), ..PruneLimits::default() };
        let would = store.prune(PruneLimits { dry_run: true, ..limits }).unwrap();
        assert!(store.blob_path(blobs[1]).exists());
        let pruned = store.prune(limits).unwrap();
        assert_eq!((pruned.removed.len(), &pruned.removed), (1, &would.removed));
        assert!(!store.blob_path(blobs[1]).exists());
        let limits = PruneLimits { max_size: Some(pruned.left - 1), ..PruneLimits::default() };
        let pruned = store.prune(limits).unwrap();
        assert!(pruned.removed[0].path.ends_with(blobs[2].hex()) && pruned.removed.len() == 1);
        assert!(store.use_blob(&first).unwrap());
    }

    #[test]
    fn what_running_builds_use_stays() {
        let directory = tempfile::tempdir().unwrap();
        let build = Store::open(directory.path()).unwrap();
        let (old, new) = (build.put_blob(b"old").unwrap(), build.put_blob(b"new").unwrap());
        aged(&build.blob_path(old), 1000);
        let pruning = Store::open(directory.path()).unwrap();
        let limits = PruneLimits { max_size: Some(0), ..PruneLimits::default() };
        let pruned = pruning.prune(limits).unwrap();
        assert_eq!((pruned.removed.len(), pruned.kept.len()), (1, 1));
        assert!(!build.blob_path(old).exists() && build.blob_path(new).exists());
        drop(build);
        assert_eq!(pruning.prune(limits).unwrap().removed.len(), 1);
        assert_eq!(fs::read_dir(pruning.scratch().join("trash")).unwrap().count(), 0);
    }
}
