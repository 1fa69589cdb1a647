//! From layers to an image: config, manifest, and an index for several platforms.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BuildError;
use crate::event::{Events, LayerNews};
use crate::exec::{Clock, FileSystem, ImageLayer};
use crate::graph::{Graph, HistoryItem, StepId};
use crate::image::{Descriptor, History, ImageFormat, Index, IndexEntry, Manifest, Platform, Time, history};
use crate::layer::Digest;
use crate::request::BuildRequest;
use crate::rootfs::Tree;

/// What the entries that this build adds to a history say of who made them.
const COMMENT: &str = "cooper";

/// The image of one platform.
#[derive(Debug, Clone)]
pub(super) struct BuiltImage {
    pub(super) layers: Vec<ImageLayer>,
    pub(super) config: Vec<u8>,
    pub(super) platform: Platform,
    pub(super) manifest: Manifest,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) file_system: Arc<FileSystem>,
    /// The manifest's layers with what made them.
    made_by: Vec<LayerNews>,
}

/// The image as a whole.
#[derive(Debug, Clone)]
pub(super) struct WholeImage {
    pub(super) platforms: Vec<BuiltImage>,
    /// The manifest, or the index over them.
    pub(super) descriptor: Descriptor,
    /// The index, if there are several platforms.
    pub(super) index: Option<Vec<u8>>,
}

impl BuiltImage {
    pub(super) fn config_digest(&self) -> Digest {
        self.manifest.config.digest
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        self.manifest.descriptor(&self.manifest_bytes)
    }

    /// Tells what it consists of.
    pub(super) fn tell(&self, events: &Events) {
        events.image(self.platform.to_string(), self.descriptor().digest, self.made_by.clone());
    }

    pub(super) fn tree(&self, layers: &crate::exec::Layers) -> Result<Tree, crate::exec::StepError> {
        self.file_system.tree(layers)
    }
}

/// What is decided of an image besides its contents.
#[derive(Debug)]
pub(super) struct Style<'a> {
    pub(super) format: ImageFormat,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) clock: Clock,
}

/// Makes config and manifest of what the steps of the chain yielded.
pub(super) fn assemble(
    graph: &Graph,
    chain: &[StepId],
    solved: &[Arc<FileSystem>],
    style: &Style<'_>,
) -> Result<BuiltImage, BuildError> {
    let Style { format, annotations, clock } = *style;
    let layers: Vec<ImageLayer> = solved.iter().flat_map(|step| step.own_layers().to_vec()).collect();
    let created: BTreeMap<StepId, Time> =
        chain.iter().zip(solved).filter_map(|(step, solved)| Some((*step, solved.created()?))).collect();
    let mut config = graph.config.clone();
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.layer.diff_id).collect();
    config.history = dated(&graph.history, &created, clock);
    // Layers that no entry stands for would shift the others' entries in every tool that shows them side by side.
    let named = config.history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in named..layers.len() {
        config.history.push(History { comment: history::EXPORTER_COMMENT.to_owned(), ..History::default() });
    }
    config.created = config.history.last().and_then(|entry| entry.created).or(Some(clock.now));
    let bytes = config.to_bytes()?;
    let descriptor = Descriptor::new(format.config_type(), Digest::of(&bytes), bytes.len() as u64);
    let manifest = {
        let layers = layers.iter().map(|layer| layer.layer.descriptor.clone()).collect();
        Manifest::build(format, descriptor, layers, annotations.clone())?
    };
    let manifest_bytes = manifest.to_bytes()?;
    let file_system = Arc::clone(&solved[solved.len() - 1]);
    let made_by = made_by(&manifest, &config.history, &graph.history);
    Ok(BuiltImage {
        layers,
        config: bytes,
        platform: config.platform(),
        manifest,
        manifest_bytes,
        file_system,
        made_by,
    })
}

/// Most characters of an instruction that are told.
const MAX_INSTRUCTION: usize = 300;

/// The layers with the entries of the history that stand for them; `items` is what the history was made from.
fn made_by(manifest: &Manifest, history: &[History], items: &[HistoryItem]) -> Vec<LayerNews> {
    let mut entries = history.iter().enumerate().filter(|(_, entry)| !entry.empty_layer);
    let layers = manifest.layers.iter().map(|layer| {
        let entry = entries.next();
        let created_by = entry.map(|(_, entry)| entry.created_by.chars().take(MAX_INSTRUCTION).collect());
        let is_base = entry.is_some_and(|(at, _)| matches!(items.get(at), Some(HistoryItem::Base(_))));
        LayerNews {
            digest: layer.digest,
            size: layer.size,
            created_by: created_by.unwrap_or_default(),
            is_base,
        }
    });
    layers.collect()
}

/// The image's config as far as the plan knows it: BuildKit's exporter puts the layers there.
pub(super) fn config_without_layers(graph: &Graph, clock: Clock) -> Result<Vec<u8>, BuildError> {
    let mut config = graph.config.clone();
    config.rootfs.diff_ids = Vec::new();
    config.history = dated(&graph.history, &BTreeMap::new(), clock);
    Ok(config.to_bytes()?)
}

/// The history with a time for every entry: a layer's is when it was made, metadata takes that of the first new layer
/// after it, or of the last one before it.
fn dated(items: &[HistoryItem], created: &BTreeMap<StepId, Time>, clock: Clock) -> Vec<History> {
    let mut entries: Vec<History> = items
        .iter()
        .map(|item| match item {
            HistoryItem::Base(entry) => entry.clone(),
            HistoryItem::Made { created_by, step } => History {
                created: step.and_then(|step| created.get(&step).copied()),
                created_by: created_by.clone(),
                comment: COMMENT.to_owned(),
                empty_layer: step.is_none(),
                ..History::default()
            },
        })
        .collect();
    let is_made = |position: usize| matches!(items[position], HistoryItem::Made { .. });
    let mut next = None;
    for position in (0..entries.len()).rev() {
        if !is_made(position) {
            break;
        }
        match entries[position].created {
            Some(time) => next = Some(time),
            None => entries[position].created = next,
        }
    }
    let fixed = clock.epoch.and_then(|epoch| Time::from_epoch(epoch).ok());
    let mut last = None;
    for (position, entry) in entries.iter_mut().enumerate() {
        if is_made(position) && entry.created.is_none() {
            entry.created = fixed.or(last).or(Some(clock.now));
        }
        last = entry.created.or(last);
    }
    entries
}

/// Puts the platforms' images under one descriptor.
pub(super) fn combine(
    platforms: Vec<BuiltImage>,
    wanted: &[Platform],
    request: &BuildRequest,
) -> Result<WholeImage, BuildError> {
    if let [image] = platforms.as_slice()
        && !request.wants_index()
    {
        let descriptor = image.descriptor();
        return Ok(WholeImage { platforms, descriptor, index: None });
    }
    let format = request.image_format.unwrap_or(ImageFormat::Oci);
    let entries = platforms
        .iter()
        .zip(wanted)
        .map(|(image, platform)| IndexEntry {
            descriptor: image.descriptor(),
            platform: Some(platform.clone()),
        })
        .collect();
    let index = Index::build(format, entries)?;
    let bytes = index.to_bytes()?;
    let descriptor = index.descriptor(&bytes);
    Ok(WholeImage { platforms, descriptor, index: Some(bytes) })
}
