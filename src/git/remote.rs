//! What is asked of a repository's server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::bstr::BString;
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::remote::fetch::{Shallow, Tags};

use super::GitError;
use super::names::{self, Found};
use super::transport::{Connected, Connecting, Received, connect};
use crate::context::fetch::Access;
use crate::context::source::{GitSource, GitUrl, Login, is_commit_id};
use crate::registry::Registries;

/// Who wants a repository: that decides which SSH keys are shown for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The user, on the command line: all keys there are.
    Request,
    /// A Dockerfile, which others may have written: only the agents that the build was given.
    Dockerfile,
}

/// A commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The commit, or the tag object that was asked for by its id.
    pub(super) object: ObjectId,
    /// The commit that the server says it stands for; the object's own id if nobody has said yet.
    pub(super) commit: ObjectId,
    /// The full name of the reference, if there is one.
    pub(super) name: Option<String>,
}

impl Resolved {
    /// What the object is found by, in hexadecimal.
    pub(crate) fn id(&self) -> String {
        self.commit.to_string()
    }
}

/// Fetches repositories. Blocks.
pub(crate) struct Repositories<'a> {
    registries: &'a Registries,
    access: &'a Access,
    asker: Asker,
    pub(super) received: Arc<Received>,
    pub(super) stop: &'a AtomicBool,
}

/// A repository's server, and how it is logged in to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) url: &'a GitUrl,
    pub(super) login: Option<&'a Login>,
    /// Whether it is the repository that was named, or a submodule of the same server.
    pub(super) is_asked_for: bool,
}

impl<'a> Repositories<'a> {
    /// Fetches until `stop` is set.
    pub(crate) fn new(
        registries: &'a Registries,
        access: &'a Access,
        asker: Asker,
        received: Arc<Received>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { registries, access, asker, received, stop }
    }

    /// The commit that is meant. A whole commit id is taken for granted, without asking anybody.
    pub(crate) fn resolve(&self, source: &GitSource) -> Result<Resolved, GitError> {
        let server = Server { url: &source.url, login: source.login.as_ref(), is_asked_for: true };
        let resolved = self.resolve_at(server, source)?;
        match &source.checksum {
            // What a commit asked for by its id stands for is known only when it is there.
            Some(expected) if resolved.name.is_some() => resolved.check(expected, source)?,
            _ => {}
        }
        Ok(resolved)
    }

    fn resolve_at(&self, server: Server<'_>, source: &GitSource) -> Result<Resolved, GitError> {
        let by_id = match &source.reference {
            _ if source.fetch_by_commit => source.checksum.as_deref(),
            Some(reference) if is_commit_id(reference) => Some(reference.as_str()),
            _ => None,
        };
        if let Some(id) = by_id {
            let unknown = |_| GitError::UnknownReference {
                url: server.url.to_string(),
                reference: id.to_owned(),
                guess: String::new(),
            };
            let object = ObjectId::from_hex(id.to_ascii_lowercase().as_bytes()).map_err(unknown)?;
            return Ok(Resolved { object, commit: object, name: None });
        }
        let found = self.find(server, source.reference.as_deref())?;
        Ok(Resolved { object: found.object, commit: found.commit, name: Some(found.name) })
    }

    /// The reference of this name.
    fn find(&self, server: Server<'_>, name: Option<&str>) -> Result<Found, GitError> {
        let url = || server.url.to_string();
        let wanted: Vec<&str> =
            name.map_or(vec!["HEAD", "refs/heads/main", "refs/heads/master"], |name| vec![name]);
        let unknown = |guess| GitError::UnknownReference {
            url: url(),
            reference: name.unwrap_or("HEAD").to_owned(),
            guess,
        };
        if name.is_some_and(|name| !is_plain_name(name)) {
            return Err(unknown(String::new()));
        }
        if let Some(found) = names::find(&self.list(server, &wanted)?, name) {
            return Ok(found);
        }
        // Nobody is in a hurry any more: all names are looked at for what may have been meant.
        let all =
            self.list(server, &["refs/heads/*:refs/cooper/heads/*", "refs/tags/*:refs/cooper/tags/*"])?;
        match name {
            _ if all.is_empty() => Err(GitError::Empty { url: url() }),
            None => Err(unknown(String::new())),
            Some(name) => Err(unknown(names::guess(&all, name))),
        }
    }

    /// The references that match `specs`, and perhaps more.
    fn list(&self, server: Server<'_>, specs: &[&str]) -> Result<Vec<Ref>, GitError> {
        let scratch =
            tempfile::tempdir().map_err(|source| GitError::Write { path: std::env::temp_dir(), source })?;
        let failed = |reason: gix::Error| protocol("list the references of", server.url, &reason);
        let repository = init(scratch.path()).map_err(failed)?;
        let connected = self.connect(server)?;
        let problem = connected.problem.clone();
        let run = || -> gix::Result<Vec<Ref>> {
            let remote = repository.remote_at(url_of(server.url)?)?.with_fetch_tags(Tags::None);
            let specs = specs.iter().map(|spec| BString::from(*spec));
            let remote = remote.with_refspecs(specs, gix::remote::Direction::Fetch)?;
            let connection =
                remote.to_connection_with_transport(connected.transport).with_credentials(|_| Ok(None));
            let (map, _) = connection.ref_map(Discard, gix::remote::ref_map::Options::default())?;
            Ok(map.remote_refs)
        };
        run().map_err(|error| self.cause(problem.take(), failed(error)))
    }

