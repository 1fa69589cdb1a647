//! `cooper registry copy`: an image from anywhere to anywhere, with the same digest wherever that can be.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::error::CommandError;
use super::place::Place;
use super::source::{Contents, Source, blocking};
use super::{Connection, Verdict, bytes};
use crate::image::{ArchiveKind, Blob, BlobSource, Bundle, Descriptor, ImageRef, Layout, Platform, archive};
use crate::layer::Digest;
use crate::registry::{Registries, RemoteBlob, Repository, Uploaded};

/// Blobs under way at once. A registry's own limits hold besides.
const AT_ONCE: usize = 4;

/// What `cooper registry copy` takes.
#[derive(Debug, Args)]
pub(super) struct CopyArguments {
    /// The image to copy
    #[arg(value_name = "FROM")]
    from: Place,
    /// Where to
    #[arg(value_name = "TO")]
    to: Place,
    /// Copy this platform only; a Docker archive holds one, by default that of this machine
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    from: String,
    to: String,
    digest: String,
    /// Blobs that were there, that the registry took from another repository, and that were sent or written.
    already_there: usize,
    mounted: usize,
    copied: usize,
    /// Bytes of those that were sent or written.
    copied_size: u64,
}

impl Report {
    fn count(&mut self, uploaded: Uploaded, size: u64) {
        match uploaded {
            Uploaded::AlreadyThere => self.already_there += 1,
            Uploaded::Mounted => self.mounted += 1,
            Uploaded::Sent => {
                self.copied += 1;
                self.copied_size = self.copied_size.saturating_add(size);
            }
        }
    }
}

pub(super) async fn run(arguments: &CopyArguments) -> Result<Verdict, CommandError> {
    let CopyArguments { from, to, connection, .. } = arguments;
    let registries = connection.registries()?;
    let source = Source::open(from, &registries).await?;
    let is_single = matches!(to, Place::Archive { kind: ArchiveKind::Docker, .. });
    let platform = arguments.platform.clone().or_else(|| is_single.then(Platform::host));
    let contents = Selected::read(&source, platform.as_ref()).await?;
    let mut report = match to {
        Place::Registry(name) => push(&source, &contents, name, &registries).await?,
        Place::Layout { path, tag } => {
            let names = layout_names(tag.as_deref(), from)?;
            save(&source, &contents, path, Container::Layout(names)).await?
        }
        Place::Archive { path, kind } => {
            let names = named(from).into_iter().collect();
            save(&source, &contents, path, Container::Archive(*kind, names)).await?
        }
    };
    (report.from, report.to) = (source.name().to_owned(), to.to_string());
    report.digest = contents.root.digest.to_string();
    connection.print(&report, || text(&report))?;
    Ok(Verdict::Good)
}

/// What of a source is copied.
struct Selected {
    /// What the new name stands for.
    root: Descriptor,
    /// Manifests and indexes, each after those it refers to.
    documents: Vec<(Descriptor, Vec<u8>)>,
    configs: Vec<(Descriptor, Vec<u8>)>,
    /// Each once.
    layers: Vec<Descriptor>,
    /// The only image, and its platform.
    single: Option<(crate::image::Manifest, Option<Platform>)>,
}

impl Selected {
    async fn read(source: &Source, platform: Option<&Platform>) -> Result<Self, CommandError> {
        let Contents { root, indexes, images } = source.contents(platform).await?;
        let mut layers: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for layer in images.iter().flat_map(|image| &image.manifest.layers) {
            layers.insert(layer.digest, layer.clone());
        }
        let is_chosen = platform.is_some() || indexes.is_empty();
        let single = images.first().filter(|_| is_chosen);
        let root = single.map_or(&root, |image| &image.document).descriptor.clone();
        let single = single.map(|image| (image.manifest.clone(), image.platform.clone()));
        let mut documents = Vec::new();
        let mut configs = Vec::new();
        for image in images {
            configs.push((image.manifest.config.clone(), image.config_bytes));
            documents.push((image.document.descriptor, image.document.bytes));
        }
        // An index of which one platform is taken is left behind.
        if !is_chosen {
            documents.extend(indexes.into_iter().rev().map(|index| (index.descriptor, index.bytes)));
        }
        let layers = layers.into_values().collect();
        Ok(Self { root, documents, configs, layers, single })
    }
}

