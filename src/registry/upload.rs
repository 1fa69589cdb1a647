//! Pushing blobs, with as few bytes as can be.
//!
//! ```text
//! mount from a repository of the same registry ─► 201: done
//!   └► HEAD ─► there: done
//!        └► session ─► small: one PUT            ─► broken: HEAD, new session
//!                   └► large: PATCH per chunk, PUT ─► broken: ask the session how far it is, go on there
//! ```

use super::auth::Scope;
use super::error::{Problem, RegistryError};
use super::operation::Operation;
use super::registries::canonical;
use super::repository::Repository;
use super::retry::Endurance;
use super::session::{Session, Setback, Target};
use super::source::BlobSource;
use crate::image::{Descriptor, RepoName};
use crate::layer::Digest;

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    AlreadyThere,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Sent,
}

impl Repository {
    /// Asks the registry to take the blob over from `from`, which must be in the same registry. `false` when it
    /// does not: it may not have the blob there, we may not read it there, or it does not do such a thing.
    pub async fn mount(&self, digest: Digest, from: &RepoName) -> Result<bool, RegistryError> {
        match self.try_mount(digest, from).await? {
            Ok(()) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(session)) => {
                let operation = Operation::PushBlob(self.name().clone(), digest);
                let scope = Scope::push(&self.upstream().path);
                let target = Target { endpoint: self.upstream(), scope: &scope, operation: &operation };
                target.cancel(session).await;
                Ok(false)
            }
        }
    }

    /// Makes sure that the repository has the blob, sending it only if nothing else helps. `mount_from` are
    /// repositories that may have it; those of other registries are passed over.
    pub async fn upload(
        &self,
        blob: &Descriptor,
        source: impl BlobSource,
        mount_from: &[RepoName],
    ) -> Result<Uploaded, RegistryError> {
        let operation = Operation::PushBlob(self.name().clone(), blob.digest);
        let scope = Scope::push(&self.upstream().path);
        // A mount also succeeds where the blob is there already, and so most often is the only question.
        let mut session = None;
        for from in mount_from {
            match self.try_mount(blob.digest, from).await? {
                Ok(()) => return Ok(Uploaded::Mounted),
                Err(Some(opened)) => {
                    session = Some(opened);
                    break;
                }
                Err(None) => {}
            }
        }
        let target = Target { endpoint: self.upstream(), scope: &scope, operation: &operation };
        if self.seems_to_have(blob.digest, &scope, &operation).await? {
            if let Some(session) = session {
                target.cancel(session).await;
            }
            return Ok(Uploaded::AlreadyThere);
        }
        let push = Push { target, repository: self, blob, source: &source };
        push.run(session).await.map(|()| Uploaded::Sent)
    }

    /// Finds out whether pushing is allowed, before there is anything to push: opens an upload and gives it up.
    pub async fn check_push(&self) -> Result<(), RegistryError> {
        let operation = Operation::CheckPush(self.name().clone());
        let scope = Scope::push(&self.upstream().path);
        let target = Target { endpoint: self.upstream(), scope: &scope, operation: &operation };
        let session = target.open().await.map_err(|setback| setback.into_problem().during(&operation))?;
        target.cancel(session).await;
        Ok(())
    }

    /// Whether the blob need not be sent. Where even the question is forbidden it does: a HEAD has no body to tell
    /// why, but the POST that follows has.
    async fn seems_to_have(
        &self,
        digest: Digest,
        scope: &Scope,
        operation: &Operation,
    ) -> Result<bool, RegistryError> {
        match self.has(digest, scope, operation).await {
            Err(error) if matches!(*error.problem, Problem::Denied { .. }) => Ok(false),
            result => result,
        }
    }

    async fn try_mount(
        &self,
        digest: Digest,
        from: &RepoName,
    ) -> Result<Result<(), Option<Session>>, RegistryError> {
        let endpoint = self.upstream();
        if canonical(from.registry()) != endpoint.host.name() || from.path() == endpoint.path {
            return Ok(Err(None));
        }
        let operation = Operation::MountBlob { into: self.name().clone(), from: from.clone(), digest };
        let scope = Scope::mount(&endpoint.path, from.path());
        let target = Target { endpoint, scope: &scope, operation: &operation };
        match target.mount(digest, from.path()).await {
            Ok(result) => Ok(result),
            Err(setback) => {
                let error = setback.into_problem().during(&operation);
                // Some token services refuse the whole request when one of the scopes is out of reach.
                if error.is_denied() { Ok(Err(None)) } else { Err(error) }
            }
        }
    }
}

