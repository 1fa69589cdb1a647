//! Connections to git servers.

mod daemon;
mod http;
mod known_hosts;
mod metered;
mod ssh;

use std::sync::{Arc, Mutex, PoisonError};

use gix::protocol::transport::client::blocking_io::Transport;
pub(crate) use metered::Received;
pub use ssh::SshError;

use super::GitError;
use super::remote::{Asker, Server};
use crate::context::fetch::Access;
use crate::context::source::GitScheme;
use crate::registry::Registries;

/// What a connection is made with.
pub(super) struct Connecting<'a> {
    pub(super) server: Server<'a>,
    pub(super) registries: &'a Registries,
    pub(super) access: &'a Access,
    pub(super) asker: Asker,
    pub(super) received: &'a Arc<Received>,
}

/// A connection, and where it tells what it met: the library passes errors on as texts only.
pub(super) struct Connected {
    pub(super) transport: Box<dyn Transport + Send>,
    pub(super) problem: Problem,
}

/// What a connection met.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem(Arc<Mutex<Option<GitError>>>);

impl Problem {
    /// Keeps the first one.
    fn tell(&self, error: GitError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// What it was, if there was one.
    pub(super) fn take(&self) -> Option<GitError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Connects. With HTTP nothing is sent yet.
pub(super) fn connect(connecting: &Connecting<'_>) -> Result<Connected, GitError> {
    match connecting.server.url.scheme {
        GitScheme::Http | GitScheme::Https => http::connect(connecting),
        GitScheme::Git => daemon::connect(connecting),
        GitScheme::Ssh => ssh::connect(connecting),
    }
}
