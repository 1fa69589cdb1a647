//! Checking out a commit: its files, and its submodules'.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::Ordering;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice as _};
use gix::index::entry::Mode;
use gix::progress::Discard;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use walkdir::WalkDir;

use super::GitError;
use super::remote::{Repositories, Resolved, Server, init, protocol, reason};
use crate::context::source::{CheckoutTimes, GitSource, GitUrl, Login};

/// How deep submodules may have submodules.
const MAX_DEPTH: usize = 10;

/// How many submodules a repository may have.
const MAX_SUBMODULES: usize = 1000;

/// The largest `.gitmodules`, in bytes.
const MAX_MODULES_FILE: usize = 1 << 20;

/// The most bytes that the files of a commit may have: what an archive may hold, too.
const MAX_CHECKED_OUT: u64 = 64 << 30;

/// A submodule, as the commit and its `.gitmodules` have it.
#[derive(Debug)]
struct Submodule {
    path: BString,
    url: String,
    commit: ObjectId,
}

impl Repositories<'_> {
    /// Checks out what `source` means into `directory`, which is empty; `resolved` is what it was found to mean. The
    /// whole repository is checked out, whichever directory of it is wanted.
    pub(crate) fn check_out(
        &self,
        source: &GitSource,
        resolved: Option<&Resolved>,
        directory: &Path,
    ) -> Result<Resolved, GitError> {
        let resolved = match resolved {
            Some(resolved) => resolved.clone(),
            None => self.resolve(source)?,
        };
        let server = Server { url: &source.url, login: source.login.as_ref(), is_asked_for: true };
        let resolved = self.check_out_at(server, source, &resolved, directory, 0)?;
        self.received.complete();
        Ok(resolved)
    }

    fn check_out_at(
        &self,
        server: Server<'_>,
        source: &GitSource,
        resolved: &Resolved,
        directory: &Path,
        depth: usize,
    ) -> Result<Resolved, GitError> {
        let damaged = |error: gix::Error| protocol("check out", server.url, &error);
        let repository = init(directory).map_err(damaged)?;
        self.fetch(server, source, resolved, &repository)?;
        let commit = match repository.find_object(resolved.object).map_err(damaged)?.peel_to_commit() {
            Ok(commit) => commit,
            Err(error) if repository.has_object(resolved.object) => return Err(damaged(error)),
            Err(_) => {
                let reference = resolved.name.clone().unwrap_or_else(|| resolved.object.to_string());
                return Err(GitError::Moved { url: server.url.to_string(), reference });
            }
        };
        let resolved = Resolved { commit: commit.id, ..resolved.clone() };
        if let (Some(expected), 0) = (&source.checksum, depth) {
            resolved.check(expected, source)?;
        }
        let seconds = commit.time().map_err(damaged)?.seconds;
        let submodules = self.write_files(server, source, &commit, directory)?;
        if source.submodules {
            for submodule in submodules {
                self.check_out_submodule(server, source, &submodule, directory, depth + 1).map_err(
                    |error| {
                        let path = submodule.path.to_string();
                        GitError::InSubmodule { path, source: Box::new(error) }
                    },
                )?;
            }
        }
        let git_dir = directory.join(".git");
        let failed = |source| GitError::Write { path: PathBuf::from(".git"), source };
        if source.keep_git_dir == Some(true) {
            describe(&git_dir, server.url, &resolved).map_err(failed)?;
        } else {
            std::fs::remove_dir_all(&git_dir).map_err(failed)?;
        }
        if depth == 0 {
            settle(directory, (source.times == CheckoutTimes::Commit).then_some(seconds))?;
        }
        Ok(resolved)
    }

    /// Writes the files of a commit, and tells its submodules.
    fn write_files(
        &self,
        server: Server<'_>,
        source: &GitSource,
        commit: &gix::Commit<'_>,
        directory: &Path,
    ) -> Result<Vec<Submodule>, GitError> {
        let damaged = |error: gix::Error| protocol("check out", server.url, &error);
        let repository = commit.repo;
        let tree = commit.tree_id().map_err(damaged)?;
        let mut index = repository.index_from_tree(&tree).map_err(damaged)?;
        // One directory is the repository's own; the library refuses it as well.
        let entries = index.entries();
        if let Some(bad) = entries.iter().map(|entry| entry.path(&index)).find(|path| !is_inside(path)) {
            return Err(GitError::Path { url: server.url.to_string(), path: bad.to_string() });
        }
        let sizes = entries.iter().filter(|entry| entry.mode != Mode::COMMIT);
        let sizes = sizes.map(|entry| repository.find_header(entry.id).map(|header| header.size()));
        if exceeds(MAX_CHECKED_OUT, sizes).map_err(damaged)? {
            let limit = MAX_CHECKED_OUT;
            return Err(GitError::TooLarge { url: server.url.to_string(), what: "holds", limit });
        }
        let submodules =
            if source.submodules { submodules(server.url, repository, &index)? } else { Vec::new() };
        let mut options = repository
            .checkout_options(gix::worktree::stack::state::attributes::Source::IdMapping)
            .map_err(damaged)?;
        options.destination_is_initially_empty = true;
        let objects = repository
            .objects
            .clone()
            .into_arc()
            .map_err(|source| GitError::Write { path: PathBuf::from(".git/objects"), source })?;
        let outcome = gix::worktree::state::checkout(
            &mut index, directory, objects, &Discard, &Discard, self.stop, options,
        )
        .map_err(damaged)?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(GitError::Cancelled);
        }
        if let Some(collision) = outcome.collisions.first() {
            let source = io::Error::from(collision.error_kind);
            return Err(GitError::Write { path: collision.path.to_string().into(), source });
        }
        if let Some(record) = outcome.errors.first() {
            let reason = format!("{}: {}", record.path, reason(&record.error));
            return Err(GitError::Protocol { action: "check out", url: server.url.to_string(), reason });
        }
        if source.keep_git_dir == Some(true) {
            index.write(gix::index::write::Options::default()).map_err(damaged)?;
        }
        Ok(submodules)
    }

    fn check_out_submodule(
        &self,
        parent: Server<'_>,
        source: &GitSource,
        submodule: &Submodule,
        directory: &Path,
        depth: usize,
    ) -> Result<(), GitError> {
        let wrong = |reason: &str| GitError::Submodule {
            url: parent.url.to_string(),
            path: submodule.path.to_string(),
            reason: reason.to_owned(),
        };
        if depth > MAX_DEPTH {
            return Err(wrong("submodules are nested too deeply"));
        }
        let (url, login) = resolve_url(parent.url, &submodule.url)
            .ok_or_else(|| wrong("its address in `.gitmodules` is none that can be fetched from"))?;
        let is_same_server =
            (url.scheme, &url.host, url.port) == (parent.url.scheme, &parent.url.host, parent.url.port);
        let server = Server {
            url: &url,
            login: login.as_ref().or(parent.login.filter(|_| is_same_server)),
            is_asked_for: parent.is_asked_for && is_same_server,
        };
        let place = directory.join(OsStr::from_bytes(&submodule.path));
        make_directories(directory, &place)?;
        let resolved = Resolved { object: submodule.commit, commit: submodule.commit, name: None };
        self.check_out_at(server, source, &resolved, &place, depth).map(|_| ())
    }
}

