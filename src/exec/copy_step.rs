//! Carrying out a COPY or ADD: which files, under which key, into which layer.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::contents::Contents;
use super::copy::{self, Archive, Arrangement, CopyError, CopyRules, Selected};
use super::definition::copy_flags;
use super::error::StepError;
use super::git_source::{CheckedOut, GitFiles, GitSourceError};
use super::layers::ImageLayer;
use super::left_out;
use super::result::FileSystem;
use super::solve::{Solver, Work, input};
use super::writing::NewLayer;
use crate::context::Context;
use crate::context::ignore::Ignore;
use crate::dockerfile::Span;
use crate::git::GitError;
use crate::graph::{CopyInput, CopyStep, Files, KeyWriter, StepId};
use crate::layer::{DiffId, Digest, Metadata, TarWriter};
use crate::rootfs::{Content, ContentSource, Leaf, LeafKind, Node, Owner, Tree, walk_into};

/// What the sources of a COPY, or a mount's, turned out to be.
#[derive(Debug, Default)]
pub(super) struct Selection {
    sources: Vec<Source>,
    pub(super) context: Option<Arc<Context>>,
    context_name: Option<String>,
    pub(super) layers: HashMap<DiffId, ImageLayer>,
}

/// One source and the files it stands for.
#[derive(Debug)]
struct Source {
    /// Where it is written; here-documents have no place of their own.
    span: Option<Span>,
    files: Vec<Selected>,
    /// Whether files that are archives are unpacked.
    unpack: bool,
    /// The repository whose files are meant instead.
    git: Option<GitFiles>,
}

