//! Files of a context, a stage or an image, as a mount shows them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::dockerfile::{BindMount, CacheMount, Mount};
use crate::exec::contents::Contents;
use crate::exec::context_digests::ContextFiles;
use crate::exec::copy;
use crate::exec::copy_step::Selection;
use crate::exec::error::StepError;
use crate::exec::result::FileSystem;
use crate::exec::sandbox::{Files as LaidOut, Sandbox};
use crate::exec::solve::{Solver, SolverSettings};
use crate::graph::{KeyWriter, RunMount, RunStep, StepId};
use crate::layer::{Digest, TarWriter};
use crate::rootfs::{Node, Tree};

/// The name of what a mount shows, in the directory where it is laid out.
pub(super) const NAME: &str = "shown";

/// What a bind shows, or what a new cache directory begins with.
#[derive(Debug)]
pub(in crate::exec) struct Shown {
    /// Stands for all of it, but for times.
    pub(in crate::exec) key: Digest,
    /// What it is.
    pub(super) node: Node,
    selection: Selection,
}

impl Solver {
    /// What the mounts of a RUN show, by their position. Nothing is unpacked yet.
    pub(in crate::exec) fn shown(
        &self,
        run: &RunStep,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Vec<Option<Shown>>, StepError> {
        run.mounts.iter().map(|mount| self.shown_by(mount, inputs)).collect()
    }

    pub(in crate::exec) fn shown_by(
        &self,
        mount: &RunMount,
        inputs: &BTreeMap<StepId, Arc<FileSystem>>,
    ) -> Result<Option<Shown>, StepError> {
        let (Some(from), Mount::Bind(BindMount { source, .. }) | Mount::Cache(CacheMount { source, .. })) =
            (&mount.from, &mount.mount)
        else {
            return Ok(None);
        };
        let mut selection = Selection::default();
        let tree = self.source_tree(from, inputs, &mut selection)?;
        let node = copy::select_literally(&tree, source)
            .map_err(|source| StepError::Copy { source, span: Some(mount.span) })?
            .node;
        let mut key = KeyWriter::new("shown");
        self.write_all(&mut key, &node, &selection)?;
        Ok(Some(Shown { key: key.finish(), node, selection }))
    }
}

/// Lays out what is shown, under [`NAME`].
pub(super) fn lay_out(
    node: &Node,
    shown: Option<&Shown>,
    sandbox: &Sandbox,
    settings: &SolverSettings,
) -> Result<LaidOut, StepError> {
    let selection = shown.map(|shown| &shown.selection);
    let contents = Contents {
        context: selection.and_then(|selection| selection.context.as_deref().map(ContextFiles::unread)),
        layers: &settings.layers,
        sources: selection.map(|selection| selection.layers.clone()).unwrap_or_default(),
        archives: HashMap::new(),
    };
    let mut tree = Tree::empty();
    tree.insert(Path::new(NAME), node.clone());
    let placed = copy::everything(&tree);
    let write = |pipe: &mut dyn Write| -> Result<(), StepError> {
        let mut tar = TarWriter::new(pipe);
        contents.write(&placed, &mut tar)?;
        tar.finish()?;
        Ok(())
    };
    let mut files = sandbox.lay_out(write, &settings.cancel)?;
    for warning in files.take_warnings() {
        settings.events.warn(warning.to_string());
    }
    Ok(files)
}
