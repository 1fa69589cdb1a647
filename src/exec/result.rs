//! What a step yields: a file system, as layers and as a tree.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::StepError;
use super::layers::{ImageLayer, Layers};
use crate::image::{Layer, Time};
use crate::layer::{DiffId, Digest};
use crate::rootfs::Tree;

/// What the store keeps of a step that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The layer it made.
    pub layer: Layer,
    /// When.
    pub created: Time,
}

/// The file system after a step.
#[derive(Debug)]
pub struct FileSystem {
    key: Digest,
    below: Option<Arc<FileSystem>>,
    own: Vec<ImageLayer>,
    created: Option<Time>,
    tree: Mutex<Option<Tree>>,
}

impl FileSystem {
    /// An image's, or nothing at all.
    pub(super) fn base(key: Digest, layers: Vec<ImageLayer>) -> Self {
        Self { key, below: None, own: layers, created: None, tree: Mutex::default() }
    }

    /// The one `below` with a layer on top.
    pub(super) fn on_top(below: Arc<Self>, key: Digest, layer: ImageLayer, created: Time) -> Self {
        Self { key, below: Some(below), own: vec![layer], created: Some(created), tree: Mutex::default() }
    }

    /// The key of the step that yields it.
    pub fn key(&self) -> Digest {
        self.key
    }

    /// When its topmost layer was made, if a build made it.
    pub fn created(&self) -> Option<Time> {
        self.created
    }

    /// The layers that its step added: one, or all those of a base.
    pub fn own_layers(&self) -> &[ImageLayer] {
        &self.own
    }

    /// All layers, lowest first.
    pub fn layers(&self) -> Vec<ImageLayer> {
        let mut layers = Vec::new();
        let mut at = Some(self);
        while let Some(here) = at {
            layers.extend(here.own.iter().rev().cloned());
            at = here.below.as_deref();
        }
        layers.reverse();
        layers
    }

    /// All that is in it. Blocks while layers are listed that were never seen before.
    pub fn tree(&self, layers: &Layers) -> Result<Tree, StepError> {
        let mut known = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*known {
            return Ok(tree.clone());
        }
        let mut tree = match &self.below {
            Some(below) => below.tree(layers)?,
            None => Tree::empty(),
        };
        for (layer, index) in self.own.iter().zip(indexes(&self.own, layers)?) {
            tree.apply(layer.layer.diff_id, &index.entries, |path: &Path| {
                index.texts.get(path).map(|text| Arc::from(text.as_slice()))
            })?;
        }
        Ok(known.insert(tree).clone())
    }
}

/// How many layers are listed at the same time.
const LISTED_AT_ONCE: usize = 4;

/// What each of the layers lists.
fn indexes(wanted: &[ImageLayer], layers: &Layers) -> Result<Vec<Arc<crate::layer::LayerIndex>>, StepError> {
    let mut found = Vec::with_capacity(wanted.len());
    for group in wanted.chunks(LISTED_AT_ONCE) {
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> =
                group.iter().map(|layer| scope.spawn(move || layers.index(layer))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for result in results {
            match result {
                Ok(index) => found.push(index?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
    Ok(found)
}

/// The names under which the layers are kept unpacked. See the OCI image specification, `config.md`, on chain ids.
pub(super) fn chain_ids(layers: &[ImageLayer]) -> Vec<Digest> {
    let mut chain: Option<Digest> = None;
    layers
        .iter()
        .map(|layer| {
            let DiffId(diff_id) = layer.layer.diff_id;
            let next = match chain {
                None => diff_id,
                Some(chain) => Digest::of(format!("{chain} {diff_id}")),
            };
            chain = Some(next);
            next
        })
        .collect()
}