/// The submodules in an index, with their addresses from `.gitmodules`.
fn submodules(
    url: &GitUrl,
    repository: &gix::Repository,
    index: &gix::index::File,
) -> Result<Vec<Submodule>, GitError> {
    let damaged = |error: gix::Error| protocol("read the submodules of", url, &error);
    let links: Vec<_> = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT).collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |path: &BStr, reason: &str| GitError::Submodule {
        url: url.to_string(),
        path: path.to_string(),
        reason: reason.to_owned(),
    };
    if links.len() > MAX_SUBMODULES {
        return Err(wrong(links[0].path(index), "there are too many submodules"));
    }
    // A link of that name is nobody's `.gitmodules`: it could point anywhere.
    let file = index.entry_by_path(".gitmodules".into()).filter(|entry| entry.mode.is_submodule().eq(&false));
    let file = file.filter(|entry| entry.mode == Mode::FILE || entry.mode == Mode::FILE_EXECUTABLE);
    let Some(file) = file else {
        // Git itself says nothing about links without a `.gitmodules` either: there is nothing to fetch.
        return Ok(Vec::new());
    };
    let blob = repository.find_object(file.id).map_err(damaged)?;
    if blob.data.len() > MAX_MODULES_FILE {
        return Err(wrong(".gitmodules".into(), "the file is too large"));
    }
    let config = gix::config::File::from_bytes_no_includes(
        &blob.data,
        gix::config::file::Metadata::default(),
        gix::config::file::init::Options::default(),
    )
    .map_err(|error| wrong(".gitmodules".into(), &error.to_string()))?;
    let mut found = Vec::new();
    for link in links {
        let path = link.path(index);
        let section = config
            .sections_by_name("submodule")
            .into_iter()
            .flatten()
            .find(|section| section.value("path").is_some_and(|value| value.as_bstr() == path));
        let Some(address) = section.and_then(|section| section.value("url")) else { continue };
        found.push(Submodule { path: path.to_owned(), url: address.to_string(), commit: link.id });
    }
    Ok(found)
}

/// The address of a submodule, which may be relative to its parent's.
fn resolve_url(parent: &GitUrl, address: &str) -> Option<(GitUrl, Option<Login>)> {
    if !address.starts_with("./") && !address.starts_with("../") {
        return GitUrl::parse(address).ok();
    }
    let mut path: Vec<&str> = parent.path.trim_end_matches('/').split('/').collect();
    for part in address.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    let path = path.join("/");
    let is_absolute = parent.path.starts_with('/');
    let sound = !path.trim_matches('/').is_empty() && path.starts_with('/') == is_absolute;
    sound.then(|| (GitUrl { path, ..parent.clone() }, None))
}

