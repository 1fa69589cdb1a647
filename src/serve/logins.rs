//! Logins for git servers, by host: in files, so that they can be Secrets, and read for every build anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

/// Where logins are: per host (with the port, if one is written), a file with `USER:TOKEN` or only a token.
#[derive(Debug, Clone, Default)]
pub(super) struct Logins {
    files: BTreeMap<String, PathBuf>,
}

impl Logins {
    pub(super) fn new(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The address with the login that belongs to it, if there is one. For the worker's eyes only.
    pub(super) fn address(&self, address: &str) -> String {
        self.login(address).unwrap_or_else(|| address.to_owned())
    }

    fn login(&self, address: &str) -> Option<String> {
        let mut url = Url::parse(address).ok()?;
        let host = url.host_str()?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let path = self.files.get(&host)?;
        let text = std::fs::read_to_string(path)
            .inspect_err(|error| tracing::error!(host, %error, "the login of a git server cannot be read"))
            .ok()?;
        let (user, token) = text.trim().split_once(':').unwrap_or(("x-access-token", text.trim()));
        url.set_username(user).ok()?;
        url.set_password(Some(token)).ok()?;
        Some(url.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_for_their_host() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let logins = Logins::new([
            ("git.example".to_owned(), file("a", "token\n")),
            ("git.example:8443".to_owned(), file("b", "me:p@ss")),
        ]);
        for (address, expected) in [
            ("https://git.example/a.git", "https://x-access-token:token@git.example/a.git"),
            ("https://git.example:8443/a.git", "https://me:p%40ss@git.example:8443/a.git"),
            ("https://git.example.org/a.git", "https://git.example.org/a.git"),
        ] {
            assert_eq!(logins.address(address), expected);
        }
    }
}
