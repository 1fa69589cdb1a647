//! What a message says, whoever sent it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::context::source::is_commit_id;

/// Most characters of what people have written.
const MAX_TEXT: usize = 200;

/// The longest name of a branch or tag.
const MAX_REFERENCE: usize = 250;

/// Why a message makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::serve) enum PayloadError {
    #[error("the message is no JSON: set the content type of the webhook to `application/json`")]
    Form,
    #[error("the message makes no sense: {0}")]
    Json(String),
    #[error("`{0}` is no id of a commit")]
    Commit(String),
    #[error("the message says that it was sent at `{0}`, which is too long ago or no time")]
    Old(String),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) enum Event {
    /// Something new is there.
    Push(Box<Push>),
    /// Nothing to build, and why.
    Ignored(String),
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) enum Reference {
    Branch(String),
    Tag(String),
}

/// A push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Push {
    /// As its provider calls it.
    pub(in crate::serve) repository: String,
    pub(in crate::serve) reference: Reference,
    pub(in crate::serve) commit: String,
    pub(in crate::serve) author: Option<String>,
    /// One line.
    pub(in crate::serve) message: Option<String>,
    /// Where the commit is shown.
    pub(in crate::serve) link: Option<String>,
    /// All files that have changed, if it says so.
    pub(in crate::serve) paths: Option<Vec<String>>,
}

/// A commit as GitHub, GitLab and Gitea tell of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) url: Option<String>,
    pub(super) author: Option<Author>,
    #[serde(default)]
    added: Option<Vec<String>>,
    #[serde(default)]
    removed: Option<Vec<String>>,
    #[serde(default)]
    modified: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Author {
    pub(super) name: Option<String>,
}

/// All files that `commits` have changed; `None` if one of them does not say.
pub(super) fn paths(commits: &[Commit]) -> Option<Vec<String>> {
    if commits.is_empty() {
        return None;
    }
    let lists = commits.iter().flat_map(|commit| [&commit.added, &commit.removed, &commit.modified]);
    let lists: Option<Vec<&Vec<String>>> = lists.map(Option::as_ref).collect();
    Some(lists?.into_iter().flatten().cloned().collect())
}

impl Push {
    /// The push of `commit` to `reference`, a full name; or why it is not built.
    pub(super) fn of(
        repository: String,
        reference: &str,
        commit: &str,
        told: Option<&Commit>,
    ) -> Result<Event, PayloadError> {
        let name = |prefix: &str| {
            let name = reference.strip_prefix(prefix)?;
            let is_good = !name.is_empty()
                && reference.len() <= MAX_REFERENCE
                && !name.contains(|c: char| c.is_control() || c.is_whitespace());
            is_good.then(|| name.to_owned())
        };
        let kind =
            name("refs/heads/").map(Reference::Branch).or_else(|| name("refs/tags/").map(Reference::Tag));
        let Some(kind) = kind else {
            return Ok(Event::Ignored(format!("`{}` is no branch and no tag", line(reference))));
        };
        if !is_commit_id(commit) {
            return Err(PayloadError::Commit(line(commit)));
        }
        if is_nothing(commit) {
            return Ok(Event::Ignored(format!("`{reference}` was deleted")));
        }
        let author = told.and_then(|commit| commit.author.as_ref()?.name.as_deref());
        Ok(Event::Push(Box::new(Self {
            repository,
            reference: kind,
            commit: commit.to_owned(),
            author: author.map(line),
            message: told.map(|commit| line(&commit.message)),
            link: told.and_then(|commit| link(commit.url.as_deref()?)),
            paths: None,
        })))
    }
}

impl Event {
    /// What is no push is not built.
    pub(super) fn other_than_push(kind: &str) -> Self {
        Self::Ignored(format!("only pushes are built, and this is an event `{}`", line(kind)))
    }

    /// Nor is what is gone.
    pub(super) fn deleted(reference: &str) -> Self {
        Self::Ignored(format!("`{}` was deleted", line(reference)))
    }

    /// The same with the files that have changed.
    pub(super) fn changing(mut self, changed: Option<Vec<String>>) -> Self {
        if let Self::Push(push) = &mut self
            && matches!(push.reference, Reference::Branch(_))
        {
            push.paths = changed;
        }
        self
    }
}

impl Reference {
    /// Like `refs/heads/main`.
    pub(in crate::serve) fn full(&self) -> String {
        match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
        }
    }
}

/// Whether an id stands for no commit.
pub(super) fn is_nothing(commit: &str) -> bool {
    commit.bytes().all(|byte| byte == b'0')
}

/// The first line, not all too long.
pub(super) fn line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// A text that browsers may be sent to.
pub(super) fn link(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && text.len() <= 1000).then(|| url.to_string())
}

/// Reads what was sent as JSON.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, PayloadError> {
    if body.starts_with(b"payload=") {
        return Err(PayloadError::Form);
    }
    serde_json::from_slice(body).map_err(|error| PayloadError::Json(error.to_string()))
}
