//! `RUN --mount`: from what the Dockerfile says to what the sandbox mounts.
//!
//! ```text
//! bind    tree of a context, stage or image ─► key of the step
//!                                           └► tar ─► helper unpacks it ─► directory, removed after the RUN
//! cache   id ─► directory beside the unpacked layers, locked while the RUN lasts
//! secret  bytes of the request ─► file in memory, made inside the sandbox
//! ssh     socket of its own ─► the user's agent
//! ```

mod bind;
mod cache;
mod secret;
mod ssh;
mod supply;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use bind::Shown;
pub(super) use cache::Renewed;
use cache::{Cache, CacheRequest};
use ssh::Forwarder;
pub use supply::{AgentSource, SecretSource, SecretValue, Supplies, SupplyError};

use super::error::StepError;
use super::sandbox::{Access, Files, Mount, MountKind, Sandbox};
use super::solve::SolverSettings;
use crate::dockerfile::{CacheSharing, Mount as Wanted};
use crate::graph::{RunMount, RunStep};
use crate::layer::Digest;

/// Why a mount cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// A secret that must be there was not given.
    #[error(
        "secret {id}: not found; give it with `--secret id={id},src=FILE` or `--secret id={id},env=NAME`"
    )]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// A secret cannot be a variable.
    #[error(
        "secret {id}: it is no UTF-8 text without zero bytes, so it cannot be a variable; use it as a file"
    )]
    NotText {
        /// Its name.
        id: String,
    },
    /// An agent that must be there was not given.
    #[error("SSH agent {id}: not found; forward one with `--ssh {id}`, or `--ssh {id}=SOCKET`")]
    NoAgent {
        /// Its name.
        id: String,
    },
    /// A cache cannot begin with a file.
    #[error("`{path}` is not a directory, so a cache cannot begin with it")]
    SeedIsFile {
        /// The `source`.
        path: String,
    },
}

/// What a RUN is given besides its root. Dropping it takes everything away again.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// For the sandbox, in the order in which they are mounted.
    pub(super) mounts: Vec<Mount>,
    /// Variables that come from mounts.
    pub(super) env: Vec<(String, String)>,
    /// Kept until the command has ended, like those below.
    files: Vec<Files>,
    caches: Vec<Arc<Cache>>,
    agents: Vec<Forwarder>,
}

/// What mounts are made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation<'a> {
    pub(super) run: &'a RunStep,
    pub(super) shown: &'a [Option<Shown>],
    pub(super) sandbox: &'a Sandbox,
    pub(super) settings: &'a SolverSettings,
    pub(super) supplies: &'a Supplies,
    pub(super) renewed: &'a Renewed,
}

/// What a mount is, for the key of its step: neither where files come from nor what a secret or a cache holds.
pub(super) fn identity(mount: &RunMount, shown: Option<Digest>) -> String {
    let key = shown.map(|key| key.hex()).unwrap_or_default();
    match &mount.mount {
        Wanted::Bind(bind) => format!("bind {:?} {} {key}", bind.target, bind.read_write),
        Wanted::Cache(cache) => {
            let cache = crate::dockerfile::CacheMount { from: None, source: String::new(), ..cache.clone() };
            format!("{cache:?} {key}")
        }
        other => format!("{other:?}"),
    }
}

impl Preparation<'_> {
    /// Makes everything ready. May wait for caches that others use, and does so last.
    pub(super) fn prepare(self) -> Result<Prepared, StepError> {
        let mut prepared = Prepared::default();
        let mut directories: Vec<Mount> = Vec::new();
        let mut caches = Vec::new();
        let mut last = Vec::new();
        for (mount, shown) in self.run.mounts.iter().zip(self.shown) {
            let at = |source| StepError::Mount { source, span: mount.span };
            match (&mount.mount, shown) {
                (Wanted::Tmpfs(tmpfs), _) => {
                    let kind = MountKind::Tmpfs { size: tmpfs.size };
                    directories.push(Mount { target: (&tmpfs.target).into(), kind });
                }
                (Wanted::Bind(bind), shown) => {
                    let Some(shown) = shown else { continue };
                    let files = bind::lay_out(&shown.node, Some(shown), self.sandbox, self.settings)?;
                    let access = if bind.read_write { Access::ReadWrite } else { Access::ReadOnly };
                    let kind = MountKind::Bind { source: files.source(bind::NAME), access };
                    prepared.files.push(files);
                    directories.push(Mount { target: (&bind.target).into(), kind });
                }
                (Wanted::Cache(cache), shown) => {
                    caches.push((CacheRequest::new(cache, shown.as_ref(), mount.span), cache));
                }
                (Wanted::Secret(wanted), _) => {
                    last.extend(secret::file(wanted, self.supplies).map_err(at)?);
                    prepared.env.extend(secret::variable(wanted, self.supplies).map_err(at)?);
                }
                (Wanted::Ssh(wanted), _) => {
                    let target = wanted.target.clone().unwrap_or_default();
                    match self.supplies.agents.get(&wanted.id) {
                        None if wanted.required => {
                            return Err(at(MountError::NoAgent { id: wanted.id.clone() }));
                        }
                        None => {}
                        Some(agent) => {
                            let agent = Forwarder::begin(wanted, Arc::clone(agent), self.sandbox)?;
                            let kind = MountKind::Bind { source: agent.source(), access: Access::ReadWrite };
                            prepared.agents.push(agent);
                            last.push(Mount { target: (&target).into(), kind });
                        }
                    }
                    // The first one, also when it is not there; as BuildKit.
                    let known = |(name, _): &(String, String)| name == SSH_VARIABLE;
                    if !self.run.env.iter().chain(&prepared.env).any(known) {
                        prepared.env.push((SSH_VARIABLE.to_owned(), target));
                    }
                }
            }
        }
        let held = self.acquire(caches.iter().map(|(request, _)| request))?;
        for (request, cache) in &caches {
            let Some(held) = held.get(request.name()) else { continue };
            let access = if cache.read_only { Access::ReadOnly } else { Access::ReadWrite };
            let kind = MountKind::Bind { source: held.source.clone(), access };
            directories.push(Mount { target: (&cache.target).into(), kind });
        }
        prepared.caches.extend(held.into_values());
        // What is inside another mount comes after it, whatever their order in the Dockerfile.
        directories.sort_by(|one, other| one.target.cmp(&other.target));
        prepared.mounts.extend(directories);
        prepared.mounts.extend(last);
        Ok(prepared)
    }

    /// Takes each cache directory once, with the strictest sharing of those who want it, in the order of their names.
    fn acquire<'a>(
        self,
        requests: impl Iterator<Item = &'a CacheRequest<'a>>,
    ) -> Result<BTreeMap<String, Arc<Cache>>, StepError> {
        let mut wanted: BTreeMap<&str, (&CacheRequest<'_>, CacheSharing)> = BTreeMap::new();
        for request in requests {
            let (_, sharing) = wanted.entry(request.name()).or_insert((request, request.sharing()));
            *sharing = (*sharing).max(request.sharing());
        }
        wanted
            .into_iter()
            .map(|(name, (request, sharing))| {
                let cache = request.acquire(sharing, self.sandbox, self.settings, self.renewed)?;
                Ok((name.to_owned(), cache))
            })
            .collect()
    }
}

/// Where SSH clients look for their agent.
const SSH_VARIABLE: &str = "SSH_AUTH_SOCK";
