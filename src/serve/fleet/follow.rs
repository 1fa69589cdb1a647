//! What a build's pod says, into the journal. Every replica reads it for itself: the same lines in the same order, so that the
//! id of an event means the same in all of them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;

use super::{Fleet, end, record, show};
use crate::kube::{self, Follow, JobResult, KubeError, Line};
use crate::pipeline::describe;
use crate::serve::Service;
use crate::serve::build::{BuildId, Built, Ending};
use crate::serve::journal::{self, Journal};

/// How long is waited before a Job is followed again.
const PAUSE: Duration = Duration::from_secs(5);

/// Follows a Job to its end, and sees to it that the end is written.
pub(super) async fn run(service: Arc<Service>, job: Job, id: BuildId, was_ended: bool) {
    let Some(fleet) = &service.fleet else { return };
    // The semaphore is never closed.
    let _permit = if was_ended { fleet.old_logs.acquire().await.ok() } else { None };
    let directory = journal::directory(&service.settings.data, &id);
    let opened = std::fs::create_dir_all(&directory)
        .and_then(|()| Journal::open(&directory, service.settings.max_log));
    let journal = match opened {
        Ok(journal) => journal,
        Err(error) => {
            tracing::error!(build = %id, %error, "the log of a build cannot be kept; other replicas follow it");
            if let Some(known) = fleet.known().get_mut(&id) {
                known.has_followed = true;
            }
            return;
        }
    };
    let Some(ending) = follow(&service, fleet, &job, &id, journal).await else { return };
    if was_ended {
        return;
    }
    let name = job.metadata.name.clone().unwrap_or_default();
    end::settle(&service, fleet, &name, &ending).await;
    if let Some(known) = fleet.known().get_mut(&id) {
        known.has_followed = true;
    }
    // What is written there counts, whoever has written it.
    let told = match kube::get(&fleet.cluster, &name).await {
        Ok(Some(job)) => show(&service, fleet, &job).await.map_err(|error| describe(&error)),
        Ok(None) => Ok(()),
        // The watch tells of it.
        Err(error) => Err(describe(&error)),
    };
    if let Err(error) = told {
        tracing::warn!(build = %id, error, "its end cannot be shown yet");
    }
}

/// How it ended; `None` if its Job is gone.
async fn follow(
    service: &Arc<Service>,
    fleet: &Fleet,
    job: &Job,
    id: &BuildId,
    mut journal: Journal,
) -> Option<Ending> {
    let mut taken = 0_usize;
    loop {
        let mut line_number = 0_usize;
        let mut show = |line| match line {
            Line::Log(text) => {
                line_number += 1;
                // A log that is read again begins at its beginning.
                if line_number > taken {
                    taken = line_number;
                    if let Err(error) = journal.take(text.as_bytes()) {
                        tracing::error!(build = %id, %error, "the log of a build cannot be kept");
                    }
                    service.hub.tell(id);
                }
            }
            Line::Event(text) => {
                tracing::debug!(build = %id, text, "the cluster");
                let (service, id) = (Arc::clone(service), id.clone());
                tokio::spawn(async move {
                    let noted = service.queue.note_cluster(id.clone(), text).await;
                    if noted.is_ok() {
                        service.hub.tell(&id);
                    }
                });
            }
        };
        let following = Follow { cluster: &fleet.cluster, job, wants_log: true, show: &mut show };
        let failed = |error: String, exit_code| Some(Ending::Failed { error, exit_code });
        match following.run().await {
            Ok(JobResult::Built { digest }) => {
                let tags = record::read(job).map(|build| build.request.tags).unwrap_or_default();
                let images = tags.iter().map(ToString::to_string).collect();
                return Some(Ending::Succeeded(Built { digest, images }));
            }
            Ok(JobResult::Failed { reason, code }) => {
                // The options of `cooper submit` are fields of a request here.
                let reason = reason.replace("`--deadline`", "`timeout`");
                return failed(reason.replace("`--limits memory=2Gi`", "`memory`"), Some(code));
            }
            Err(KubeError::Deleted { .. }) => return None,
            Err(error @ (KubeError::NotAdmitted { .. } | KubeError::NoDigest { .. })) => {
                return failed(describe(&error), None);
            }
            Err(error) => {
                tracing::warn!(build = %id, error = describe(&error), "a Job cannot be followed; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
