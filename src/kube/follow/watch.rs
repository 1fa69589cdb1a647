//! A watch that goes on until somebody stops listening.

use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::WatchStreamExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Notice;
use crate::kube::ApiError;

/// How long the API server may be out of reach.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a watch tells of objects.
pub(in crate::kube) enum Change<K> {
    /// It is like this now.
    Is(K),
    /// It was deleted.
    Gone(K),
    /// There is none.
    None,
}

/// Tells every change of the objects until nobody listens, or until there is no hope.
pub(super) async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    action: &'static str,
    notice: impl Fn(Change<K>) -> Notice,
    notices: mpsc::Sender<Notice>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = pin!(watcher(api, config).default_backoff());
    let (mut is_empty, mut failing_since) = (true, None);
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(event) => {
                failing_since = None;
                match event {
                    Event::Apply(object) => Change::Is(object),
                    Event::InitApply(object) => {
                        is_empty = false;
                        Change::Is(object)
                    }
                    Event::Delete(object) => Change::Gone(object),
                    Event::Init => {
                        is_empty = true;
                        continue;
                    }
                    Event::InitDone if is_empty => Change::None,
                    Event::InitDone => continue,
                }
            }
            Err(error) => {
                let source = ApiError::from(error);
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !source.is_final() && since.elapsed() < PATIENCE {
                    tracing::debug!("{action}: {source}");
                    continue;
                }
                // Nobody listens any more if this fails.
                let _ = notices.send(Notice::Lost { action, source }).await;
                return;
            }
        };
        if notices.send(notice(change)).await.is_err() {
            return;
        }
    }
}
