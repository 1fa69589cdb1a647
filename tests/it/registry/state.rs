//! What the registry keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cooper::layer::Digest;

/// Blobs, manifests and uploads.
#[derive(Debug, Default)]
pub(super) struct State {
    blobs: BTreeMap<String, Arc<Vec<u8>>>,
    /// Which repository has which blobs.
    links: BTreeSet<(String, String)>,
    /// By repository and selector.
    manifests: BTreeMap<(String, String), Manifest>,
    uploads: BTreeMap<String, Vec<u8>>,
    opened: usize,
}

/// A manifest as it was put.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) bytes: Arc<Vec<u8>>,
}

impl State {
    pub(super) fn put_blob(&mut self, repository: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.to_string(), Arc::new(bytes));
        self.links.insert((repository.to_owned(), digest.to_string()));
        digest
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<&Arc<Vec<u8>>> {
        let is_linked = self.links.contains(&(repository.to_owned(), digest.to_owned()));
        self.blobs.get(digest).filter(|_| is_linked)
    }

    /// Whether `repository` has the blob now, taken from `from`.
    pub(super) fn mount(&mut self, repository: &str, from: &str, digest: &str) -> bool {
        let is_there = self.blob(from, digest).is_some();
        if is_there {
            self.links.insert((repository.to_owned(), digest.to_owned()));
        }
        is_there
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        selector: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Digest {
        let digest = Digest::of(&bytes);
        let (media_type, bytes) = (media_type.to_owned(), Arc::new(bytes));
        let manifest = Manifest { media_type, digest: digest.to_string(), bytes };
        for selector in [selector.to_owned(), digest.to_string()] {
            self.manifests.insert((repository.to_owned(), selector), manifest.clone());
        }
        digest
    }

    pub(super) fn manifest(&self, repository: &str, selector: &str) -> Option<&Manifest> {
        self.manifests.get(&(repository.to_owned(), selector.to_owned()))
    }

    /// The tags of `repository`.
    pub(super) fn tags(&self, repository: &str) -> Vec<&str> {
        let names =
            self.manifests.keys().filter(|(path, selector)| path == repository && !selector.contains(':'));
        names.map(|(_, tag)| tag.as_str()).collect()
    }

    /// Whether anything was ever put into `repository`.
    pub(super) fn has_repository(&self, repository: &str) -> bool {
        let mut paths = self.links.iter().chain(self.manifests.keys()).map(|(path, _)| path);
        paths.any(|path| path == repository)
    }

    pub(super) fn open_upload(&mut self) -> String {
        self.opened += 1;
        let session = format!("session-{}", self.opened);
        self.uploads.insert(session.clone(), Vec::new());
        session
    }

    pub(super) fn upload(&mut self, session: &str) -> Option<&mut Vec<u8>> {
        self.uploads.get_mut(session)
    }

    pub(super) fn close_upload(&mut self, session: &str) -> Option<Vec<u8>> {
        self.uploads.remove(session)
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.uploads.len()
    }
}
