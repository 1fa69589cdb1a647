//! Build arguments and the environment that words are expanded in.

use std::collections::BTreeMap;

use super::PlanRequest;
use crate::dockerfile::{Diagnostic, Variables, expand};
use crate::image::Platform;

/// Names and values in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pairs: Vec<(String, String)>,
    positions: BTreeMap<String, usize>,
}

impl Environment {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some((_, found)) = self.positions.get(name).and_then(|position| self.pairs.get_mut(*position))
        {
            value.clone_into(found);
        } else {
            self.positions.insert(name.to_owned(), self.pairs.len());
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<&str> {
        let position = self.positions.get(name)?;
        self.pairs.get(*position).map(|(_, value)| value.as_str())
    }
}

/// Arguments that every RUN sees without declaration, and that no cache key or history mentions.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Arguments that a stage may declare to be scanned, but that are no environment of a RUN.
const SCANNED: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// The arguments before the first `FROM`, and the predefined ones.
#[derive(Debug, Clone)]
pub(super) struct Globals {
    values: Environment,
}

impl Globals {
    pub(super) fn new(request: &PlanRequest<'_>) -> Result<Self, Diagnostic> {
        let mut values = Environment::default();
        for (prefix, platform) in [("BUILD", request.build_platform), ("TARGET", request.platform)] {
            for (name, value) in platform_arguments(platform) {
                values.set(&format!("{prefix}{name}"), &value);
            }
        }
        let last = request.dockerfile.stages.last().and_then(|stage| stage.name.as_ref());
        let target = request.target.or(last.map(|name| name.text.as_str()));
        values.set("TARGETSTAGE", target.unwrap_or("default"));
        for (name, value) in request.build_args {
            if Variables::get(&values, name).is_some() {
                values.set(name, value);
            }
        }
        for located in &request.dockerfile.globals {
            for argument in &located.value {
                let name = &argument.name.text;
                match (request.build_args.get(name), &argument.default) {
                    (Some(value), _) => values.set(name, value),
                    (None, Some(default)) => {
                        let expanded = expand(default, &values, request.dockerfile.directives.escape)?;
                        values.set(name, &expanded.text);
                    }
                    (None, None) => {}
                }
            }
        }
        Ok(Self { values })
    }
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<&str> {
        Variables::get(&self.values, name)
    }
}

fn platform_arguments(platform: &Platform) -> [(&'static str, String); 5] {
    [
        ("PLATFORM", platform.to_string()),
        ("OS", platform.os().to_owned()),
        ("OSVERSION", platform.os_version().unwrap_or_default().to_owned()),
        ("ARCH", platform.architecture().to_owned()),
        ("VARIANT", platform.variant().unwrap_or_default().to_owned()),
    ]
}

/// Whether an argument of this name becomes part of a RUN's environment.
pub(super) fn is_environment(name: &str) -> bool {
    !SCANNED.contains(&name)
}

/// The proxy settings among the build arguments, in both cases, as BuildKit gives them to every RUN.
pub(super) fn proxies(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in PROXIES {
        let value =
            build_args.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        if let Some(value) = value {
            found.push((name.to_owned(), value.clone()));
            found.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    found
}

/// The build argument of BuildKit's that names the host a RUN sees.
const HOSTNAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// What a RUN finds as its host name; the same as with BuildKit, because some programs write it down.
const HOSTNAME: &str = "buildkitsandbox";

/// The host name that a RUN sees.
pub(super) fn hostname(build_args: &BTreeMap<String, String>) -> String {
    let given = build_args.get(HOSTNAME_ARGUMENT).filter(|name| !name.is_empty());
    given.map_or(HOSTNAME, String::as_str).to_owned()
}

/// The build argument of BuildKit's that keeps the caches of projects apart.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// What is put before the id of every cache mount.
pub(super) fn cache_namespace(build_args: &BTreeMap<String, String>) -> Option<&str> {
    build_args.get(CACHE_NAMESPACE).map(String::as_str).filter(|name| !name.is_empty())
}
