//! `WWW-Authenticate`: how a registry asks for a login. See RFC 9110, section 11.6.1.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A way to log in that Cooper knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token of a service.
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// URL of the token service.
    pub(super) realm: String,
    /// What the token service calls the registry.
    pub(super) service: Option<String>,
    /// The rights that the refused request would have needed.
    pub(super) scope: Option<String>,
}

/// The best of the ways a registry offers: tokens before passwords. `None` when it offers none that is known.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let offers: Vec<_> = texts.flat_map(parse).collect();
    let bearer = offers.iter().find(|offer| matches!(offer, Challenge::Bearer(_)));
    bearer.or(offers.first()).cloned()
}

/// All known challenges of one header. Anything malformed ends the reading, not the program.
fn parse(text: &str) -> Vec<Challenge> {
    let mut offers = Vec::new();
    let mut rest = text;
    while let Some((scheme, after)) = word(separated(rest)) {
        let (parameters, after) = parameters(after);
        rest = after;
        let get = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            offers.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = get("realm")
        {
            offers.push(Challenge::Bearer(Bearer { realm, service: get("service"), scope: get("scope") }));
        }
    }
    offers
}

/// The `name=value` pairs up to the next scheme, and what follows.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    loop {
        let Some((name, after)) = word(separated(rest)) else { return (pairs, "") };
        let Some(after) = after.trim_start().strip_prefix('=') else { return (pairs, rest) };
        let Some((value, after)) = value(after.trim_start()) else { return (pairs, "") };
        pairs.push((name.to_owned(), value));
        rest = after;
    }
}

fn separated(text: &str) -> &str {
    text.trim_start_matches(|c: char| c == ',' || c.is_whitespace())
}

/// A token of RFC 9110, section 5.6.2.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A quoted string, or whatever stands up to the next comma or blank: Cooper reads URLs without quotes too.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(texts: &[&'static str]) -> Option<Challenge> {
        let values = texts.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_static(text)));
        challenge(&values.collect())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) })
    }

    proptest::proptest! {
        #[test]
        fn survives_anything(text in "([a-zA-Z]+|[=, \"\\\\é]|Bearer realm=)*") {
            parse(&text);
        }
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/node:pull""#;
        let url = "https://auth.docker.io/token";
        for (texts, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["Basic realm=\"Registry\""], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (&[hub], Some(bearer(url, Some("registry.docker.io"), Some("repository:library/node:pull")))),
            (&["bEaReR realm = \"r\" , SCOPE=\"a:b:c,d\""], Some(bearer("r", None, Some("a:b:c,d")))),
            (&["Bearer realm=https://x/token,service=y"], Some(bearer("https://x/token", Some("y"), None))),
            (&[r#"Bearer realm="a\"b""#], Some(bearer("a\"b", None, None))),
            (&["Basic realm=\"x\", Bearer realm=\"y\""], Some(bearer("y", None, None))),
            (&["Basic realm=\"x\"", "Bearer realm=\"y\""], Some(bearer("y", None, None))),
            (&["Negotiate, Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["Negotiate"], None),
            (&["Bearer service=\"no realm\""], None),
            (&["Bearer realm=\"unfinished"], None),
            (&["Bearer realm="], Some(bearer("", None, None))),
            (&["=,=,\"\",Bearer"], None),
        ] {
            assert_eq!(read(texts), expected, "{texts:?}");
        }
    }
}
