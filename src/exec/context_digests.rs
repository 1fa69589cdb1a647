//! Digests of the files of build contexts: each file is read for it at most once.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::context::{Context, ContextError};
use crate::layer::{Digest, Hasher};
use crate::store::{FileIdentity, KnownFiles, Store};

/// A file that was changed this recently may change again without any of its times telling: the clock of file
/// systems ticks slowly, on some once per second.
const SETTLED: Duration = Duration::from_secs(2);

/// Fewer files are read one after the other.
const WORTH_THREADS: usize = 16;

/// The digests of one build.
#[derive(Debug)]
pub(super) struct ContextDigests {
    store: Arc<Store>,
    /// By context and path.
    known: Mutex<HashMap<(PathBuf, PathBuf), Digest>>,
    /// What earlier builds found out, read when first needed.
    remembered: Mutex<HashMap<PathBuf, KnownFiles>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks protect is only ever added to.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ContextDigests {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, known: Mutex::default(), remembered: Mutex::default() }
    }

    /// Finds out the digests of many files on all processors.
    pub(super) fn prepare(&self, context: &Context, paths: &[&Path]) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        if paths.len() < WORTH_THREADS || threads < 2 {
            return;
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(path) = paths.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    {
                        // An error comes again, at its place, when the digest is asked for.
                        if self.digest(context, path).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// The digest of a file's contents.
    pub(super) fn digest(&self, context: &Context, path: &Path) -> Result<Digest, ContextError> {
        let name = (context.root().to_owned(), path.to_owned());
        if let Some(digest) = lock(&self.known).get(&name) {
            return Ok(*digest);
        }
        let failed = |source| ContextError::Read { path: path.to_owned(), source };
        // Whether the name still leads to the same file is of no matter: the file is known by what it is.
        let before = context.root().join(path).symlink_metadata().map_err(failed)?;
        let remembered = match identity(&before) {
            Some(identity) => self.remembered(context.root(), &identity),
            None => None,
        };
        let digest = if let Some(digest) = remembered {
            digest
        } else {
            let (digest, file) = read(context, path)?;
            if let Some(identity) = identity(&file) {
                self.remember(context.root(), identity, digest);
            }
            digest
        };
        lock(&self.known).insert(name, digest);
        Ok(digest)
    }

    fn remembered(&self, root: &Path, identity: &FileIdentity) -> Option<Digest> {
        self.files(&mut lock(&self.remembered), root).find(identity)
    }

    fn remember(&self, root: &Path, identity: FileIdentity, digest: Digest) {
        self.files(&mut lock(&self.remembered), root).add(identity, digest);
    }

    fn files<'a>(&self, remembered: &'a mut HashMap<PathBuf, KnownFiles>, root: &Path) -> &'a mut KnownFiles {
        remembered.entry(root.to_owned()).or_insert_with(|| self.store.known_files(root))
    }

    /// Keeps what was found out for the next build.
    pub(super) fn keep(&self) -> Result<(), crate::store::StoreError> {
        lock(&self.remembered).values_mut().try_for_each(|files| self.store.keep_known_files(files))
    }
}

/// How much of a file is read at once, in bytes.
const BUFFER: usize = 128 << 10;

/// Reads a file; its metadata is what it was both before and after.
fn read(context: &Context, path: &Path) -> Result<(Digest, Metadata), ContextError> {
    let failed = |source| ContextError::Read { path: path.to_owned(), source };
    let _span = tracing::info_span!("digest").entered();
    loop {
        let mut file = context.open(path)?;
        let before = file.metadata().map_err(failed)?;
        // Most files are small, and a buffer is cleared before it is used.
        let size = usize::try_from(before.len()).unwrap_or(BUFFER);
        let mut buffer = vec![0; size.clamp(1, BUFFER)];
        let mut hasher = Hasher::new();
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
        let after = file.metadata().map_err(failed)?;
        if times(&before) == times(&after) {
            return Ok((hasher.finish(), after));
        }
    }
}

fn times(metadata: &Metadata) -> (u64, i64, i64, i64, i64) {
    let (size, ctime, mtime) = (metadata.size(), metadata.ctime(), metadata.mtime());
    (size, ctime, metadata.ctime_nsec(), mtime, metadata.mtime_nsec())
}

/// What a file is recognised by; `None` if it was changed too recently to be sure.
fn identity(metadata: &Metadata) -> Option<FileIdentity> {
    let changed = u64::try_from(metadata.ctime()).ok().map(Duration::from_secs)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (metadata.is_file() && changed + SETTLED < now).then(|| FileIdentity::of(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ignore::Ignore;

    #[test]
    fn a_changed_file_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path().join("store")).unwrap());
        let root = directory.path().join("context");
        std::fs::create_dir(&root).unwrap();
        let file = root.join("a");
        std::fs::write(&file, "one").unwrap();
        let digest = || {
            let context = Context::load(&root, &Ignore::default()).unwrap();
            let digests = ContextDigests::new(Arc::clone(&store));
            let digest = digests.digest(&context, Path::new("a")).unwrap();
            digests.keep().unwrap();
            digest
        };
        // Too recent to be remembered, and so a change that no time tells of is seen all the same.
        assert_eq!(digest(), Digest::of("one"));
        let times = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, "two").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert_eq!(digest(), Digest::of("two"));
        std::thread::sleep(SETTLED + Duration::from_secs(1));
        assert_eq!(digest(), Digest::of("two"));
        assert!(
            store.known_files(&root).find(&FileIdentity::of(&std::fs::metadata(&file).unwrap())).is_some()
        );
        std::fs::write(&file, "six").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert_eq!(digest(), Digest::of("six"));
    }
}
