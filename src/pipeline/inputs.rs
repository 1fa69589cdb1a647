//! The user's files: Dockerfile, `.dockerignore`, build contexts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BuildError;
use super::check::{self, Linter};
use crate::context::Context;
use crate::context::ignore::Ignore;
use crate::dockerfile::{BaseImage, Diagnostic, Dockerfile, Source, parse};
use crate::event::Events;
use crate::graph::{Bases, Graph, NamedContext};
use crate::request::{BuildRequest, ContextSource, DockerfileSource, MAX_DOCKERFILE};

/// What a build reads from the user.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dockerfile: Dockerfile,
    context: Option<(PathBuf, Ignore)>,
    named: BTreeMap<String, PathBuf>,
    linter: Linter,
}

impl Inputs {
    /// Reads and checks the Dockerfile, and the `.dockerignore` that belongs to it.
    pub(super) fn read(request: &BuildRequest, events: &Events) -> Result<Self, BuildError> {
        let inputs = Self::open(request)?;
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
    pub(super) fn open(request: &BuildRequest) -> Result<Self, BuildError> {
        let root = match &request.context {
            ContextSource::Directory(root) => Some(root.as_path()),
            ContextSource::Empty => None,
        };
        if let Some(root) = root
            && !root.is_dir()
        {
            return Err(crate::context::ContextError::NotADirectory { path: root.to_owned() }.into());
        }
        let (name, text, path) = match &request.dockerfile {
            DockerfileSource::Text(text) => ("Dockerfile".to_owned(), text.clone(), None),
            DockerfileSource::InContext => {
                let root = root.unwrap_or(Path::new("."));
                let path = find([root.join("Dockerfile"), root.join("dockerfile")])
                    .ok_or_else(|| BuildError::NoDockerfile { path: root.join("Dockerfile") })?;
                (shown(&path), read_text(&path)?, Some(path))
            }
            DockerfileSource::Path(given) => {
                let in_context = root.map(|root| root.join(given));
                let path = find([Some(given.clone()), in_context].into_iter().flatten())
                    .ok_or_else(|| BuildError::NoDockerfile { path: given.clone() })?;
                (shown(&path), read_text(&path)?, Some(path))
            }
        };
        let dockerfile = parse(Source::new(name, text)).map_err(BuildError::Dockerfile)?;
        let linter = Linter::new(&dockerfile.source, request)?;
        let context = match root {
            Some(root) => Some((root.to_owned(), ignore_for(root, path.as_deref())?)),
            None => None,
        };
        let named = request.contexts.iter().filter_map(|(name, context)| match context {
            NamedContext::Directory(path) => Some((name.clone(), path.clone())),
            _ => None,
        });
        Ok(Self { dockerfile, context, named: named.collect(), linter })
    }

    /// The directories of all contexts; the build context has no name.
    pub(super) fn directories(&self) -> BTreeMap<Option<String>, PathBuf> {
        let named = self.named.iter().map(|(name, root)| (Some(name.clone()), root.clone()));
        self.context.iter().map(|(root, _)| (None, root.clone())).chain(named).collect()
    }

    /// What is left out of each context.
    pub(super) fn ignored(&self) -> Result<BTreeMap<Option<String>, Vec<String>>, BuildError> {
        let mut ignored = BTreeMap::new();
        if let Some((_, ignore)) = &self.context {
            ignored.insert(None, ignore.patterns().collect());
        }
        for (name, root) in &self.named {
            ignored.insert(Some(name.clone()), ignore_for(root, None)?.patterns().collect());
        }
        Ok(ignored)
    }

    /// Lists the files of all contexts.
    pub(super) fn contexts(&self) -> Result<BTreeMap<Option<String>, Arc<Context>>, BuildError> {
        let mut contexts = BTreeMap::new();
        if let Some((root, ignore)) = &self.context {
            contexts.insert(None, Arc::new(Context::load(root, ignore)?));
        }
        for (name, root) in &self.named {
            let ignore = ignore_for(root, None)?;
            contexts.insert(Some(name.clone()), Arc::new(Context::load(root, &ignore)?));
        }
        Ok(contexts)
    }
}

/// The rules of `<Dockerfile>.dockerignore`, or else of the context's own `.dockerignore`.
fn ignore_for(root: &Path, dockerfile: Option<&Path>) -> Result<Ignore, BuildError> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let Some(path) = find(beside.into_iter().chain([root.join(".dockerignore")])) else {
        return Ok(Ignore::default());
    };
    let text = read_text(&path)?;
    Ignore::parse(&text).map_err(|error| BuildError::Ignore { path, reason: error.to_string() })
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