async fn push(
    source: &Source,
    contents: &Selected,
    name: &ImageRef,
    registries: &Registries,
) -> Result<Report, CommandError> {
    if name.digest().is_some_and(|digest| digest != contents.root.digest) {
        let text = format!("the image has the digest {}, not that of `{name}`", contents.root.digest);
        return Err(CommandError::Usage(text));
    }
    let target = registries.repository(name.repository())?;
    let mut report = Report::default();
    let uploads: Vec<(Uploaded, u64)> = stream::iter(&contents.layers)
        .map(|layer| async { Ok((upload(source, layer, &target).await?, layer.size)) })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error: CommandError| error)?;
    for (uploaded, size) in uploads {
        report.count(uploaded, size);
    }
    for (config, text) in &contents.configs {
        let uploaded = target.upload(config, Bytes::copy_from_slice(text), &[]).await?;
        report.count(uploaded, config.size);
    }
    for (document, text) in &contents.documents {
        let bytes = Bytes::copy_from_slice(text);
        target.put_manifest(&document.digest.to_string(), &document.media_type, bytes.clone()).await?;
        if document.digest == contents.root.digest
            && let Some(tag) = name.tag()
        {
            target.put_manifest(tag, &document.media_type, bytes).await?;
        }
    }
    Ok(report)
}

async fn upload(source: &Source, layer: &Descriptor, target: &Repository) -> Result<Uploaded, CommandError> {
    Ok(match (source.repository(), source.layout()) {
        (Some(repository), _) => {
            let mount_from = [repository.name().clone()];
            let mount_from: &[_] =
                if repository.name().registry() == target.name().registry() { &mount_from } else { &[] };
            target.upload(layer, RemoteBlob::new(repository.clone(), layer.clone()), mount_from).await?
        }
        (None, Some(layout)) => target.upload(layer, layout.blob_path(&layer.digest), &[]).await?,
        (None, None) => return Err(CommandError::Usage(format!("{} has no blobs", source.name()))),
    })
}

/// What a file or directory becomes.
enum Container {
    Layout(Vec<ImageRef>),
    Archive(ArchiveKind, Vec<ImageRef>),
}

async fn save(
    source: &Source,
    contents: &Selected,
    path: &Path,
    container: Container,
) -> Result<Report, CommandError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| CommandError::Write { path: path.to_owned(), source };
    // Beside the target, so that blobs are linked into a layout, not copied.
    std::fs::create_dir_all(parent).map_err(failed)?;
    let scratch = tempfile::Builder::new().prefix(".incomplete-").tempdir_in(parent).map_err(failed)?;
    let files: Vec<(Descriptor, PathBuf)> = stream::iter(&contents.layers)
        .map(|layer| async {
            let file = scratch.path().join(layer.digest.hex());
            fetch(source, layer, file.clone()).await?;
            Ok((layer.clone(), file))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error: CommandError| error)?;
    let layers =
        files.into_iter().map(|(descriptor, file)| Blob { descriptor, source: BlobSource::File(file) });
    let texts = contents.configs.iter().chain(&contents.documents).map(|(descriptor, text)| Blob {
        descriptor: descriptor.clone(),
        source: BlobSource::Bytes(text.clone()),
    });
    let (manifest, platform) = contents.single.clone().unzip();
    let bundle = Bundle::verbatim(contents.root.clone(), manifest, platform.flatten(), layers.chain(texts));
    let report = Report {
        copied: bundle.blobs().len(),
        copied_size: bundle.blobs().iter().map(|blob| blob.descriptor.size).sum(),
        ..Report::default()
    };
    let path = path.to_owned();
    blocking(move || match container {
        Container::Layout(names) => Layout::create(&path)?.write(&bundle, &names).map_err(CommandError::from),
        Container::Archive(kind, names) => Ok(archive::save(&path, kind, &bundle, &names)?),
    })
    .await?;
    Ok(report)
}

/// Writes a blob to a file; a wrong digest is an error.
async fn fetch(source: &Source, blob: &Descriptor, file: PathBuf) -> Result<(), CommandError> {
    let (image, digest) = (source.name().to_owned(), blob.digest);
    let mut reader = source.blob(blob).await?;
    blocking(move || {
        let written = File::create(&file).and_then(|mut target| io::copy(&mut reader, &mut target));
        written.map(drop).map_err(|source| CommandError::Blob { image, digest, source })
    })
    .await
}

/// The name that an image keeps.
fn named(from: &Place) -> Option<ImageRef> {
    match from {
        Place::Registry(name) => Some(name.clone()),
        Place::Layout { .. } | Place::Archive { .. } => None,
    }
}

/// The names in a layout: the given tag, or else the image's own name.
fn layout_names(tag: Option<&str>, from: &Place) -> Result<Vec<ImageRef>, CommandError> {
    let Some(tag) = tag else { return Ok(named(from).into_iter().collect()) };
    let repository = match from {
        Place::Registry(name) => name.repository().to_string(),
        Place::Layout { .. } | Place::Archive { .. } => "image".to_owned(),
    };
    Ok(vec![format!("{repository}:{tag}").parse()?])
}

fn text(report: &Report) -> String {
    let Report { from, to, digest, already_there, mounted, copied, copied_size } = report;
    format!(
        "{from} to {to}: {digest}\n  {copied} blobs copied ({}), {mounted} mounted, {already_there} there already\n",
        bytes(*copied_size)
    )
}