/// Whether an index's path stays inside, and out of `.git`.
fn is_inside(path: &BStr) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    path.components().all(|component| match component {
        Component::Normal(name) => !name.as_bytes().eq_ignore_ascii_case(b".git"),
        _ => false,
    }) && !path.as_os_str().is_empty()
}

/// Whether these come to more than `limit`. What follows is not looked at then.
fn exceeds<E>(limit: u64, sizes: impl IntoIterator<Item = Result<u64, E>>) -> Result<bool, E> {
    let mut sum: u64 = 0;
    for size in sizes {
        sum = sum.saturating_add(size?);
        if sum > limit {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the directories from `root` to `place`; none of them may be a link.
fn make_directories(root: &Path, place: &Path) -> Result<(), GitError> {
    let failed = |source| GitError::Write { path: place.to_owned(), source };
    let mut at = root.to_owned();
    for component in place.strip_prefix(root).unwrap_or(place).components() {
        at.push(component);
        match std::fs::create_dir(&at) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = std::fs::symlink_metadata(&at).map_err(failed)?;
                if !found.is_dir() {
                    return Err(failed(io::ErrorKind::NotADirectory.into()));
                }
            }
            result => result.map_err(failed)?,
        }
    }
    Ok(())
}

/// Writes into a kept `.git` where it is from and what is checked out.
fn describe(git_dir: &Path, url: &GitUrl, resolved: &Resolved) -> io::Result<()> {
    use io::Write as _;
    let commit = resolved.commit;
    let branch = resolved.name.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
    let head = match branch {
        Some(branch) => {
            let path = git_dir.join("refs/heads").join(branch);
            std::fs::create_dir_all(path.parent().unwrap_or(git_dir))?;
            std::fs::write(path, format!("{commit}\n"))?;
            format!("ref: refs/heads/{branch}\n")
        }
        None => format!("{commit}\n"),
    };
    std::fs::write(git_dir.join("HEAD"), head)?;
    let url = url.to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let text =
        format!("[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
    std::fs::OpenOptions::new().append(true).open(git_dir.join("config"))?.write_all(text.as_bytes())
}

/// Gives files the modes that git knows, whatever the umask, and times if they are to have some.
fn settle(directory: &Path, seconds: Option<i64>) -> Result<(), GitError> {
    for entry in WalkDir::new(directory).min_depth(1).contents_first(true) {
        let failed = |path: &Path, source: io::Error| {
            let path = path.strip_prefix(directory).unwrap_or(path).to_owned();
            GitError::Write { path, source }
        };
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(directory).to_owned();
            failed(&path, error.into())
        })?;
        let path = entry.path();
        let kind = entry.file_type();
        if !kind.is_symlink() {
            let metadata = entry.metadata().map_err(|error| failed(path, error.into()))?;
            let is_program = kind.is_dir() || metadata.permissions().mode() & 0o100 != 0;
            let mode = if is_program { 0o755 } else { 0o644 };
            if metadata.permissions().mode() & 0o7777 != mode {
                std::fs::set_permissions(path, Permissions::from_mode(mode))
                    .map_err(|source| failed(path, source))?;
            }
        }
        if let Some(seconds) = seconds {
            let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(path, error.into()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::source::GitScheme;

    #[test]
    fn submodules_near_their_parent() {
        let parent = GitUrl::parse("https://h:8443/group/project.git").unwrap().0;
        for (address, expected) in [
            ("../other.git", Some("https://h:8443/group/other.git")),
            ("../../x/y", Some("https://h:8443/x/y")),
            ("./sub", Some("https://h:8443/group/project.git/sub")),
            ("git@g:a/b", Some("git@g:a/b")),
            ("https://g/a", Some("https://g/a")),
            ("../../../../x", None),
            ("/etc", None),
            ("file:///etc", None),
            ("-upload-pack=x", None),
            ("ext::sh -c x", None),
        ] {
            let found = resolve_url(&parent, address).map(|(url, _)| url.to_string());
            assert_eq!(found.as_deref(), expected, "{address}");
        }
        let parent = GitUrl::parse("git@h:group/project").unwrap().0;
        assert_eq!(parent.scheme, GitScheme::Ssh);
        assert_eq!(resolve_url(&parent, "../other").unwrap().0.to_string(), "git@h:group/other");
    }

    #[test]
    fn sizes_are_limited() {
        let sizes = |sizes: &[u64]| exceeds::<()>(10, sizes.iter().copied().map(Ok)).unwrap();
        assert!(!sizes(&[]) && !sizes(&[4, 6]));
        assert!(sizes(&[4, 7]) && sizes(&[u64::MAX, u64::MAX]));
        assert!(exceeds(10, [Err("damaged")]).is_err());
    }

    #[test]
    fn paths_that_lead_out() {
        for (path, inside) in [
            ("a/b", true),
            (".gitmodules", true),
            ("a/.git/config", false),
            (".GIT/x", false),
            ("../a", false),
            ("/a", false),
            ("", false),
        ] {
            assert_eq!(is_inside(path.into()), inside, "{path}");
        }
    }
}
