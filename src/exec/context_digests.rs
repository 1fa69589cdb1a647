//! Digests of the files of build contexts: each file is read for it at most once, and small ones need not be read
//! again for their layer.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
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

/// How much of a large file is read at once, in bytes.
const BUFFER: usize = 128 << 10;

/// Contents of files up to this size are kept, in bytes: opening a small file again costs more than its bytes do.
const SMALL: usize = 64 << 10;

/// All contents that are kept, in bytes.
const MOST_KEPT: usize = 48 << 20;

/// The digests of one build.
#[derive(Debug)]
pub(super) struct ContextDigests {
    store: Arc<Store>,
    known: Mutex<ByFile<Digest>>,
    /// What earlier builds found out, read when first needed.
    remembered: Mutex<HashMap<PathBuf, KnownFiles>>,
    kept: Mutex<Kept>,
}

/// Something about files, by context and path. Paths are compared as they are written, which is much faster than part by
/// part.
type ByFile<T> = HashMap<OsString, HashMap<OsString, T>>;

/// Contents for whoever writes the layer.
#[derive(Debug, Default)]
struct Kept {
    contents: ByFile<Vec<u8>>,
    /// The length of all of them.
    size: usize,
}

/// What reading a file came to.
struct ReadFile {
    digest: Digest,
    /// What the file was both before and after.
    metadata: Metadata,
    /// All of it, if it is small.
    contents: Option<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks protect is right after each of the few statements that change it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of a context, of which some were read already.
#[derive(Debug, Clone, Copy)]
pub struct ContextFiles<'a> {
    context: &'a Context,
    digests: Option<&'a ContextDigests>,
}

/// A file's contents.
pub(super) enum ContextFile {
    /// As they were when its digest was found out.
    Kept(Vec<u8>),
    /// To be read.
    Opened(File),
}

impl<'a> ContextFiles<'a> {
    /// The files of a context of which none was read.
    pub(super) fn unread(context: &'a Context) -> Self {
        Self { context, digests: None }
    }

    /// The contents of the file at the path that [`ContentSource::Context`](crate::rootfs::ContentSource) gives.
    pub(super) fn read(self, path: &Path) -> Result<ContextFile, ContextError> {
        match self.digests.and_then(|digests| digests.take_contents(self.context, path)) {
            Some(contents) => Ok(ContextFile::Kept(contents)),
            None => self.context.open(path).map(ContextFile::Opened),
        }
    }
}

impl ContextDigests {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, known: Mutex::default(), remembered: Mutex::default(), kept: Mutex::default() }
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
        let known =
            |known: &ByFile<Digest>| known.get(context.root().as_os_str())?.get(path.as_os_str()).copied();
        if let Some(digest) = known(&lock(&self.known)) {
            return Ok(digest);
        }
        let digest = match self.recall(context, path)? {
            Some(digest) => digest,
            None => self.find_out(context, path)?,
        };
        insert(&mut lock(&self.known), context.root(), path, digest);
        Ok(digest)
    }

    /// The files of a context, to be read.
    pub(super) fn files<'a>(&'a self, context: &'a Context) -> ContextFiles<'a> {
        ContextFiles { context, digests: Some(self) }
    }

    /// The contents of a file that was read for its digest, for one who wants them.
    fn take_contents(&self, context: &Context, path: &Path) -> Option<Vec<u8>> {
        let mut kept = lock(&self.kept);
        let contents = kept.contents.get_mut(context.root().as_os_str())?.remove(path.as_os_str())?;
        kept.size -= contents.len();
        Some(contents)
    }

    /// What earlier builds found out of a file that has not changed since.
    fn recall(&self, context: &Context, path: &Path) -> Result<Option<Digest>, ContextError> {
        if !self.remembered(&mut lock(&self.remembered), context.root()).is_from_earlier() {
            return Ok(None);
        }
        let failed = |source| ContextError::Read { path: path.to_owned(), source };
        // Whether the name still leads to the same file is of no matter: the file is known by what it is.
        let metadata = context.root().join(path).symlink_metadata().map_err(failed)?;
        let Some(identity) = identity(&metadata) else { return Ok(None) };
        Ok(self.remembered(&mut lock(&self.remembered), context.root()).find(&identity))
    }

    fn find_out(&self, context: &Context, path: &Path) -> Result<Digest, ContextError> {
        let _span = tracing::info_span!("digest").entered();
        let ReadFile { digest, metadata, contents } = read(context, path)?;
        if let Some(identity) = identity(&metadata) {
            self.remembered(&mut lock(&self.remembered), context.root()).add(identity, digest);
        }
        if let Some(contents) = contents {
            let mut kept = lock(&self.kept);
            if kept.size + contents.len() <= MOST_KEPT {
                kept.size += contents.len();
                insert(&mut kept.contents, context.root(), path, contents);
            }
        }
        Ok(digest)
    }

    fn remembered<'a>(
        &self,
        remembered: &'a mut HashMap<PathBuf, KnownFiles>,
        root: &Path,
    ) -> &'a mut KnownFiles {
        remembered.entry(root.to_owned()).or_insert_with(|| self.store.known_files(root))
    }

    /// Keeps what was found out for the next build.
    pub(super) fn keep(&self) -> Result<(), crate::store::StoreError> {
        lock(&self.remembered).values_mut().try_for_each(|files| self.store.keep_known_files(files))
    }
}

