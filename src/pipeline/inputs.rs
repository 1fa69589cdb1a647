//! The user's files: Dockerfile, `.dockerignore`, build contexts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::BuildError;
use super::check::{self, Linter};
use crate::context::fetch::{FetchError, Fetched, FetchedContext, Fetcher};
use crate::context::ignore::Ignore;
use crate::context::source::{ContextOrigin, RemoteContext};
use crate::context::{Context, ContextError, fetch};
use crate::dockerfile::{BaseImage, Diagnostic, Dockerfile, Source, parse};
use crate::event::Events;
use crate::graph::{Bases, Graph, NamedContext};
use crate::request::{BuildRequest, ContextSource, DockerfileSource, MAX_DOCKERFILE};

/// BuildKit's build argument for keeping the `.git` of a context.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// What a build reads from the user.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dockerfile: Dockerfile,
    context: Option<(PathBuf, Ignore)>,
    named: BTreeMap<String, (PathBuf, Ignore)>,
    linter: Linter,
    /// Keeps what was fetched.
    _main: FetchedMain,
    fetched: BTreeMap<String, FetchedContext>,
}

/// The main context, if it had to be fetched.
#[derive(Debug, Default)]
pub(super) struct FetchedMain(Option<Fetched>);

impl FetchedMain {
    /// Fetches the main context of a request if it is not a directory.
    pub(super) async fn fetch(request: &BuildRequest, fetcher: &Fetcher) -> Result<Self, BuildError> {
        let ContextSource::Remote(context) = &request.context else { return Ok(Self(None)) };
        let mut context = context.clone();
        if let ContextOrigin::Git(source) = &mut context.origin {
            let wanted = request.build_args.get(KEEP_GIT_DIR).map(|value| value == "1" || value == "true");
            source.keep_git_dir = source.keep_git_dir.or(wanted);
        }
        let fetched = fetcher.fetch(&context).await.map_err(|error| failed(&context, error))?;
        Ok(Self(Some(fetched)))
    }
}

fn failed(context: &RemoteContext, source: FetchError) -> BuildError {
    BuildError::Fetch { context: context.to_string(), source: Box::new(source) }
}

/// Whether there are named contexts that have to be fetched, if something needs them.
pub(super) fn has_remote_names(request: &BuildRequest) -> bool {
    request.contexts.values().any(|context| matches!(context, NamedContext::Remote(_)))
}

