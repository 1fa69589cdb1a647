//! One build of a repository: which pushes it is for, and the request that they become.

use std::collections::BTreeMap;

use super::template::{Template, Values};
use crate::image::ImageRef;
use crate::serve::access::Patterns;
use crate::serve::request::{Context, GitContext, Request};

/// One build of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Rule {
    /// Unique in its repository.
    pub(in crate::serve) name: String,
    pub(super) branches: Patterns,
    pub(super) tags: Patterns,
    /// Paths of which one must have changed.
    pub(super) paths: Patterns,
    /// Paths that do not count.
    pub(super) ignore_paths: Patterns,
    /// All of the request that is the same for every push. Its context has the address and the directory.
    pub(super) request: Request,
    pub(super) git: GitContext,
    pub(super) destinations: Vec<Template>,
    pub(super) build_args: BTreeMap<String, Template>,
    pub(super) labels: BTreeMap<String, Template>,
}

/// Why a push makes no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of an image")]
pub(in crate::serve) struct BadDestination(String);

impl Rule {
    /// Why a push is not for this build; `None` if it is. `paths` are what has changed, if that is known.
    pub(in crate::serve) fn refuses(
        &self,
        values: &Values,
        paths: Option<&[String]>,
    ) -> Option<&'static str> {
        let is_ref = match (&values.branch, &values.tag) {
            (Some(branch), _) => self.branches.matches(branch),
            (None, Some(tag)) => self.tags.matches(tag),
            (None, None) => false,
        };
        if !is_ref {
            return Some("no pattern of branches or tags matches");
        }
        let counts = |path: &String| self.paths.matches(path) && !self.ignore_paths.matches(path);
        if paths.is_some_and(|paths| !paths.iter().any(counts)) {
            return Some("no changed path matches");
        }
        None
    }

    /// The request for a push. `reference` is the full name of what was pushed.
    pub(in crate::serve) fn request(
        &self,
        values: &Values,
        reference: &str,
    ) -> Result<Request, BadDestination> {
        let filled = self.destinations.iter().filter_map(|template| template.fill(values));
        let tags = filled
            .map(|text| text.parse::<ImageRef>().map_err(|_| BadDestination(text)))
            .collect::<Result<_, _>>()?;
        let fill = |templates: &BTreeMap<String, Template>| {
            let filled = templates.iter().map(|(name, template)| (name.clone(), template.fill_all(values)));
            filled.collect()
        };
        let git = GitContext {
            reference: Some(reference.to_owned()),
            commit: Some(values.commit.clone()),
            ..self.git.clone()
        };
        Ok(Request {
            context: Some(Context::Git(git)),
            tags,
            build_args: fill(&self.build_args),
            labels: fill(&self.labels),
            ..self.request.clone()
        })
    }
}
