//! Contexts as artifacts in registries: a manifest with one layer, a tar of the files.
//!
//! ```text
//! manifest ─► config   application/vnd.cooper.context.v1+json, `{}`: what kind of artifact it is
//!          └► layer    application/vnd.oci.image.layer.v1.tar+gzip (or plain, or zstd)
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::context::{Context, ContextError};
use crate::exec::copy::everything;
use crate::image::{Descriptor, ImageRef, Manifest, ManifestError, MediaType};
use crate::layer::{
    Compression, Digest, Encoding, Hashing, LayerTypeError, LayerWriter, TarError, TarWriter,
};
use crate::registry::{Registries, RegistryError, Repository, SettingsError};
use crate::rootfs::ContentSource;
use crate::web::StreamReader;

/// The type of the config, which says what kind of artifact it is. See the OCI image specification, "Guidelines for
/// Artifact Usage".
const ARTIFACT_TYPE: &str = "application/vnd.cooper.context.v1+json";

/// The config: there is nothing to say.
const CONFIG: &[u8] = b"{}";

/// Why an artifact is no context, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The registry does not give or take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry cannot even be asked.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It holds something else.
    #[error("it is no build context: it has {layers} layers and the type `{media_type}`")]
    NoContext {
        /// The type of its config.
        media_type: String,
        /// How many layers it has.
        layers: usize,
    },
    /// Its layer is no archive.
    #[error(transparent)]
    Layer(#[from] LayerTypeError),
    /// The files cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The files cannot be written as an archive.
    #[error("cannot write the archive")]
    Tar(#[from] TarError),
    /// A temporary file cannot be used.
    #[error("cannot use a temporary file")]
    Spool(#[from] io::Error),
    /// A thread of ours ended before its time.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

/// Opens the archive of an artifact; also tells its length. Its digest is checked as it comes.
pub(super) async fn open(
    image: &ImageRef,
    registries: &Registries,
) -> Result<(StreamReader, u64), ArtifactError> {
    let repository = registries.repository(image.repository())?;
    let manifest = Manifest::parse(&repository.manifest(&image.selector()).await?.bytes)?;
    let media_type = manifest.config.media_type.to_string();
    let [layer] = manifest.layers.as_slice() else {
        return Err(ArtifactError::NoContext { media_type, layers: manifest.layers.len() });
    };
    if media_type != ARTIFACT_TYPE {
        return Err(ArtifactError::NoContext { media_type, layers: 1 });
    }
    // What it announces is checked for what it is not; the bytes say how they are compressed.
    Compression::of_layer(&layer.media_type)?;
    let blob = repository.blob(layer).await?;
    Ok((StreamReader::new(blob, registries.stall_limit()), layer.size))
}

/// Pushes the files of a context as an artifact, under `tag` if there is one; gives the manifest's digest, by which
/// `oci://REPOSITORY@DIGEST` names it. The archive is put into a temporary file in `scratch` first.
///
/// The same files give the same digest: the archive has them in the order of their paths.
pub async fn push(
    context: Context,
    repository: &Repository,
    tag: Option<&str>,
    scratch: &Path,
) -> Result<Digest, ArtifactError> {
    let scratch = scratch.to_owned();
    let pack = move || PackedContext::pack(&context, BTreeMap::new(), &scratch);
    let packed = tokio::task::spawn_blocking(pack).await??;
    packed.push(repository, tag).await?;
    Ok(packed.digest())
}

/// The files of a context as an artifact that is not pushed yet.
#[derive(Debug)]
pub struct PackedContext {
    archive: PathBuf,
    /// Removes it.
    _temporary: Option<tempfile::TempPath>,
    layer: Descriptor,
    config: Descriptor,
    manifest: Bytes,
}

impl PackedContext {
    /// Writes the archive to a temporary file in `scratch`. The annotations become part of the manifest, and so of its
    /// digest.
    pub fn pack(
        context: &Context,
        annotations: BTreeMap<String, String>,
        scratch: &Path,
    ) -> Result<Self, ArtifactError> {
        let archive = tempfile::NamedTempFile::new_in(scratch)?;
        let (digest, size) = pack(context, &archive)?;
        let layer = Descriptor::new(MediaType::ImageLayerGzip, digest, size);
        let archive = archive.into_temp_path();
        let path = archive.to_path_buf();
        Ok(Self { _temporary: Some(archive), ..Self::of(layer, path, annotations)? })
    }

    /// An archive that is there already, of this digest and length; it must stay until it is pushed.
    pub fn of_archive(
        archive: PathBuf,
        digest: Digest,
        size: u64,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, ArtifactError> {
        // How it is compressed is seen when it is read.
        let layer = Descriptor::new(MediaType::ImageLayer, digest, size);
        Self::of(layer, archive, annotations)
    }

    fn of(
        layer: Descriptor,
        archive: PathBuf,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, ArtifactError> {
        let media_type = MediaType::Other(ARTIFACT_TYPE.to_owned());
        let config = Descriptor::new(media_type, Digest::of(CONFIG), CONFIG.len() as u64);
        let manifest = Manifest {
            media_type: MediaType::ImageManifest,
            config: config.clone(),
            layers: vec![layer.clone()],
            annotations,
        };
        let manifest = manifest.to_bytes()?.into();
        Ok(Self { archive, _temporary: None, layer, config, manifest })
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// How long the archive is, in bytes.
    pub fn size(&self) -> u64 {
        self.layer.size
    }

    /// The archive: a tar, compressed with gzip.
    pub fn archive(&self) -> io::Result<Vec<u8>> {
        std::fs::read(&self.archive)
    }

    /// Pushes it, under `tag` if there is one.
    pub async fn push(&self, repository: &Repository, tag: Option<&str>) -> Result<(), ArtifactError> {
        repository.upload(&self.layer, self.archive.clone(), &[]).await?;
        repository.upload(&self.config, Bytes::from_static(CONFIG), &[]).await?;
        let selector = tag.map_or_else(|| self.digest().to_string(), str::to_owned);
        repository.put_manifest(&selector, &MediaType::ImageManifest, self.manifest.clone()).await?;
        Ok(())
    }
}

/// Writes the files of a context as a compressed archive; gives its digest and length.
fn pack(context: &Context, file: &tempfile::NamedTempFile) -> Result<(Digest, u64), ArtifactError> {
    let target = archive(context, Hashing::new(io::BufWriter::new(file.as_file())))?;
    let (mut file, digest, size) = target.finish();
    io::Write::flush(&mut file)?;
    Ok((digest, size))
}

/// Writes the files of a context as a compressed archive.
pub(crate) fn archive<W: io::Write>(context: &Context, target: W) -> Result<W, ArtifactError> {
    let mut tar = TarWriter::new(LayerWriter::new(target, Encoding::default())?);
    for placed in everything(context.tree()) {
        match placed.content.map(|content| content.source) {
            None => tar.append(&placed.entry, io::empty())?,
            Some(ContentSource::Context(path)) => tar.append(&placed.entry, context.open(&path)?)?,
            Some(ContentSource::Inline(bytes)) => tar.append(&placed.entry, &bytes[..])?,
            Some(_) => return Err(io::Error::other("a context has only files of its own").into()),
        }
    }
    let (_, target) = tar.finish()?.finish()?;
    Ok(target)
}
