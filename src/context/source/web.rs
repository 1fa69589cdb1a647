//! HTTP addresses, with what is secret in them kept apart.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::registry::Secret;

/// An `http://` or `https://` address.
///
/// It is shown without its query, which may be a signature. A request that is written down has the query, which is part
/// of the address, but neither user nor password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebAddress {
    url: Url,
    login: Option<Login>,
}

/// A user and a password. Never written with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user; with many git servers a token, or any word.
    pub user: Secret,
    /// The password or token; may be empty.
    pub password: Secret,
}

/// Why a text is no HTTP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseWebError {
    /// Not a URL at all. The text is not repeated: a password may be in it.
    #[error("this is not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// A URL of another kind.
    #[error("`{0}://` is not the beginning of an HTTP address: write http:// or https://")]
    Scheme(String),
}

impl WebAddress {
    /// Understands `http://…` and `https://…`.
    pub fn parse(text: &str) -> Result<Self, ParseWebError> {
        let mut url = Url::parse(text)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ParseWebError::Scheme(url.scheme().to_owned()));
        }
        let login = Login::take_from(&mut url);
        url.set_fragment(None);
        Ok(Self { url, login })
    }

    /// The address, without user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The user and password that were in it.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }
}

impl Login {
    /// The user and password in a URL, which has them no longer.
    pub(super) fn take_from(url: &mut Url) -> Option<Self> {
        let decoded = |text: &str| {
            // Bytes that are not text cannot be sent in a header; they come out as what does not log in.
            Secret::new(percent_decoded(text))
        };
        let login =
            Self { user: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) };
        let is_given = !url.username().is_empty() || url.password().is_some();
        // These fail only for URLs that cannot have either.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        is_given.then_some(login)
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digits = [*high, *low].map(|digit| (digit as char).to_digit(16).unwrap_or_default());
                rest = after;
                u8::try_from(digits[0] * 16 + digits[1]).unwrap_or_default()
            }
            _ => {
                rest = tail;
                *first
            }
        };
        bytes.push(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl TryFrom<String> for WebAddress {
    type Error = ParseWebError;

    fn try_from(text: String) -> Result<Self, ParseWebError> {
        Self::parse(&text)
    }
}

impl From<WebAddress> for String {
    fn from(address: WebAddress) -> Self {
        address.url.into()
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        url.set_query(None);
        url.fmt(f)
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_apart() {
        let address =
            WebAddress::parse("https://us%40er:p%2Fw@host:8443/a.tar?signature=s3cret#part").unwrap();
        let login = address.login().unwrap();
        assert_eq!((login.user.reveal(), login.password.reveal()), ("us@er", "p/w"));
        assert_eq!(address.to_string(), "https://host:8443/a.tar");
        assert_eq!(format!("{address:?}"), "WebAddress(https://host:8443/a.tar)");
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(json, r#""https://host:8443/a.tar?signature=s3cret""#);
        let read: WebAddress = serde_json::from_str(&json).unwrap();
        assert_eq!((read.url(), read.login()), (address.url(), None));
    }

    #[test]
    fn other_texts_are_refused_without_repeating_them() {
        assert_eq!(WebAddress::parse("ftp://a/b"), Err(ParseWebError::Scheme("ftp".into())));
        let error = WebAddress::parse("https://user:s3cret@[/").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
