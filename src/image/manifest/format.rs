//! The two families of media types.

use oci_spec::image::MediaType;

use super::ManifestError;
use crate::image::Descriptor;
use crate::layer::{Compression, LayerTypeError};

/// Docker's name of a manifest.
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name of an index.
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Which media types an image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The OCI image specification's.
    #[default]
    Oci,
    /// Docker's schema 2, for registries and tools of old.
    Docker,
}

impl ImageFormat {
    fn choose(self, oci: MediaType, docker: &str) -> MediaType {
        match self {
            Self::Oci => oci,
            Self::Docker => MediaType::Other(docker.to_owned()),
        }
    }

    /// The type of manifests.
    pub fn manifest_type(self) -> MediaType {
        self.choose(MediaType::ImageManifest, DOCKER_MANIFEST)
    }

    /// The type of indexes.
    pub fn index_type(self) -> MediaType {
        self.choose(MediaType::ImageIndex, DOCKER_LIST)
    }

    /// The type of image configs.
    pub fn config_type(self) -> MediaType {
        self.choose(MediaType::ImageConfig, DOCKER_CONFIG)
    }

    /// The type of layers with the given compression. Images hold plain, gzip and zstd layers, Docker's format only
    /// the first two.
    pub fn layer_type(self, compression: Compression) -> Result<MediaType, ManifestError> {
        Ok(match compression {
            Compression::Uncompressed => self.choose(MediaType::ImageLayer, DOCKER_LAYER),
            Compression::Gzip => self.choose(MediaType::ImageLayerGzip, DOCKER_LAYER_GZIP),
            Compression::Zstd if self == Self::Oci => MediaType::ImageLayerZstd,
            Compression::Zstd => return Err(ManifestError::ZstdInDocker),
            other @ (Compression::Bzip2 | Compression::Xz) => {
                return Err(LayerTypeError::Unknown(other.to_string()).into());
            }
        })
    }

    /// The same layer under this format's media type. Docker's descriptors have no annotations.
    pub(super) fn convert_layer(self, mut layer: Descriptor) -> Result<Descriptor, ManifestError> {
        layer.media_type = self.layer_type(Compression::of_layer(&layer.media_type)?)?;
        if self == Self::Docker {
            layer.annotations.clear();
        }
        Ok(layer)
    }
}
