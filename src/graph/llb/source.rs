//! Where files come from: images, local directories, URLs.

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use url::Url;

use super::definition::{Output, platform_of};
use super::{CONTEXT, LlbError, Writer};
use crate::context::source::{GitScheme, GitSource};
use crate::graph::{BaseRequest, BaseSource, Files, Step};
use crate::layer::Digest;

impl Writer<'_> {
    pub(super) fn image(&mut self, base: &BaseRequest, step: &Step) -> Result<Output, LlbError> {
        let BaseSource::Registry(image) = &base.source else {
            return Err(LlbError::Layout {
                image: base.source.to_string(),
                place: Box::new(step.place.clone()),
            });
        };
        let op = source(format!("docker-image://{image}"), BTreeMap::new());
        let platform = platform_of(&base.platform);
        Ok(self.definition.vertex_for(&[], op, &step.name, Some(&step.place), platform))
    }

    /// The files a step reads; nothing if there are none.
    pub(super) fn files(&mut self, files: &Files) -> Option<Output> {
        match files {
            Files::Step(step) => self.output(*step),
            Files::Context(name) => Some(self.context(name.as_ref())),
        }
    }

    fn context(&mut self, name: Option<&String>) -> Output {
        let name = name.cloned();
        if let Some(output) = self.contexts.get(&name) {
            return output.clone();
        }
        let shown = name.as_deref().unwrap_or(CONTEXT);
        // The hint lets a daemon transfer only what changed since another build of the same directory.
        let mut attributes = BTreeMap::from([("local.sharedkeyhint".to_owned(), shown.to_owned())]);
        if let Some(patterns) = self.options.ignored.get(&name).filter(|patterns| !patterns.is_empty()) {
            let patterns = serde_json::Value::from(patterns.clone()).to_string();
            attributes.insert("local.excludepatterns".to_owned(), patterns);
        }
        let title = format!("[internal] load {shown}");
        let op = source(format!("local://{shown}"), attributes);
        let output = self.definition.vertex(&[], op, &title, None);
        self.contexts.insert(name, output.clone());
        output
    }

    /// A file behind a URL, and the name it has in there.
    pub(super) fn remote(&mut self, url: &str, checksum: Option<Digest>, step: &Step) -> (Output, String) {
        let name = file_name(url);
        let mut attributes = BTreeMap::from([("http.filename".to_owned(), name.clone())]);
        if let Some(checksum) = checksum {
            attributes.insert("http.checksum".to_owned(), checksum.to_string());
        }
        let output = self.definition.vertex(&[], source(url.to_owned(), attributes), &step.name, None);
        (output, name)
    }

    /// What a git repository has. The daemon asks for the login under the names that BuildKit's frontend gives it.
    pub(super) fn repository(&mut self, git: &GitSource, step: &Step) -> Output {
        let directory = git.subdirectory.as_ref().map(|path| path.to_string_lossy());
        let fragment = match (git.reference.as_deref(), &directory) {
            (None, None) => String::new(),
            (reference, None) => format!("#{}", reference.unwrap_or_default()),
            (reference, Some(directory)) => format!("#{}:{directory}", reference.unwrap_or_default()),
        };
        let identifier = format!("git://{}/{}{fragment}", git.url.host, git.url.path.trim_start_matches('/'));
        let said = |name: &str| (name.to_owned(), "true".to_owned());
        let mut attributes = BTreeMap::from([
            ("git.fullurl".to_owned(), git.url.to_string()),
            ("git.authtokensecret".to_owned(), "GIT_AUTH_TOKEN".to_owned()),
            ("git.authheadersecret".to_owned(), "GIT_AUTH_HEADER".to_owned()),
        ]);
        attributes.extend(git.keep_git_dir.filter(|keep| *keep).map(|_| said("git.keepgitdir")));
        attributes.extend((!git.submodules).then(|| said("git.skipsubmodules")));
        attributes.extend(git.fetch_by_commit.then(|| said("git.fetchbycommit")));
        attributes.extend(git.checksum.clone().map(|checksum| ("git.checksum".to_owned(), checksum)));
        if git.url.scheme == GitScheme::Ssh {
            attributes.insert("git.mountsshsock".to_owned(), "default".to_owned());
        }
        self.definition.vertex(&[], source(identifier, attributes), &step.name, None)
    }
}

fn source(identifier: String, attrs: BTreeMap<String, String>) -> pb::op::Op {
    pb::op::Op::Source(pb::SourceOp { identifier, attrs })
}

/// The last part of the path, as BuildKit's frontend names a download before it is copied.
fn file_name(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let last = parsed.as_ref().and_then(|url| url.path().split('/').rfind(|part| !part.is_empty()));
    last.unwrap_or("__unnamed__").to_owned()
}
