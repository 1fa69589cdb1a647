//! A watch that goes on until somebody stops listening.

use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::error::ApiError;

/// How long the API server may be out of reach.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long is waited before a watch that has lost its place begins anew.
const PAUSE: Duration = Duration::from_millis(500);

/// What a watch tells of objects.
#[derive(Debug)]
pub(super) enum Change<K> {
    /// It is like this now.
    Is(Box<K>),
    /// It was deleted.
    Gone(Box<K>),
    /// There is none.
    None,
}

/// Tells every change of the objects until nobody listens, or until there is no hope; that is told as well.
pub(super) async fn watch<K, N>(
    api: Api<K>,
    config: watcher::Config,
    notice: impl Fn(Result<Change<K>, ApiError>) -> N,
    notices: mpsc::Sender<N>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut failing_since = None;
    // The library lists anew when the server says 410 in a watch, but not when it refuses to begin one with it.
    while let Some(again) = once(&api, &config, &notice, &notices, &mut failing_since).await {
        tokio::time::sleep(again).await;
    }
}

/// One watch. How long to wait before the next, if there is to be one.
async fn once<K, N>(
    api: &Api<K>,
    config: &watcher::Config,
    notice: &impl Fn(Result<Change<K>, ApiError>) -> N,
    notices: &mpsc::Sender<N>,
    failing_since: &mut Option<Instant>,
) -> Option<Duration>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = pin!(watcher(api.clone(), config.clone()).default_backoff());
    let mut is_empty = true;
    while let Some(event) = events.next().await {
        let told = match event {
            Ok(event) => {
                *failing_since = None;
                match event {
                    Event::Apply(object) => Ok(Change::Is(Box::new(object))),
                    Event::InitApply(object) => {
                        is_empty = false;
                        Ok(Change::Is(Box::new(object)))
                    }
                    Event::Delete(object) => Ok(Change::Gone(Box::new(object))),
                    Event::Init => {
                        is_empty = true;
                        continue;
                    }
                    Event::InitDone if is_empty => Ok(Change::None),
                    Event::InitDone => continue,
                }
            }
            Err(error) => {
                let is_beginning = matches!(error, watcher::Error::WatchStartFailed(_));
                let source = ApiError::from(error);
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !source.is_final() && since.elapsed() < PATIENCE {
                    tracing::debug!("a watch fails: {source}");
                    if is_beginning && source.code() == Some(410) {
                        return Some(PAUSE);
                    }
                    continue;
                }
                Err(source)
            }
        };
        let is_over = told.is_err();
        if notices.send(notice(told)).await.is_err() || is_over {
            return None;
        }
    }
    None
}
