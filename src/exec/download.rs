//! Downloads for ADD.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{LAST_MODIFIED, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::copy::Selected;
use super::layers::Layers;
use super::solve::Solver;
use crate::event::ActivityKind;
use crate::layer::{Digest, Metadata};
use crate::registry::SettingsError;
use crate::rootfs::{Content, ContentSource, Leaf, LeafKind, Node};
use crate::store::StoreError;

/// As many as browsers follow.
const MAX_REDIRECTS: usize = 10;

/// How often a download is begun before it is given up; pauses double from [`FIRST_PAUSE`].
const ATTEMPTS: u32 = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A download that takes longer will not end.
const LIMIT: Duration = Duration::from_hours(1);

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
    /// The client cannot be made.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The server cannot be asked, or stops answering.
    #[error("cannot download `{url}`")]
    Request {
        /// The URL, without any password.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The server says no.
    #[error("cannot download `{url}`: the server answers {status}")]
    Status {
        /// The URL.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The server sends us around, or to something that is no web server.
    #[error("cannot download `{url}`: it redirects to `{target}`, which is not followed")]
    Redirect {
        /// The URL.
        url: String,
        /// Where to.
        target: String,
    },
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
        match self {
            Self::Request { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
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
        let layers = &self.settings().layers;
        let activity =
            self.settings().events.begin(ActivityKind::Pull, format!("download {}", shown(&parsed)));
        let downloaded = tokio::runtime::Handle::current().block_on(async {
            let mut pause = FIRST_PAUSE;
            for _ in 1..ATTEMPTS {
                match fetch(layers, &parsed).await {
                    Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                    result => return result,
                }
                pause *= 2;
            }
            fetch(layers, &parsed).await
        })?;
        if let Some(expected) = checksum.filter(|expected| *expected != downloaded.digest) {
            return Err(DownloadError::Checksum { url: shown(&parsed), expected, actual: downloaded.digest });
        }
        activity.done();
        Ok(downloaded)
    }
}

async fn fetch(layers: &Layers, url: &Url) -> Result<Downloaded, DownloadError> {
    let response = open(layers, url).await?;
    let header = response.headers().get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let modified =
        header.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|time| time.timestamp().as_second());
    let mut blob = layers.store().begin_blob()?;
    let mut stream = response.bytes_stream();
    let failed = |source| DownloadError::Request { url: shown(url), source };
    while let Some(bytes) = stream.next().await {
        blob.write_all(&bytes.map_err(failed)?).map_err(DownloadError::Write)?;
    }
    let (digest, size) = blob.finish()?;
    Ok(Downloaded { name: name(url), digest, size, modified })
}

/// Asks for the file, following redirects to other web servers.
async fn open(layers: &Layers, url: &Url) -> Result<Response, DownloadError> {
    let mut at = url.clone();
    for _ in 0..MAX_REDIRECTS {
        let client = layers.registries().web_client(&at)?;
        let request = client.get(at.clone()).timeout(LIMIT);
        let failed =
            |source: reqwest::Error| DownloadError::Request { url: shown(url), source: source.without_url() };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if !status.is_redirection() {
            return Err(DownloadError::Status { url: shown(url), status });
        }
        let target =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        at = match at.join(target) {
            Ok(next) if matches!(next.scheme(), "http" | "https") => next,
            _ => return Err(DownloadError::Redirect { url: shown(url), target: target.to_owned() }),
        };
    }
    Err(DownloadError::Redirect { url: shown(url), target: shown(&at) })
}

/// The last name in the URL's path.
fn name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    match last {
        Some(name) if name != ".." => name.to_owned(),
        _ => UNNAMED.to_owned(),
    }
}

/// A URL without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL that cannot have a password has none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
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

    #[test]
    fn hides_secrets() {
        let url = Url::parse("https://user:secret@x/a?token=secret").unwrap();
        assert_eq!(shown(&url), "https://x/a");
    }
}
