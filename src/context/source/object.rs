//! Archives in object stores.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An archive in an object store. Endpoints and credentials come from the environment variables that the stores' own
/// tools use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "kebab-case")]
pub enum ObjectAddress {
    /// In Amazon S3, or what speaks its protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// The name of the object.
        key: String,
    },
    /// In Google Cloud Storage.
    Google {
        /// The bucket.
        bucket: String,
        /// The name of the object.
        key: String,
    },
    /// In Azure's blob storage.
    Azure {
        /// The storage account.
        account: String,
        /// What follows the account in the host name, like `blob.core.windows.net`.
        domain: String,
        /// The container.
        container: String,
        /// The name of the blob.
        key: String,
    },
}

/// The hosts of Azure's blob storage: its own cloud's, and those of China, the US government and Germany.
const AZURE_DOMAINS: [&str; 4] = [
    "blob.core.windows.net",
    "blob.core.chinacloudapi.cn",
    "blob.core.usgovcloudapi.net",
    "blob.core.cloudapi.de",
];

/// The name of the object when an address has none, as with Kaniko.
const DEFAULT_KEY: &str = "context.tar.gz";

impl ObjectAddress {
    /// Understands `s3://BUCKET/KEY`, `gs://BUCKET/KEY` and `https://ACCOUNT.blob.core.windows.net/CONTAINER/KEY`, the
    /// latter also of Azure's other clouds; `None` for anything else. Without a key it is `context.tar.gz`.
    pub fn parse(text: &str) -> Option<Self> {
        let named = |rest: &str| {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            let key = if key.is_empty() { DEFAULT_KEY } else { key };
            (!bucket.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            return named(rest).map(|(bucket, key)| Self::S3 { bucket, key });
        }
        if let Some(rest) = text.strip_prefix("gs://") {
            return named(rest).map(|(bucket, key)| Self::Google { bucket, key });
        }
        let (host, path) = text.strip_prefix("https://")?.split_once('/')?;
        // With a query it is a signed address, which is all that is needed to read it.
        if path.contains('?') {
            return None;
        }
        let (account, domain) = host.split_once('.')?;
        let (container, key) = path.split_once('/')?;
        (AZURE_DOMAINS.contains(&domain) && !account.is_empty() && !container.is_empty() && !key.is_empty())
            .then(|| Self::Azure {
                account: account.to_owned(),
                domain: domain.to_owned(),
                container: container.to_owned(),
                key: key.to_owned(),
            })
    }

    /// The name of the object in its bucket or container.
    pub fn key(&self) -> &str {
        match self {
            Self::S3 { key, .. } | Self::Google { key, .. } | Self::Azure { key, .. } => key,
        }
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Google { bucket, key } => write!(f, "gs://{bucket}/{key}"),
            Self::Azure { account, domain, container, key } => {
                write!(f, "https://{account}.{domain}/{container}/{key}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| ObjectAddress::parse(text).map(|address| address.to_string());
        for (text, expected) in [
            ("s3://bucket/a/b.tar", Some("s3://bucket/a/b.tar")),
            ("s3://bucket", Some("s3://bucket/context.tar.gz")),
            ("gs://bucket/", Some("gs://bucket/context.tar.gz")),
            ("https://me.blob.core.windows.net/c/d/e", Some("https://me.blob.core.windows.net/c/d/e")),
            ("https://me.blob.core.cloudapi.de/c/d", Some("https://me.blob.core.cloudapi.de/c/d")),
            ("https://me.blob.core.windows.net/c/d?sig=x", None),
            ("https://me.blob.core.windows.net.evil.example/c/d", None),
            ("https://me.blob.core.windows.net/c", None),
            ("s3:///key", None),
            ("https://host/a.tar", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }
}