    /// Fetches what was resolved into the repository at `directory`.
    pub(super) fn fetch(
        &self,
        server: Server<'_>,
        source: &GitSource,
        resolved: &Resolved,
        repository: &gix::Repository,
    ) -> Result<(), GitError> {
        let wanted = match &resolved.name {
            Some(name) => format!("+{name}:{}", local_name(name)),
            None => format!("{}:refs/cooper/wanted", resolved.object),
        };
        let by_id = resolved.name.is_none();
        match self.fetch_specs(server, vec![wanted], source.depth.is_none(), source, repository) {
            Ok(()) if !source.all_branches || source.depth.is_some() => Ok(()),
            Ok(()) => self.fetch_specs(server, all_specs(), true, source, repository),
            // Some servers give out only what has a name: then all of that is fetched, and the commit should be in it.
            Err(error @ GitError::Protocol { .. }) if by_id => {
                let everything = GitSource { depth: None, ..source.clone() };
                let fetched = self.fetch_specs(server, all_specs(), true, &everything, repository);
                match fetched {
                    Ok(()) if repository.has_object(resolved.object) => Ok(()),
                    Ok(()) => Err(GitError::UnknownReference {
                        url: server.url.to_string(),
                        reference: resolved.object.to_string(),
                        guess: String::new(),
                    }),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn fetch_specs(
        &self,
        server: Server<'_>,
        specs: Vec<String>,
        with_tags: bool,
        source: &GitSource,
        repository: &gix::Repository,
    ) -> Result<(), GitError> {
        let connected = self.connect(server)?;
        let problem = connected.problem.clone();
        let run = || -> gix::Result<()> {
            let tags = if with_tags { Tags::Included } else { Tags::None };
            let remote = repository.remote_at(url_of(server.url)?)?.with_fetch_tags(tags);
            let specs = specs.into_iter().map(BString::from);
            let remote = remote.with_refspecs(specs, gix::remote::Direction::Fetch)?;
            let connection =
                remote.to_connection_with_transport(connected.transport).with_credentials(|_| Ok(None));
            let prepared = connection.prepare_fetch(Discard, gix::remote::ref_map::Options::default())?;
            let shallow = source.depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
            prepared.with_shallow(shallow).receive(Discard, self.stop)?;
            Ok(())
        };
        run().map_err(|error| self.cause(problem.take(), protocol("fetch", server.url, &error)))
    }

    fn connect(&self, server: Server<'_>) -> Result<Connected, GitError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(GitError::Cancelled);
        }
        let Self { registries, access, asker, received, .. } = self;
        connect(&Connecting { server, registries, access, asker: *asker, received })
    }

    /// What is said of a failure: what the transport met, if it met something.
    fn cause(&self, met: Option<GitError>, error: GitError) -> GitError {
        if self.stop.load(Ordering::Relaxed) { GitError::Cancelled } else { met.unwrap_or(error) }
    }
}

impl Resolved {
    /// Compares with the commit id that was announced, or its beginning.
    pub(super) fn check(&self, expected: &str, source: &GitSource) -> Result<(), GitError> {
        let (commit, object) = (self.commit.to_string(), self.object.to_string());
        if commit.starts_with(expected) || object.starts_with(expected) {
            return Ok(());
        }
        Err(GitError::Checksum { url: source.to_string(), expected: expected.to_owned(), actual: commit })
    }
}

/// Makes an empty repository with its `.git`, which reads no configuration but its own.
pub(super) fn init(directory: &Path) -> gix::Result<gix::Repository> {
    let options = gix::open::Options::isolated().config_overrides([
        "core.autocrlf=false",
        "core.symlinks=true",
        "protocol.version=2",
        // Nobody reads a log of references here, which would name whoever moved them.
        "core.logAllRefUpdates=false",
        "user.name=cooper",
        "user.email=cooper@localhost",
    ]);
    let kind = gix::create::Kind::WithWorktree;
    gix::ThreadSafeRepository::init_opts(directory, kind, gix::create::Options::default(), options)
        .map(|repository| repository.to_thread_local())
}

pub(super) fn protocol(action: &'static str, url: &GitUrl, error: &gix::Error) -> GitError {
    GitError::Protocol { action, url: url.to_string(), reason: reason(error) }
}

/// An error of the library and its causes, in one line. Its own way of showing them takes several.
pub(super) fn reason(error: &gix::Error) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut said: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(first), |cause| cause.source()) {
        let text = cause.to_string();
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        if !line.is_empty() && !said.contains(&line) {
            said.push(line);
        }
    }
    said.join(": ")
}

/// The URL as the library wants it. It is only shown: connections are made by [`connect`].
fn url_of(url: &GitUrl) -> gix::Result<gix::Url> {
    gix::url::parse(url.to_string().as_bytes())
}

/// Where a reference of the server is kept: as `git clone` keeps it.
pub(super) fn local_name(name: &str) -> String {
    match name.strip_prefix("refs/heads/") {
        Some(branch) => format!("refs/remotes/origin/{branch}"),
        None if name.starts_with("refs/tags/") => name.to_owned(),
        None => "refs/cooper/wanted".to_owned(),
    }
}

fn all_specs() -> Vec<String> {
    vec!["+refs/heads/*:refs/remotes/origin/*".to_owned(), "+refs/tags/*:refs/tags/*".to_owned()]
}

/// Whether a name can be one: patterns and operators of git's languages are none.
fn is_plain_name(name: &str) -> bool {
    !name.starts_with('-')
        && !name.bytes().any(|byte| byte.is_ascii_control() || b" *?[\\^~:+".contains(&byte))
        && !name.contains("..")
        && !name.contains("@{")
}
