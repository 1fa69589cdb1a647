//! The tests' base in a registry, in all forms in which registries have images.

use cooper::image::Platform;
use cooper::layer::Digest;
use serde_json::{Value, json};

use super::base_layout;
use crate::registry::Registry;

/// The media types of a kind of image.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Oci,
    Docker,
}

/// An image that can be put into a registry.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) config: Vec<u8>,
    /// Blobs with their media types.
    pub(crate) layers: Vec<(Vec<u8>, String)>,
    pub(crate) kind: Kind,
}

impl Served {
    /// The image of [`base_layout`].
    pub(crate) fn base() -> Self {
        let index: Value =
            serde_json::from_slice(&std::fs::read(base_layout().join("index.json")).unwrap()).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let layers = layers.map(|layer| (blob(layer), layer["mediaType"].as_str().unwrap().to_owned()));
        Self { config: blob(&manifest["config"]), layers: layers.collect(), kind: Kind::Oci }
    }

    /// The same with Docker's media types.
    pub(crate) fn docker(mut self) -> Self {
        for (_, media_type) in &mut self.layers {
            "application/vnd.docker.image.rootfs.diff.tar.gzip".clone_into(media_type);
        }
        Self { kind: Kind::Docker, ..self }
    }

    /// The same with layers compressed by zstd.
    pub(crate) fn zstd(mut self) -> Self {
        for (blob, media_type) in &mut self.layers {
            let mut tar = Vec::new();
            std::io::copy(&mut flate2::read::MultiGzDecoder::new(blob.as_slice()), &mut tar).unwrap();
            *blob = zstd::encode_all(tar.as_slice(), 1).unwrap();
            "application/vnd.oci.image.layer.v1.tar+zstd".clone_into(media_type);
        }
        self
    }

    /// Digests of the layers' blobs.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.layers.iter().map(|(blob, _)| Digest::of(blob)).collect()
    }

    /// The manifest, with its media type.
    pub(crate) fn manifest(&self) -> (Vec<u8>, &'static str) {
        let (own, config) = match self.kind {
            Kind::Oci => {
                ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
            }
            Kind::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
            ),
        };
        let layers: Vec<_> = self.layers.iter().map(|(blob, kind)| descriptor(blob, kind)).collect();
        let config = descriptor(&self.config, config);
        let manifest = json!({"schemaVersion": 2, "mediaType": own, "config": config, "layers": layers});
        (manifest.to_string().into_bytes(), own)
    }

    /// Puts it into a registry.
    pub(crate) fn put(&self, registry: &Registry, repository: &str, tag: &str) -> Digest {
        registry.put_blob(repository, self.config.clone());
        for (blob, _) in &self.layers {
            registry.put_blob(repository, blob.clone());
        }
        let (manifest, media_type) = self.manifest();
        registry.put_manifest(repository, tag, media_type, manifest)
    }

    /// Puts it into a registry below an index with an attestation, as BuildKit pushes images. `platform` is what the
    /// index says of the image.
    pub(crate) fn put_index(&self, registry: &Registry, repository: &str, tag: &str, platform: &Platform) {
        self.put(registry, repository, "for-the-index");
        let (manifest, media_type) = self.manifest();
        let mut image = descriptor(&manifest, media_type);
        image["platform"] = json!({"architecture": platform.architecture(), "os": platform.os()});
        let mut attestation = descriptor(b"never fetched", media_type);
        attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        attestation["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"],
        });
        let own = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": own, "manifests": [attestation, image]});
        registry.put_manifest(repository, tag, own, index.to_string());
    }
}

fn descriptor(bytes: &[u8], media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

fn blob(descriptor: &Value) -> Vec<u8> {
    let hex = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
    std::fs::read(base_layout().join("blobs/sha256").join(hex)).unwrap()
}
