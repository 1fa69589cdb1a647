//! What does not stay: old records, uploads that nobody builds any more, and what the store has too much of.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::build::Moment;
use super::{Service, journal, upload};
use crate::store::{PruneLimits, Store};

/// How often is looked.
const PAUSE: Duration = Duration::from_mins(1);

/// How often the store is looked through, unless the disk is full: it takes as long as the store is large.
const PRUNE_EVERY: u32 = 10;

/// An upload is older than this before it is taken away, so that its request is queued by then.
const FRESH: Duration = Duration::from_mins(10);

/// How long webhooks are remembered: what comes again in that time is known.
const KEEP_PUSHES: Duration = Duration::from_hours(30 * 24);

/// Tidies up until the service stops.
pub(super) async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let mut round = 0_u32;
    while !*stopping.borrow() {
        if let Err(error) = forget(&service).await {
            tracing::error!(error, "tidying up fails");
        }
        let free = upload::free_space(&service.settings.data).unwrap_or(u64::MAX);
        let missing = service.settings.min_free.saturating_sub(free);
        let has_limits =
            service.settings.store_max_size.is_some() || service.settings.store_max_age.is_some();
        if missing > 0 || has_limits && round.is_multiple_of(PRUNE_EVERY) {
            let service = Arc::clone(&service);
            let pruned = tokio::task::spawn_blocking(move || prune(&service, missing)).await;
            if let Ok(Err(error)) = pruned {
                tracing::error!(error, "the store cannot be pruned");
            }
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// Milliseconds of a time that is not in the future.
fn ago(time: Duration) -> Moment {
    Moment(Moment::now().0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
}

async fn forget(service: &Service) -> Result<(), String> {
    let settings = &service.settings;
    let described = |error: &dyn std::error::Error| crate::pipeline::describe(error);
    loop {
        let forgotten =
            service.queue.forget(ago(settings.keep_builds)).await.map_err(|error| described(&error))?;
        if forgotten.is_empty() {
            break;
        }
        for id in forgotten {
            let path = journal::directory(&settings.data, &id);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
                _ => {}
            }
        }
    }
    let answered = service.queue.forget_pushes(ago(KEEP_PUSHES)).await;
    answered.map_err(|error| described(&error))?;
    let uploads = settings.data.join("uploads");
    let entries = std::fs::read_dir(&uploads).map_err(|error| error.to_string())?;
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        let age = entry
            .metadata()
            .and_then(|metadata| std::fs::Metadata::modified(&metadata))
            .map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that is being received is written to all the time; one that is left of a killed service is not.
        let is_fresh = age.is_ok_and(|age| age < FRESH);
        if is_fresh {
            continue;
        }
        let since = ago(settings.keep_uploads);
        let is_wanted = !name.starts_with("incoming-")
            && service.queue.has_upload(name, since).await.map_err(|error| described(&error))?;
        if !is_wanted {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Prunes the store to its limits, and further if `missing` bytes of free disk are wanted. Blocks.
fn prune(service: &Service, missing: u64) -> Result<(), String> {
    let settings = &service.settings;
    if !settings.store.is_dir() {
        return Ok(());
    }
    let failed = |error| crate::pipeline::describe(&error);
    let store = Store::open(settings.store.clone()).map_err(failed)?;
    let mut max_size = settings.store_max_size;
    if missing > 0 {
        let size: u64 = store.items().map_err(failed)?.iter().map(|item| item.size).sum();
        let smaller = size.saturating_sub(missing);
        max_size = Some(max_size.map_or(smaller, |most| most.min(smaller)));
    }
    let limits = PruneLimits { max_size, max_age: settings.store_max_age, dry_run: false };
    let pruned = store.prune(limits).map_err(failed)?;
    if !pruned.removed.is_empty() {
        let freed: u64 = pruned.removed.iter().map(|item| item.size).sum();
        tracing::info!(items = pruned.removed.len(), freed, left = pruned.left, "the store was pruned");
    }
    Ok(())
}
