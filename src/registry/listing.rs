//! What is in a registry: its repositories and their tags, which come in pages. See the OCI distribution specification,
//! "Listing tags", and the distribution project for `_catalog`.

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::answer;
use super::auth::Scope;
use super::error::{Problem, RegistryError};
use super::host::Call;
use super::lanes::Lane;
use super::operation::Operation;
use super::registries::Registries;
use super::repository::{Endpoint, Repository};
use crate::image::RepoName;

/// Names asked for at once; registries may give fewer.
const PAGE: &str = "1000";

/// Longest page, in bytes: a thousand of the longest names, several times over.
const PAGE_LIMIT: usize = 4 << 20;

/// The most names of one list. A registry that sends more, or the same page again and again, is broken.
const MAX_NAMES: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    repositories: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

impl Registries {
    /// The paths of the repositories of a registry, in its order. Some registries know no such list.
    pub async fn list_repositories(&self, registry: &str) -> Result<Vec<String>, RegistryError> {
        let name = RepoName::new(registry, "");
        let operation = Operation::ListRepositories(name.clone());
        let repository = self.repository(&name).map_err(|source| {
            let problem = Box::new(Problem::Settings { source });
            RegistryError { operation: Box::new(operation.clone()), problem }
        })?;
        let pages = Pages { endpoint: repository.upstream(), scope: Scope::catalog(), operation };
        pages.read("_catalog", |page| page.repositories, is_path).await
    }
}

impl Repository {
    /// The tags of the repository, in the registry's order. None where there is no such repository, since registries
    /// differ in whether an empty one is there.
    pub async fn list_tags(&self) -> Result<Vec<String>, RegistryError> {
        let endpoint = self.upstream();
        let scope = Scope::pull(&endpoint.path);
        let pages = Pages { endpoint, scope, operation: Operation::ListTags(self.name().clone()) };
        let path = format!("{}/tags/list", endpoint.path);
        match pages.read(&path, |page| page.tags, is_tag).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            result => result,
        }
    }
}

/// A list that is read page after page.
struct Pages<'a> {
    endpoint: &'a Endpoint,
    scope: Scope,
    operation: Operation,
}

impl Pages<'_> {
    async fn read(
        &self,
        path: &str,
        names_of: impl Fn(Page) -> Option<Vec<String>>,
        is_name: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, RegistryError> {
        let host = &self.endpoint.host;
        let during = |problem: Problem| problem.during(&self.operation);
        let mut url = host.url(path).await.map_err(during)?;
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut names = Vec::new();
        loop {
            let (page, next) = self.page(url.clone()).await?;
            let found = names_of(page).unwrap_or_default();
            if let Some(odd) = found.iter().find(|name| !is_name(name)) {
                let reason = format!("it lists `{}`, which is no name", answer::printable(odd));
                return Err(during(host.protocol(&reason)));
            }
            let is_empty = found.is_empty();
            names.extend(found);
            match next {
                Some(next) if next == url || is_empty || names.len() > MAX_NAMES => {
                    return Err(during(host.protocol("its list of names does not end")));
                }
                Some(next) => url = next,
                None => return Ok(names),
            }
        }
    }

    async fn page(&self, url: Url) -> Result<(Page, Option<Url>), RegistryError> {
        let Self { endpoint, scope, operation } = self;
        let host = &endpoint.host;
        let during = |problem: Problem| problem.during(operation);
        let repository = endpoint.name();
        let call = Call {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            scope,
            repository: &repository,
            operation,
            lane: Lane::Small,
            is_mirror: false,
        };
        let answer = host.send(&call).await.map_err(during)?;
        if !answer.response.status().is_success() {
            let refusal = answer::refusal(answer.response).await;
            return Err(during(host.problem(refusal, operation, &repository).await));
        }
        let link = answer.response.headers().get(LINK).and_then(|value| value.to_str().ok());
        let next = match link.and_then(next_page) {
            None => None,
            Some(target) => {
                let next = call.url.join(target).ok().filter(|next| host.is_own(next));
                Some(next.ok_or_else(|| during(host.protocol("its list goes on at another host")))?)
            }
        };
        let bytes = host.read(answer, "list of names", PAGE_LIMIT).await.map_err(during)?;
        let page = serde_json::from_slice(&bytes)
            .map_err(|error| during(host.protocol(&format!("its list of names is malformed: {error}"))))?;
        Ok((page, next))
    }
}

/// The address in `<ADDRESS>; rel="next"`. See RFC 8288.
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
        parameters.split(';').any(is_next).then_some(target)
    })
}

/// Whether a text is a tag. See the OCI distribution specification, "Pulling manifests".
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Whether a text is the path of a repository.
fn is_path(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.bytes().next().is_some_and(is_letter)
            && part.bytes().all(|byte| is_letter(byte) || matches!(byte, b'.' | b'_' | b'-'))
    };
    text.len() <= 255 && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (link, next) in [
            ("</v2/_catalog?last=b&n=2>; rel=\"next\"", Some("/v2/_catalog?last=b&n=2")),
            ("<a>; rel=\"first\", <b>; title=x; rel=next", Some("b")),
            ("<a>; rel=\"prev\"", None),
            ("a; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link), next, "{link}");
        }
    }

    #[test]
    fn knows_names() {
        for (text, tag, path) in [
            ("latest", true, true),
            ("1.0_a-B", true, false),
            ("team/app", false, true),
            ("team//app", false, false),
            ("../x", false, false),
            ("-x", false, false),
            ("", false, false),
            ("a\u{1b}[2J", false, false),
        ] {
            assert_eq!((is_tag(text), is_path(text)), (tag, path), "{text:?}");
        }
    }
}