impl Solver {
    pub(super) fn copy(
        &self,
        work: Work<'_>,
        copy: &CopyStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Arc<FileSystem>, StepError> {
        let below = input(inputs, copy.parent);
        let selection = self.select(copy, inputs)?;
        let key = self.copy_key(copy, below, &selection)?;
        self.layer_on(work, below, key, |below, _| self.make_copy(copy, below, &selection))
    }

    /// Makes the layer of a COPY or ADD.
    fn make_copy(
        &self,
        copy: &CopyStep,
        below: &Arc<FileSystem>,
        selection: &Selection,
    ) -> Result<ImageLayer, StepError> {
        let base = if copy.link && copy.owner.is_none() {
            Tree::empty()
        } else {
            below.tree(&self.settings().layers)?
        };
        let rules = self.rules(copy, &base)?;
        let over = if copy.link { Tree::empty() } else { base };
        let mut arrangement = Arrangement::new(&over);
        let checked_out: Vec<Option<CheckedOut>> =
            selection.sources.iter().map(|source| self.files_of_git(source)).collect::<Result<_, _>>()?;
        let files = |(source, git): (&'_ Source, &'_ Option<CheckedOut>)| {
            git.as_ref().map_or(source.files.len(), |git| git.files.len())
        };
        let several = selection.sources.iter().zip(&checked_out).map(files).sum::<usize>() > 1;
        if several && !rules.into_directory {
            arrangement
                .require_directory(&rules.destination)
                .map_err(|source| StepError::Copy { source, span: None })?;
        }
        let mut archives = HashMap::new();
        for (source, git) in selection.sources.iter().zip(&checked_out) {
            let at = |error| StepError::Copy { source: error, span: source.span };
            for selected in git.as_ref().map_or(&source.files, |git| &git.files) {
                let archive =
                    if source.unpack { self.open_archive(selected, selection, source.span)? } else { None };
                match archive {
                    Some(archive) => {
                        arrangement.unpack(&archive, &rules).map_err(at)?;
                        archives.insert(archive.digest, archive.tar);
                    }
                    None => {
                        copy::arrange(&mut arrangement, std::slice::from_ref(selected), &rules)
                            .map_err(at)?;
                    }
                }
            }
        }
        let mut placed = arrangement.finish();
        if let Some(epoch) = self.settings().clock.epoch {
            for placed in &mut placed {
                placed.entry.metadata.mtime = placed.entry.metadata.mtime.min(epoch);
            }
        }
        let contents = Contents {
            context: selection.context.as_deref().map(|context| self.digests().files(context)),
            layers: &self.settings().layers,
            sources: selection.layers.clone(),
            archives,
        };
        self.write(&placed, &contents)
    }

    /// The files of a source that is a repository.
    fn files_of_git(&self, source: &Source) -> Result<Option<CheckedOut>, StepError> {
        let Some(git) = &source.git else { return Ok(None) };
        let failed = |error| git_failed(error, source.span.unwrap_or_default());
        self.check_out(git).map(Some).map_err(failed)
    }

    /// The archive that a selected file is, if it is one.
    fn open_archive(
        &self,
        selected: &Selected,
        selection: &Selection,
        span: Option<Span>,
    ) -> Result<Option<Archive>, StepError> {
        let Some(content) = selected.node.as_file() else { return Ok(None) };
        let file = match &content.source {
            ContentSource::Context(path) => self.context(selection.context_name.as_ref())?.open(path)?,
            ContentSource::Blob(digest) => self.settings().layers.store().open_blob(*digest)?,
            ContentSource::Inline(_) | ContentSource::Layer { .. } | ContentSource::Directory { .. } => {
                return Ok(None);
            }
        };
        Archive::open(file, self.settings().layers.store().scratch())
            .map_err(|source| StepError::Archive { source, span })
    }

    fn rules(&self, copy: &CopyStep, base: &Tree) -> Result<CopyRules, StepError> {
        let owner = copy.owner.as_ref().map(|owner| {
            Owner::parse(&owner.value, base)
                .map_err(|source| StepError::Owner { source, span: Some(owner.span) })
        });
        Ok(CopyRules {
            destination: copy.destination.clone(),
            into_directory: copy.into_directory,
            owner: owner.transpose()?,
            mode: copy.mode.clone(),
            parents: copy.parents,
            exclude: exclusions(copy)?,
            now: self.settings().clock.now.epoch_seconds(),
        })
    }

    /// Finds the files that a COPY means.
    fn select(
        &self,
        copy: &CopyStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Selection, StepError> {
        let mut selection = Selection::default();
        for source in &copy.sources {
            match source {
                CopyInput::Inline { name, text } => {
                    let content = Content {
                        size: text.len() as u64,
                        source: ContentSource::Inline(Arc::clone(text)),
                        text: None,
                    };
                    let metadata = Metadata {
                        mtime: self.settings().clock.now.epoch_seconds(),
                        ..Metadata::with_mode(0o644)
                    };
                    let leaf = Leaf { metadata, kind: LeafKind::File(content) };
                    let selected = Selected::file(name, Node::Leaf(Arc::new(leaf)));
                    selection.sources.push(Source {
                        span: None,
                        files: vec![selected],
                        unpack: false,
                        git: None,
                    });
                }
                CopyInput::Files { from, pattern } => {
                    let tree = self.source_tree(from, inputs, &mut selection)?;
                    let files =
                        copy::select(&tree, &pattern.value, copy.parents).map_err(|source| {
                            match (&source, from) {
                                (CopyError::NotFound { path, .. }, Files::Context(_))
                                    if selection.context.as_ref().is_some_and(|found| found.hides(path)) =>
                                {
                                    StepError::Ignored { path: path.clone(), span: pattern.span }
                                }
                                _ => StepError::Copy { source, span: Some(pattern.span) },
                            }
                        })?;
                    selection.sources.push(Source {
                        span: Some(pattern.span),
                        files,
                        unpack: copy.unpack_local,
                        git: None,
                    });
                }
                CopyInput::Remote { url, checksum, unpack } => {
                    let downloaded = self
                        .download(&url.value, *checksum)
                        .map_err(|source| StepError::Download { source, span: url.span })?;
                    let files = vec![downloaded.into_selected()];
                    selection.sources.push(Source {
                        span: Some(url.span),
                        files,
                        unpack: *unpack,
                        git: None,
                    });
                }
                CopyInput::Git(git) => {
                    let files =
                        self.resolve_git(&git.value).map_err(|source| git_failed(source, git.span))?;
                    let (span, git) = (Some(git.span), Some(files));
                    selection.sources.push(Source { span, files: Vec::new(), unpack: false, git });
                }
            }
        }
        Ok(selection)
    }

    /// The tree of some files; where its contents are is noted in `selection`.
    pub(super) fn source_tree(
        &self,
        from: &Files,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
        selection: &mut Selection,
    ) -> Result<Tree, StepError> {
        match from {
            Files::Context(name) => {
                let context = self.context(name.as_ref())?;
                selection.context = Some(Arc::clone(context));
                selection.context_name.clone_from(name);
                Ok(context.tree().clone())
            }
            Files::Step(id) => {
                let files = input(inputs, *id);
                let layers = files.layers().into_iter();
                selection.layers.extend(layers.map(|layer| (layer.layer.diff_id, layer)));
                files.tree(&self.settings().layers)
            }
        }
    }

    fn context(&self, name: Option<&String>) -> Result<&Arc<Context>, StepError> {
        let found = self.settings().contexts.get(&name.cloned());
        found.ok_or_else(|| StepError::NoContext { name: name.cloned().unwrap_or_default() })
    }

    /// The key of a COPY by what its inputs came to.
    pub(super) fn copy_key(
        &self,
        copy: &CopyStep,
        below: &Arc<FileSystem>,
        selection: &Selection,
    ) -> Result<Digest, StepError> {
        let mut key = KeyWriter::new("copy by results");
        key.optional(copy.depends_on_parent().then(|| *below.identity().as_bytes()));
        key.digest(copy_flags(copy)).digest(self.form());
        for source in &selection.sources {
            if let Some(git) = &source.git {
                git.write_to(&mut key);
                continue;
            }
            key.number(u64::from(source.unpack)).number(source.files.len() as u64);
            for file in &source.files {
                file.write_names(&mut key);
                self.write_all(&mut key, &file.node, selection)?;
            }
        }
        Ok(key.finish())
    }

    /// Adds what a node and everything in it is, but for times.
    pub(super) fn write_all(
        &self,
        key: &mut KeyWriter,
        node: &Node,
        selection: &Selection,
    ) -> Result<(), StepError> {
        self.write_node(key, node, selection)?;
        let Node::Directory(directory) = node else { return Ok(()) };
        let mut inside = Vec::new();
        walk_into(directory, Path::new(""), &mut inside);
        key.number(inside.len() as u64);
        for (path, node) in &inside {
            key.field(path.as_os_str().as_encoded_bytes());
            self.write_node(key, node, selection)?;
        }
        Ok(())
    }

    /// Adds what a node is, but for its times.
    pub(super) fn write_node(
        &self,
        key: &mut KeyWriter,
        node: &Node,
        selection: &Selection,
    ) -> Result<(), StepError> {
        write_metadata(key, node.metadata());
        let Node::Leaf(leaf) = node else {
            key.field("directory");
            return Ok(());
        };
        match &leaf.kind {
            LeafKind::Symlink(target) => {
                key.field("link").field(target.as_os_str().as_encoded_bytes());
            }
            LeafKind::CharDevice(device) => {
                key.field("char").number(device.major.into()).number(device.minor.into());
            }
            LeafKind::BlockDevice(device) => {
                key.field("block").number(device.major.into()).number(device.minor.into());
            }
            LeafKind::Fifo => {
                key.field("fifo");
            }
            LeafKind::File(content) => {
                key.number(content.size);
                let digest = match &content.source {
                    ContentSource::Inline(bytes) => Digest::of(bytes),
                    ContentSource::Layer { diff_id, offset } => {
                        let known = self.settings().layers.content_digest(*diff_id, *offset);
                        let Some(digest) = known else {
                            // A file of a base image: the same as long as that is the same.
                            key.field("member").digest(diff_id.0).number(*offset);
                            return Ok(());
                        };
                        digest
                    }
                    ContentSource::Context(path) => self.digest_of(path, selection)?,
                    ContentSource::Blob(digest) => *digest,
                    // Where such files are is found by a commit, and their key is that commit.
                    ContentSource::Directory { path, .. } => {
                        key.field("directory").field(path.as_os_str().as_encoded_bytes());
                        return Ok(());
                    }
                };
                key.field("file").digest(digest);
            }
        }
        Ok(())
    }

    /// The digest of a file of the context.
    fn digest_of(&self, path: &Path, selection: &Selection) -> Result<Digest, StepError> {
        let context = self.context(selection.context_name.as_ref())?;
        Ok(self.digests().digest(context, path)?)
    }

    /// Writes a layer.
    pub(super) fn write(
        &self,
        placed: &[copy::Placed],
        contents: &Contents<'_>,
    ) -> Result<ImageLayer, StepError> {
        let _span = tracing::info_span!("write layer").entered();
        let mut tar = TarWriter::new(NewLayer::begin(&self.settings().layers)?);
        let ignored = &self.settings().ignored_paths;
        if ignored.is_empty() {
            contents.write(placed, &mut tar)?;
        } else {
            contents.write(&left_out::kept(placed, ignored), &mut tar)?;
        }
        tar.finish()?.finish()
    }
}

fn git_failed(source: GitSourceError, span: Span) -> StepError {
    if matches!(source, GitSourceError::Git(GitError::Cancelled)) {
        return StepError::Cancelled;
    }
    StepError::Git { source: Box::new(source), span }
}

/// The patterns of `--exclude`; as with BuildKit, one that begins with `/` matches nothing.
fn exclusions(copy: &CopyStep) -> Result<Ignore, StepError> {
    let mut patterns = Vec::new();
    for pattern in copy.exclude.iter().filter(|pattern| !pattern.value.starts_with('/')) {
        Ignore::parse(&pattern.value).map_err(|error| StepError::Pattern {
            pattern: pattern.value.clone(),
            reason: error.to_string(),
            span: pattern.span,
        })?;
        patterns.push(pattern.value.as_str());
    }
    let text = patterns.join("\n");
    let span = copy.exclude.first().map(|pattern| pattern.span).unwrap_or_default();
    Ignore::parse(&text).map_err(|error| StepError::Pattern {
        pattern: text,
        reason: error.to_string(),
        span,
    })
}

impl CopyStep {
    /// Whether the layer depends on what is below: with `--link` only the names of owners do.
    pub(super) fn depends_on_parent(&self) -> bool {
        !self.link || self.owner.is_some()
    }
}

impl Selected {
    /// Adds where the files are, and what is made again of the directories above them.
    pub(super) fn write_names(&self, key: &mut KeyWriter) {
        key.field(self.path.as_os_str().as_encoded_bytes()).number(u64::from(self.is_pivot));
        key.number(self.parents.len() as u64);
        for (name, metadata) in &self.parents {
            key.field(name.as_encoded_bytes());
            write_metadata(key, metadata);
        }
    }
}

fn write_metadata(key: &mut KeyWriter, metadata: &Metadata) {
    key.number(metadata.mode.into()).number(metadata.uid.into()).number(metadata.gid.into());
    key.optional(metadata.xattrs.get("security.capability"));
}