fn insert<T>(files: &mut ByFile<T>, root: &Path, path: &Path, value: T) {
    let path = path.as_os_str().to_owned();
    match files.get_mut(root.as_os_str()) {
        Some(files) => {
            files.insert(path, value);
        }
        None => {
            files.insert(root.as_os_str().to_owned(), HashMap::from([(path, value)]));
        }
    }
}

/// Reads a file until it does not change meanwhile.
fn read(context: &Context, path: &Path) -> Result<ReadFile, ContextError> {
    let failed = |source| ContextError::Read { path: path.to_owned(), source };
    loop {
        let mut file = context.open(path)?;
        let before = file.metadata().map_err(failed)?;
        let (digest, contents) = match usize::try_from(before.len()) {
            Ok(size) if size <= SMALL => {
                let contents = read_small(&mut file, size).map_err(failed)?;
                (Digest::of(&contents), Some(contents))
            }
            _ => (read_large(&mut file).map_err(failed)?, None),
        };
        let metadata = file.metadata().map_err(failed)?;
        if times(&before) == times(&metadata) {
            return Ok(ReadFile { digest, metadata, contents });
        }
    }
}

/// Reads `size` bytes, or all if there are fewer. That there are more shows in the file's times.
fn read_small(file: &mut File, size: usize) -> io::Result<Vec<u8>> {
    let mut contents = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut contents)?;
    Ok(contents)
}

fn read_large(file: &mut File) -> io::Result<Digest> {
    let mut buffer = vec![0; BUFFER];
    let mut hasher = Hasher::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
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

    #[test]
    fn small_contents_are_kept_for_one_who_wants_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path().join("store")).unwrap());
        let root = directory.path().join("context");
        std::fs::create_dir(&root).unwrap();
        let large = vec![7; SMALL + 1];
        for (name, contents) in
            [("empty", &b""[..]), ("small", b"one"), ("edge", &large[1..]), ("large", &large)]
        {
            std::fs::write(root.join(name), contents).unwrap();
        }
        let context = Context::load(&root, &Ignore::default()).unwrap();
        let digests = ContextDigests::new(store);
        let take = |name: &str| digests.take_contents(&context, Path::new(name));
        assert_eq!(take("small"), None);
        for name in ["empty", "small", "edge", "large"] {
            let expected = Digest::of(std::fs::read(root.join(name)).unwrap());
            assert_eq!(digests.digest(&context, Path::new(name)).unwrap(), expected, "{name}");
        }
        assert_eq!(lock(&digests.kept).size, 3 + SMALL);
        assert_eq!((take("empty"), take("small")), (Some(Vec::new()), Some(b"one".to_vec())));
        assert_eq!((take("edge").as_deref(), take("large")), (Some(&large[1..]), None));
        assert_eq!((take("small"), lock(&digests.kept).size), (None, 0));
    }
}
