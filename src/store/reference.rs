//! Names of images in the store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::image::{Descriptor, ImageRef};

/// The annotation in which containerd and BuildKit keep an image's full name in an `index.json`.
const NAME: &str = "io.containerd.image.name";

/// The store's `index.json`, as far as it is ours. See the OCI image specification, `image-layout.md`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

impl Default for Index {
    fn default() -> Self {
        let media_type = "application/vnd.oci.image.index.v1+json".to_owned();
        Self { schema_version: 2, media_type, manifests: Vec::new() }
    }
}

impl Store {
    /// What `name` stood for when it was last resolved: a manifest or an index.
    pub fn reference(&self, name: &ImageRef) -> Result<Option<Descriptor>, StoreError> {
        let name = name.to_string();
        let index = self.read_index()?;
        Ok(index
            .manifests
            .into_iter()
            .find(|found| found.annotations.get(NAME) == Some(&name))
            .map(|found| Descriptor { annotations: BTreeMap::new(), ..found }))
    }

    /// Remembers what `name` stands for.
    pub fn keep_reference(&self, name: &ImageRef, descriptor: &Descriptor) -> Result<(), StoreError> {
        if self.reference(name)?.is_some_and(|found| found.digest == descriptor.digest) {
            return Ok(());
        }
        // Two builds may add a name each; the lock keeps both.
        let path = self.root.join("index.lock");
        let lock = File::create(&path).map_err(StoreError::io("create", &path))?;
        lock.lock().map_err(StoreError::io("lock", &path))?;
        let mut index = self.read_index()?;
        let name = name.to_string();
        index.manifests.retain(|found| found.annotations.get(NAME) != Some(&name));
        let mut entry = descriptor.clone();
        entry.annotations.insert(NAME.to_owned(), name);
        index.manifests.push(entry);
        index.manifests.sort_by(|a, b| a.annotations.get(NAME).cmp(&b.annotations.get(NAME)));
        let path = self.root.join("index.json");
        let bytes = serde_json::to_vec_pretty(&index)
            .map_err(|error| StoreError::Damaged { path: path.clone(), reason: error.to_string() })?;
        self.write_atomically(&path, &bytes)
    }

    fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.root.join("index.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| StoreError::Damaged { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MediaType;
    use crate::layer::Digest;

    #[test]
    fn remembers_the_last_meaning_of_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let name: ImageRef = "node:20".parse().unwrap();
        assert_eq!(store.reference(&name).unwrap(), None);
        for text in ["one", "two"] {
            let descriptor = Descriptor::new(MediaType::ImageManifest, Digest::of(text), 3);
            store.keep_reference(&name, &descriptor).unwrap();
            assert_eq!(store.reference(&name).unwrap(), Some(descriptor));
        }
        assert_eq!(store.read_index().unwrap().manifests.len(), 1);
    }
}
