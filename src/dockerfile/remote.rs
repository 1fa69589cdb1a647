//! Sources of `ADD` that are not files of the context.

/// What a source names, if it is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteSource {
    /// Something behind `http://` or `https://`.
    Url,
    /// A git repository.
    Git,
}

impl RemoteSource {
    /// What an (expanded) source is; `None` for a path.
    ///
    /// Git repositories are `git://…`, `ssh://…`, `user@host:path`, and URLs whose path ends in `.git`.
    pub fn of(source: &str) -> Option<Self> {
        if source.starts_with("git://") || source.starts_with("ssh://") || is_scp_like(source) {
            return Some(Self::Git);
        }
        let rest = source.strip_prefix("http://").or_else(|| source.strip_prefix("https://"))?;
        let path = rest.split(['#', '?']).next().unwrap_or_default();
        let repository = path.strip_suffix(".git").is_some();
        Some(if repository { Self::Git } else { Self::Url })
    }
}

/// `git@github.com:owner/repository`
fn is_scp_like(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    word(user) && word(host) && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sources_apart() {
        for (source, expected) in [
            ("a/b", None),
            ("a@b", None),
            ("a@b/c:d", None),
            ("http://x/a.tar", Some(RemoteSource::Url)),
            ("https://x/a.git", Some(RemoteSource::Git)),
            ("https://x/a.git#v1:sub", Some(RemoteSource::Git)),
            ("https://x/a.git?ref=v1", Some(RemoteSource::Git)),
            ("https://x/a?b=.git", Some(RemoteSource::Url)),
            ("git@github.com:a/b", Some(RemoteSource::Git)),
            ("git://x/y", Some(RemoteSource::Git)),
            ("ssh://git@x/y", Some(RemoteSource::Git)),
        ] {
            assert_eq!(RemoteSource::of(source), expected, "{source}");
        }
    }
}
