//! The bytes of the files of a COPY, in the order in which a layer wants them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use super::context_digests::{ContextFile, ContextFiles};
use super::copy::Placed;
use super::layers::{ImageLayer, LayerError, Layers};
use crate::context::ContextError;
use crate::layer::{DiffId, TarError, TarWriter};
use crate::rootfs::{Content, ContentSource};

/// Where the files of one COPY can be read.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The context they are in, if they are in one.
    pub context: Option<ContextFiles<'a>>,
    /// The layers they may be in.
    pub layers: &'a Layers,
    /// What is known of those layers.
    pub sources: HashMap<DiffId, ImageLayer>,
    /// Archives that are unpacked, by the digest of their tar.
    pub archives: HashMap<DiffId, File>,
}

/// Why files cannot be written to a layer.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The tar cannot be written.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A temporary file cannot be used.
    #[error("cannot use a temporary file in `{}`", directory.display())]
    Spool {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer is shorter than its index says.
    #[error("cannot read `{}` from layer {layer}", path.display())]
    FromLayer {
        /// The file.
        path: PathBuf,
        /// The layer.
        layer: DiffId,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Contents<'_> {
    /// Writes everything that was placed.
    pub fn write<W: Write>(&self, placed: &[Placed], tar: &mut TarWriter<W>) -> Result<(), ContentsError> {
        let mut streams = self.open_streams(placed)?;
        for Placed { entry, content } in placed {
            let Some(content) = content else {
                tar.append(entry, io::empty())?;
                continue;
            };
            match &content.source {
                ContentSource::Inline(bytes) => tar.append(entry, &bytes[..])?,
                ContentSource::Directory { directory, path } => {
                    let failed = |source| ContextError::Read { path: path.clone(), source };
                    tar.append(entry, directory.open(path).map_err(failed)?)?;
                }
                ContentSource::Context(path) => {
                    let missing = || ContextError::Read {
                        path: path.clone(),
                        source: io::Error::from(io::ErrorKind::NotFound),
                    };
                    match self.context.ok_or_else(missing)?.read(path)? {
                        ContextFile::Kept(contents) => tar.append(entry, &contents[..])?,
                        ContextFile::Opened(file) => tar.append(entry, file)?,
                    }
                }
                ContentSource::Blob(digest) => {
                    let blob = self.layers.store().open_blob(*digest).map_err(LayerError::from)?;
                    tar.append(entry, blob)?;
                }
                ContentSource::Layer { diff_id, offset } => {
                    let failed = |source| ContentsError::FromLayer {
                        path: entry.path.clone(),
                        layer: *diff_id,
                        source,
                    };
                    let Some(stream) = streams.get_mut(diff_id) else {
                        return Err(failed(io::ErrorKind::NotFound.into()));
                    };
                    tar.append(entry, stream.at(*offset, content.size).map_err(failed)?)?;
                }
            }
        }
        Ok(())
    }

    /// Opens every layer that something is read from.
    ///
    /// A layer can only be read forwards. Where the files are wanted in the order in which they stand in it (the
    /// usual case: both are sorted), they are passed on as they come; where not, they are first put into a
    /// temporary file, in one pass over the layer.
    fn open_streams(&self, placed: &[Placed]) -> Result<HashMap<DiffId, Stream>, ContentsError> {
        let mut wanted: HashMap<DiffId, Vec<(u64, u64)>> = HashMap::new();
        for Content { size, source, .. } in placed.iter().filter_map(|placed| placed.content.as_ref()) {
            if let ContentSource::Layer { diff_id, offset } = source {
                wanted.entry(*diff_id).or_default().push((*offset, *size));
            }
        }
        let mut streams = HashMap::new();
        for (diff_id, pieces) in wanted {
            if let Some(tar) = self.archives.get(&diff_id) {
                let directory = self.layers.store().scratch();
                let failed = |source| ContentsError::Spool { directory: directory.to_owned(), source };
                streams.insert(diff_id, Stream::Seekable(tar.try_clone().map_err(failed)?));
                continue;
            }
            let Some(layer) = self.sources.get(&diff_id) else { continue };
            let tar = self.layers.open_tar(layer)?;
            let is_forwards = pieces.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0);
            let stream = if is_forwards {
                Stream::Forwards { tar, position: 0 }
            } else {
                self.spool(diff_id, tar, pieces)?
            };
            streams.insert(diff_id, stream);
        }
        Ok(streams)
    }

    fn spool(
        &self,
        layer: DiffId,
        tar: Box<dyn Read + Send>,
        mut pieces: Vec<(u64, u64)>,
    ) -> Result<Stream, ContentsError> {
        let directory = self.layers.store().scratch();
        let failed = |source| ContentsError::Spool { directory: directory.to_owned(), source };
        let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
        pieces.sort_unstable();
        pieces.dedup();
        let mut stream = Stream::Forwards { tar, position: 0 };
        let mut places = BTreeMap::new();
        let mut end = 0;
        for (offset, size) in pieces {
            let read = |source| ContentsError::FromLayer { path: PathBuf::new(), layer, source };
            let mut piece = stream.at(offset, size).map_err(read)?;
            end += io::copy(&mut piece, &mut file).map_err(failed)?;
            places.insert(offset, end - size);
        }
        Ok(Stream::Spooled { file, places })
    }
}

/// A layer's uncompressed tar, of which pieces are wanted.
enum Stream {
    Forwards { tar: Box<dyn Read + Send>, position: u64 },
    Spooled { file: File, places: BTreeMap<u64, u64> },
    Seekable(File),
}

impl Stream {
    /// The `size` bytes at `offset`.
    fn at(&mut self, offset: u64, size: u64) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Forwards { tar, position } => {
                let gap = offset.checked_sub(*position).ok_or(io::ErrorKind::InvalidInput)?;
                let skipped = io::copy(&mut tar.by_ref().take(gap), &mut io::sink())?;
                if skipped < gap {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *position = offset + size;
                Ok(Box::new(tar.take(size)))
            }
            Self::Seekable(file) => {
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file.take(size)))
            }
            Self::Spooled { file, places } => {
                let place = places.get(&offset).ok_or(io::ErrorKind::NotFound)?;
                file.seek(SeekFrom::Start(*place))?;
                Ok(Box::new(file.take(size)))
            }
        }
    }
}