/// Whether the registry mounts blobs, tried with a blob that is in the repository already.
pub(super) async fn mounts_from_itself(
    repository: &Repository,
    digest: Digest,
) -> Result<bool, RegistryError> {
    let (endpoint, name) = (repository.upstream(), repository.name().clone());
    let operation = Operation::MountBlob { into: name.clone(), from: name, digest };
    let scope = Scope::push(&endpoint.path);
    let target = Target { endpoint, scope: &scope, operation: &operation };
    let mounted = target.mount(digest, &endpoint.path).await;
    match mounted.map_err(|setback| setback.into_problem().during(&operation))? {
        Ok(()) => Ok(true),
        Err(session) => {
            if let Some(session) = session {
                target.cancel(session).await;
            }
            Ok(false)
        }
    }
}

/// One blob on its way.
struct Push<'a, S> {
    target: Target<'a>,
    repository: &'a Repository,
    blob: &'a Descriptor,
    source: &'a S,
}

impl<S: BlobSource> Push<'_, S> {
    async fn run(&self, session: Option<Session>) -> Result<(), RegistryError> {
        let during = |problem: Problem| problem.during(self.target.operation);
        let mut endurance = Endurance::new(self.target.endpoint.host.retry());
        let mut takes_chunks = true;
        let mut session = session;
        loop {
            let setback = match self.attempt(session.take(), takes_chunks).await {
                Ok(()) => return Ok(()),
                Err(setback) => setback,
            };
            let asked = match &setback {
                Setback::Final(_) => return Err(during(setback.into_problem())),
                Setback::ChunkRefused(problem) => {
                    tracing::debug!("sending the blob in one piece instead of chunks: {problem}");
                    takes_chunks = false;
                    None
                }
                Setback::SessionLost(_) => None,
                Setback::Passing(_, asked) => *asked,
            };
            match endurance.broke_at(0, asked) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(during(setback.into_problem())),
            }
            // The answer may have been lost after the work was done.
            let Target { scope, operation, .. } = self.target;
            if self.repository.seems_to_have(self.blob.digest, scope, operation).await? {
                return Ok(());
            }
        }
    }

    /// One session from its beginning to its end.
    async fn attempt(&self, session: Option<Session>, takes_chunks: bool) -> Result<(), Setback> {
        let session = match session {
            Some(session) => session,
            None => self.target.open().await?,
        };
        if takes_chunks && self.blob.size > self.repository.chunk_size() {
            self.send_chunks(session).await
        } else {
            self.target.put_whole(session, self.blob.digest, self.source, self.blob.size).await
        }
    }

    /// Sends chunk after chunk, going on where the registry says it is after each break.
    async fn send_chunks(&self, mut session: Session) -> Result<(), Setback> {
        let mut endurance = Endurance::new(self.target.endpoint.host.retry());
        let mut position = 0;
        while position < self.blob.size {
            let chunk = self.repository.chunk_size().max(session.chunk_minimum);
            let length = chunk.min(self.blob.size - position);
            match self.target.patch(session.clone(), self.source, position, length).await {
                Ok(next) => {
                    session = next;
                    position += length;
                }
                Err(Setback::Passing(problem, asked)) => {
                    let Some(delay) = endurance.broke_at(position, asked) else {
                        return Err(Setback::Final(problem));
                    };
                    tokio::time::sleep(delay).await;
                    (session, position) = self.target.status(&session).await?;
                    tracing::debug!(blob = %self.blob.digest, position, "the upload broke off, going on");
                    if position > self.blob.size {
                        return Err(Setback::SessionLost(problem));
                    }
                }
                Err(setback) => return Err(setback),
            }
        }
        self.target.close(session, self.blob.digest).await
    }
}
