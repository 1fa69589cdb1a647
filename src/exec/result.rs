//! What a step yields: a file system, as layers and as a tree.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::StepError;
use super::layers::{ImageLayer, Layers};
use crate::graph::KeyWriter;
use crate::image::Time;
use crate::layer::{DiffId, Digest};
use crate::rootfs::Tree;

/// The file system after a step.
#[derive(Debug)]
pub struct FileSystem {
    identity: Digest,
    below: Option<Arc<FileSystem>>,
    own: Vec<ImageLayer>,
    created: Option<Time>,
    tree: Mutex<Option<Tree>>,
}

impl FileSystem {
    /// An image's, or nothing at all.
    pub(super) fn base(layers: Vec<ImageLayer>) -> Self {
        let identity = layers.iter().fold(KeyWriter::new("nothing").finish(), with_layer);
        Self { identity, below: None, own: layers, created: None, tree: Mutex::default() }
    }

    /// The one `below` with a layer on top.
    pub(super) fn on_top(below: Arc<Self>, layer: ImageLayer, created: Time) -> Self {
        let identity = with_layer(below.identity, &layer);
        Self {
            identity,
            below: Some(below),
            own: vec![layer],
            created: Some(created),
            tree: Mutex::default(),
        }
    }

    /// Stands for everything that is in it: the same layers in the same order, however they came about.
    pub fn identity(&self) -> Digest {
        self.identity
    }

    /// When its topmost layer was made, if a build made it.
    pub fn created(&self) -> Option<Time> {
        self.created
    }

    /// The layers that its step added: one, or all those of a base.
    pub fn own_layers(&self) -> &[ImageLayer] {
        &self.own
    }

    /// This and everything below it, the base first.
    pub fn chain(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut chain = vec![Arc::clone(self)];
        let mut at = self;
        while let Some(below) = &at.below {
            chain.push(Arc::clone(below));
            at = below;
        }
        chain.reverse();
        chain
    }

    /// The layers above the base, lowest first, and when each was made.
    pub fn made(&self) -> Vec<(ImageLayer, Time)> {
        let mut made = Vec::new();
        let mut at = Some(self);
        while let Some(here) = at {
            if let Some(created) = here.created {
                made.extend(here.own.iter().map(|layer| (layer.clone(), created)));
            }
            at = here.below.as_deref();
        }
        made.reverse();
        made
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

fn with_layer(below: Digest, layer: &ImageLayer) -> Digest {
    let mut key = KeyWriter::new("layer on top");
    key.digest(below).digest(layer.layer.diff_id.0);
    key.finish()
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