/// Where the main context's files are.
#[derive(Clone, Copy)]
enum Root<'a> {
    /// There are none.
    None,
    /// The user's own directory.
    Own(&'a Path),
    /// A directory whose contents come from elsewhere: links that lead out of it are not followed.
    Foreign { path: &'a Path, heeds_ignore_file: bool },
}

impl Inputs {
    /// Reads and checks the Dockerfile, and the `.dockerignore` that belongs to it.
    pub(super) fn read(
        request: &BuildRequest,
        main: FetchedMain,
        events: &Events,
    ) -> Result<Self, BuildError> {
        let inputs = Self::open(request, main)?;
        check::warn(&inputs.dockerfile.source, inputs.findings(BTreeMap::new()), events)?;
        Ok(inputs)
    }

    /// Checks what depends on the base images of a plan.
    pub(super) fn check_bases(
        &self,
        graph: &Graph,
        bases: &Bases,
        events: &Events,
    ) -> Result<(), BuildError> {
        let images = check::base_images(&self.dockerfile, graph, bases);
        check::warn(&self.dockerfile.source, self.findings(images), events)
    }

    /// What the checks find that they have not found before.
    pub(super) fn findings(&self, images: BTreeMap<usize, BaseImage>) -> Vec<Diagnostic> {
        let ignore = self.context.as_ref().map(|(_, ignore)| ignore);
        self.linter.find(&self.dockerfile, ignore, images)
    }

    /// Reads and parses, without a look at what may not be meant.
    pub(super) fn open(request: &BuildRequest, main: FetchedMain) -> Result<Self, BuildError> {
        let (root, received) = match (&request.context, &main.0) {
            (ContextSource::Directory(root), _) => {
                if !root.is_dir() {
                    return Err(ContextError::NotADirectory { path: root.clone() }.into());
                }
                (Root::Own(root), None)
            }
            (ContextSource::Empty, _) => (Root::None, None),
            (ContextSource::Remote(context), Some(Fetched::Context(files))) => {
                let heeds_ignore_file = context.heeds_ignore_file;
                (Root::Foreign { path: files.root(), heeds_ignore_file }, None)
            }
            (ContextSource::Remote(_), Some(Fetched::Dockerfile(text))) => (Root::None, Some(text)),
            (ContextSource::Remote(context), None) => {
                return Err(ContextError::NotHere { context: context.to_string() }.into());
            }
        };
        let (name, text, path) = match (&request.dockerfile, received) {
            (DockerfileSource::InContext, Some(text)) | (DockerfileSource::Text(text), None) => {
                ("Dockerfile".to_owned(), text.clone(), None)
            }
            (_, Some(_)) => return Err(BuildError::TwoDockerfiles { context: request.context.to_string() }),
            (DockerfileSource::InContext, None) => {
                let path = root
                    .find("Dockerfile".as_ref())
                    .or_else(|| root.find("dockerfile".as_ref()))
                    .ok_or_else(|| BuildError::NoDockerfile { path: root.shown("Dockerfile".as_ref()) })?;
                (root.shown_name(&path), read_text(&path)?, Some(path))
            }
            (DockerfileSource::Path(given), None) => {
                let as_given = || find([given.clone()]);
                let found = match root {
                    // What is in a foreign context must not depend on what lies around here.
                    Root::Foreign { .. } => root.find(given).or_else(as_given),
                    _ => as_given().or_else(|| root.find(given)),
                };
                let path = found.ok_or_else(|| BuildError::NoDockerfile { path: given.clone() })?;
                (root.shown_name(&path), read_text(&path)?, Some(path))
            }
        };
        let dockerfile = parse(Source::new(name, text)).map_err(BuildError::Dockerfile)?;
        let linter = Linter::new(&dockerfile.source, request)?;
        let context = match root.path() {
            Some(path_of_root) => Some((path_of_root.to_owned(), root.ignore(path.as_deref())?)),
            None => None,
        };
        let mut named = BTreeMap::new();
        for (name, context) in &request.contexts {
            if let NamedContext::Directory(path) = context {
                named.insert(name.clone(), (path.clone(), Root::Own(path).ignore(None)?));
            }
        }
        Ok(Self { dockerfile, context, named, linter, _main: main, fetched: BTreeMap::new() })
    }

    /// Fetches those of the named contexts of a request that are elsewhere and are not here yet, at the same time.
    pub(super) async fn fetch_named(
        &mut self,
        request: &BuildRequest,
        names: &BTreeSet<String>,
        fetcher: &Fetcher,
    ) -> Result<(), BuildError> {
        let wanted = names.iter().filter(|name| !self.fetched.contains_key(*name));
        let wanted = wanted.filter_map(|name| match request.contexts.get(name) {
            Some(NamedContext::Remote(context)) => Some((name, context)),
            _ => None,
        });
        let fetched = try_join_all(wanted.map(|(name, context)| async move {
            match fetcher.fetch(context).await.map_err(|error| failed(context, error))? {
                Fetched::Context(fetched) => Ok((name, context.heeds_ignore_file, fetched)),
                Fetched::Dockerfile(_) => Err(failed(context, fetch::ArchiveError::NoArchive.into())),
            }
        }));
        for (name, heeds_ignore_file, files) in fetched.await? {
            let root = Root::Foreign { path: files.root(), heeds_ignore_file };
            self.named.insert(name.clone(), (files.root().to_owned(), root.ignore(None)?));
            self.fetched.insert(name.clone(), files);
        }
        Ok(())
    }

    /// The directories of all contexts, and what is left out of each; the build context has no name.
    pub(super) fn directories(&self) -> BTreeMap<Option<String>, (&Path, &Ignore)> {
        let main = self.context.iter().map(|(root, ignore)| (None, (root.as_path(), ignore)));
        let named = self.named.iter();
        main.chain(named.map(|(name, (root, ignore))| (Some(name.clone()), (root.as_path(), ignore))))
            .collect()
    }

    /// Lists the files of all contexts.
    pub(super) fn contexts(&self) -> Result<BTreeMap<Option<String>, Arc<Context>>, BuildError> {
        let mut contexts = BTreeMap::new();
        if let Some((root, ignore)) = &self.context {
            contexts.insert(None, Arc::new(Context::load(root, ignore)?));
        }
        for (name, (root, ignore)) in &self.named {
            contexts.insert(Some(name.clone()), Arc::new(Context::load(root, ignore)?));
        }
        Ok(contexts)
    }
}

impl<'a> Root<'a> {
    fn path(self) -> Option<&'a Path> {
        match self {
            Self::None => None,
            Self::Own(path) | Self::Foreign { path, .. } => Some(path),
        }
    }

    /// A file in the context; in a foreign one no link leads out.
    fn find(self, path: &Path) -> Option<PathBuf> {
        match self {
            Self::None => find([path.to_owned()]).filter(|_| path.is_relative()),
            Self::Own(root) => find([root.join(path)]),
            Self::Foreign { path: root, .. } => fetch::file_in(root, path),
        }
    }

    /// Where a file of the context would be, for a message.
    fn shown(self, path: &Path) -> PathBuf {
        match self {
            Self::Own(root) => root.join(path),
            _ => path.to_owned(),
        }
    }

    /// What a file is called in messages: what is in a private directory, by its path in there.
    fn shown_name(self, path: &Path) -> String {
        match self {
            Self::Foreign { path: root, .. } => shown(path.strip_prefix(root).unwrap_or(path)),
            _ => shown(path),
        }
    }

    /// The rules of `<Dockerfile>.dockerignore`, or else of the context's own `.dockerignore`. In what was fetched these
    /// files are like others, unless the request says otherwise.
    fn ignore(self, dockerfile: Option<&Path>) -> Result<Ignore, BuildError> {
        if matches!(self, Self::None | Self::Foreign { heeds_ignore_file: false, .. }) {
            return Ok(Ignore::default());
        }
        let beside = dockerfile.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let beside = beside.and_then(|path| match self {
            Self::Foreign { path: root, .. } if path.starts_with(root) => fetch::file_in(root, &path),
            _ => find([path]),
        });
        let Some(path) = beside.or_else(|| self.find(".dockerignore".as_ref())) else {
            return Ok(Ignore::default());
        };
        let text = read_text(&path)?;
        Ignore::parse(&text).map_err(|error| BuildError::Ignore { path, reason: error.to_string() })
    }
}

fn find(paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.into_iter().find(|path| path.is_file())
}

fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

fn read_text(path: &Path) -> Result<String, BuildError> {
    use io::Read as _;
    let failed = |source| BuildError::ReadFile { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_DOCKERFILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_DOCKERFILE {
        return Err(failed(io::Error::other(format!("it is longer than {MAX_DOCKERFILE} bytes"))));
    }
    String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is not UTF-8 text")))
}
