//! Contexts as `docker buildx build` writes them.

use std::path::Path;

use super::{
    ContextOrigin, ContextSource, GitSource, ObjectAddress, ParseGitError, ParseWebError, WebAddress,
};
use crate::dockerfile::RemoteSource;
use crate::image::{ImageRef, ParseImageRefError};

/// Why a text names no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildxContextError {
    /// A git repository that cannot be.
    #[error(transparent)]
    Git(#[from] ParseGitError),
    /// An address that cannot be.
    #[error(transparent)]
    Web(#[from] ParseWebError),
    /// An artifact that cannot be.
    #[error("`{text}` does not name an artifact: write oci://REPOSITORY@DIGEST or oci://REPOSITORY:TAG")]
    Artifact {
        /// What was given.
        text: String,
        /// Why not.
        #[source]
        source: ParseImageRefError,
    },
    /// A bucket without a name.
    #[error("`{0}` names no object: write s3://BUCKET/KEY or gs://BUCKET/KEY")]
    Object(String),
    /// A scheme that is not known.
    #[error(
        "`{0}://` is not the beginning of a build context: there are directories, `-`, https://, http://, git://, ssh://, USER@HOST:PATH, s3://, gs://, oci:// and tar://"
    )]
    Scheme(String),
}

/// Understands what is written for `CONTEXT` or as the value of `--build-context`: a directory, `-`, a git repository,
/// the address of an archive or of a Dockerfile, an object store's address, `oci://`, or `tar://` and the path of an
/// archive, as Kaniko writes it.
pub fn parse(text: &str) -> Result<ContextSource, BuildxContextError> {
    if text == "-" {
        return Ok(ContextSource::remote(ContextOrigin::Stdin));
    }
    // What exists is meant, even if it looks like `user@host:path` or `github.com/…`.
    let is_there = Path::new(text).exists();
    if let Some(object) = ObjectAddress::parse(text) {
        return Ok(ContextSource::remote(ContextOrigin::Object(object)));
    }
    if !is_there && text.starts_with("github.com/") {
        let git = GitSource::parse(&format!("https://{text}"))?;
        return Ok(ContextSource::remote(ContextOrigin::Git(git)));
    }
    match RemoteSource::of(text) {
        Some(RemoteSource::Git) if !is_there => {
            Ok(ContextSource::remote(ContextOrigin::Git(GitSource::parse(text)?)))
        }
        Some(RemoteSource::Url) => Ok(ContextSource::remote(ContextOrigin::Web(WebAddress::parse(text)?))),
        _ => match text.split_once("://") {
            Some(("oci", name)) => artifact(text, name),
            Some(("tar", path)) if !path.is_empty() => {
                Ok(ContextSource::remote(ContextOrigin::Archive(path.into())))
            }
            Some(("s3" | "gs", _)) => Err(BuildxContextError::Object(text.to_owned())),
            Some((scheme, _)) if !is_there => Err(BuildxContextError::Scheme(scheme.to_owned())),
            _ => Ok(ContextSource::Directory(text.into())),
        },
    }
}

pub(super) fn artifact(text: &str, name: &str) -> Result<ContextSource, BuildxContextError> {
    let image: ImageRef =
        name.parse().map_err(|source| BuildxContextError::Artifact { text: text.to_owned(), source })?;
    Ok(ContextSource::remote(ContextOrigin::Artifact(image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form() {
        for (text, shown) in [
            (".", "."),
            ("some/where", "some/where"),
            ("-", "standard input"),
            ("https://h/a.tar.gz", "https://h/a.tar.gz"),
            ("https://h/a.git#main:sub", "https://h/a.git#main:sub"),
            ("git://h/a", "git://h/a"),
            ("git@h:a/b", "git@h:a/b"),
            ("github.com/a/b", "https://github.com/a/b"),
            ("s3://bucket/a.tar", "s3://bucket/a.tar"),
            ("oci://h:5000/a:1", "oci://h:5000/a:1"),
            ("tar:///dir/a.tar.gz", "/dir/a.tar.gz"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        assert!(matches!(parse("."), Ok(ContextSource::Directory(_))));
    }

    #[test]
    fn what_cannot_be() {
        assert_eq!(parse("ftp://h/a"), Err(BuildxContextError::Scheme("ftp".into())));
        assert_eq!(parse("s3:///a"), Err(BuildxContextError::Object("s3:///a".into())));
        assert!(matches!(parse("oci://A B"), Err(BuildxContextError::Artifact { .. })));
        assert!(matches!(parse("https://h/a.git?x=1"), Err(BuildxContextError::Git(_))));
    }
}
