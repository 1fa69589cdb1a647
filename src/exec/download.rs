//! Downloads for ADD.

use std::io::Write as _;
use std::sync::Arc;

use reqwest::header::LAST_MODIFIED;
use url::Url;

use super::copy::Selected;
use super::solve::Solver;
use crate::context::fetch::{AccessError, Fetcher};
use crate::event::ActivityKind;
use crate::layer::{Digest, Metadata};
use crate::rootfs::{Content, ContentSource, Leaf, LeafKind, Node};
use crate::store::StoreError;
use crate::web::{self, WebError, shown};

/// The name of a file whose URL has none.
const UNNAMED: &str = "__unnamed__";

/// A downloaded file, which is a blob of the store now.
#[derive(Debug)]
pub(super) struct Downloaded {
    name: String,
    digest: Digest,
    size: u64,
    /// When the server says it was changed last.
    modified: Option<i64>,
}

/// Why a file cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Not a URL.
    #[error("`{url}` is not a URL")]
    Url {
        /// What was given.
        url: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// The server does not give it.
    #[error(transparent)]
    Web(#[from] WebError),
    /// What is to be shown to the server cannot be.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The content is not what `--checksum` says.
    #[error("digest mismatch: `{url}` has {actual}, and `--checksum` says {expected}")]
    Checksum {
        /// The URL.
        url: String,
        /// What was announced.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's file cannot be written.
    #[error("cannot keep the download")]
    Write(#[source] std::io::Error),
}

impl DownloadError {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Web(error) if error.may_pass())
    }
}

impl Downloaded {
    /// The file as ADD places it: readable for its owner only, as with BuildKit.
    pub(super) fn into_selected(self) -> Selected {
        let content = Content { size: self.size, source: ContentSource::Blob(self.digest), text: None };
        let metadata = Metadata { mtime: self.modified.unwrap_or(0), ..Metadata::with_mode(0o600) };
        let leaf = Leaf { metadata, kind: LeafKind::File(content) };
        Selected::file(&self.name, Node::Leaf(Arc::new(leaf)))
    }
}

impl Solver {
    /// Downloads a file into the store. Blocks.
    pub(super) fn download(&self, url: &str, checksum: Option<Digest>) -> Result<Downloaded, DownloadError> {
        let parsed = Url::parse(url).map_err(|source| DownloadError::Url { url: url.to_owned(), source })?;
        let fetcher = &self.settings().fetcher;
        let activity =
            self.settings().events.begin(ActivityKind::Pull, format!("download {}", shown(&parsed)));
        let attempts = web::persist(|| fetch(fetcher, &parsed), DownloadError::may_pass);
        let downloaded = tokio::runtime::Handle::current().block_on(attempts)?;
        if let Some(expected) = checksum.filter(|expected| *expected != downloaded.digest) {
            return Err(DownloadError::Checksum { url: shown(&parsed), expected, actual: downloaded.digest });
        }
        activity.done();
        Ok(downloaded)
    }
}

async fn fetch(fetcher: &Fetcher, url: &Url) -> Result<Downloaded, DownloadError> {
    let authorization = fetcher.access().for_web(url, None)?;
    let mut response = web::open(fetcher.registries(), url, authorization.as_ref()).await?;
    let header = response.headers().get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let modified =
        header.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|time| time.timestamp().as_second());
    let mut blob = fetcher.store().begin_blob()?;
    let limit = fetcher.registries().stall_limit();
    let silent = |_| WebError::Silent { url: shown(url), seconds: limit.as_secs() };
    let failed = |source: reqwest::Error| WebError::Request { url: shown(url), source: source.without_url() };
    while let Some(bytes) =
        tokio::time::timeout(limit, response.chunk()).await.map_err(silent)?.map_err(failed)?
    {
        blob.write_all(&bytes).map_err(DownloadError::Write)?;
    }
    let (digest, size) = blob.finish()?;
    Ok(Downloaded { name: name(url), digest, size, modified })
}

/// The last name in the URL's path.
fn name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    match last {
        Some(name) if name != ".." => name.to_owned(),
        _ => UNNAMED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_like_buildkit() {
        for (url, expected) in [
            ("http://x/a/b.tar.gz", "b.tar.gz"),
            ("http://x/a/b/", "b"),
            ("http://x/", UNNAMED),
            ("http://x", UNNAMED),
            ("http://x/a?file=b", "a"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
