//! Outputs that are not a registry: layouts, archives, and the bare files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::image::{BuiltImage, WholeImage};
use crate::event::{ActivityKind, Events};
use crate::exec::contents::{Contents, ContentsError};
use crate::exec::copy::{Placed, everything};
use crate::exec::{Layers, StepError};
use crate::image::{
    ArchiveError, ArchiveKind, Bundle, ImageRef, Index, Layout, LayoutError, ManifestError, archive,
};
use crate::layer::TarWriter;
use crate::request::{BuildRequest, Destination, Output};
use crate::rootfs::UnpackError;
use crate::rootfs::owner::Ownership;
use crate::rootfs::unpack::{Form, unpack};

/// Why an output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A layout refuses the image.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An archive cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The documents of the image cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The image's tree makes no sense, or cannot be had.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A file's content cannot be had.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A tar cannot be finished.
    #[error(transparent)]
    Tar(#[from] crate::layer::TarError),
    /// A file cannot be made.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Standard output is a terminal.
    #[error("an image would be of no use on a terminal; redirect standard output, or give `dest=PATH`")]
    Terminal,
}

/// Writes the image wherever the request wants it, but to registries.
pub(super) async fn write(
    request: &BuildRequest,
    layers: &Layers,
    events: &Events,
    image: &WholeImage,
) -> Result<(), BuildError> {
    for output in &request.outputs {
        let (name, path) = match output {
            Output::Push => continue,
            Output::Oci(destination) => ("OCI layout", shown(destination)),
            Output::Docker(destination) => ("docker archive", shown(destination)),
            Output::Tar(destination) => ("tar", shown(destination)),
            Output::Local(path) => ("files", path.clone()),
        };
        let activity = events.begin(ActivityKind::Export, format!("write {name} to {}", path.display()));
        let (output, layers, image, tags) =
            (output.clone(), layers.clone(), image.clone(), request.tags.clone());
        let written = tokio::task::spawn_blocking(move || write_one(&output, &layers, &image, &tags)).await?;
        activity.end_with(&written);
        written.map_err(|source| BuildError::Export { path, source: Box::new(source) })?;
    }
    Ok(())
}

fn shown(destination: &Destination) -> PathBuf {
    match destination {
        Destination::File(path) | Destination::Directory(path) => path.clone(),
        Destination::Stdout => "-".into(),
    }
}

fn write_one(
    output: &Output,
    layers: &Layers,
    image: &WholeImage,
    tags: &[ImageRef],
) -> Result<(), ExportError> {
    match output {
        Output::Push => Ok(()),
        Output::Oci(Destination::Directory(path)) => {
            Ok(Layout::create(path.clone())?.write(&bundle(image, layers)?, tags)?)
        }
        Output::Oci(destination) => write_archive(ArchiveKind::Oci, destination, layers, image, tags),
        Output::Docker(destination) => write_archive(ArchiveKind::Docker, destination, layers, image, tags),
        Output::Tar(destination) => write_tar(destination, layers, &image.platforms[0]),
        Output::Local(path) => write_files(path, layers, &image.platforms[0]),
    }
}

/// The image with all its blobs, which are in the store afterwards.
fn bundle(image: &WholeImage, layers: &Layers) -> Result<Bundle, ExportError> {
    let mut bundles = Vec::new();
    for platform in &image.platforms {
        for layer in &platform.layers {
            layers.complete_blob(layer).map_err(StepError::from)?;
        }
        let locate = |digest: &crate::layer::Digest| layers.store().blob_path(*digest);
        let runs_on = Some(platform.platform.clone());
        bundles.push(Bundle::of_image(platform.manifest.clone(), platform.config.clone(), runs_on, locate)?);
    }
    match (&image.index, bundles.pop()) {
        (None, Some(bundle)) => Ok(bundle),
        (Some(index), last) => {
            bundles.extend(last);
            Ok(Bundle::of_index(&Index::parse(index)?, bundles)?)
        }
        (None, None) => Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
    }
}

fn write_archive(
    kind: ArchiveKind,
    destination: &Destination,
    layers: &Layers,
    image: &WholeImage,
    tags: &[ImageRef],
) -> Result<(), ExportError> {
    let bundle = bundle(image, layers)?;
    match destination {
        Destination::File(path) | Destination::Directory(path) => {
            Ok(archive::save(path, kind, &bundle, tags)?)
        }
        Destination::Stdout => {
            archive::write(stdout()?, kind, &bundle, tags)?.flush()?;
            Ok(())
        }
    }
}

/// Standard output, unless a person would get to see the bytes.
fn stdout() -> Result<BufWriter<io::Stdout>, ExportError> {
    if io::stdout().is_terminal() {
        return Err(ExportError::Terminal);
    }
    Ok(BufWriter::with_capacity(1 << 18, io::stdout()))
}

fn write_tar(destination: &Destination, layers: &Layers, image: &BuiltImage) -> Result<(), ExportError> {
    match destination {
        Destination::Stdout => {
            flatten(stdout()?, layers, image)?.flush()?;
            Ok(())
        }
        Destination::File(path) | Destination::Directory(path) => {
            use std::os::unix::fs::PermissionsExt as _;
            let directory =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let file = tempfile::Builder::new()
                .prefix(".incomplete-")
                .permissions(std::fs::Permissions::from_mode(0o644))
                .tempfile_in(directory)?;
            let file = flatten(BufWriter::with_capacity(1 << 18, file), layers, image)?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        }
    }
}

/// Writes all files of the image, as a container would see them, as one tar.
fn flatten<W: Write>(target: W, layers: &Layers, image: &BuiltImage) -> Result<W, ExportError> {
    let placed: Vec<Placed> = everything(&image.tree(layers)?);
    let sources = image.layers.iter().map(|layer| (layer.layer.diff_id, layer.clone())).collect();
    let contents = Contents { context: None, layers, sources, archives: HashMap::new() };
    let mut tar = TarWriter::new(target);
    contents.write(&placed, &mut tar)?;
    Ok(tar.finish()?)
}

/// Puts all files of the image into a directory, over what is there.
fn write_files(path: &Path, layers: &Layers, image: &BuiltImage) -> Result<(), ExportError> {
    std::fs::create_dir_all(path)?;
    // The tar is complete before the first file is touched: an image that cannot be read changes nothing.
    let spool = tempfile::NamedTempFile::new_in(layers.store().scratch())?;
    flatten(BufWriter::with_capacity(1 << 18, spool.as_file()), layers, image)?.flush()?;
    let tar = io::BufReader::with_capacity(1 << 18, File::open(spool.path())?);
    // Modes are to be those of the image. Nothing else of this process makes files by now.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    let unpacked = unpack(tar, File::open(path)?.as_fd(), Form::Applied, Ownership::Real, None);
    rustix::process::umask(mask);
    unpacked?;
    Ok(())
}
