//! Who is told what, when something happens to a build.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use url::Url;

use super::letter::{Letter, Target};
use super::{notice, status};
use crate::serve::build::Build;
use crate::serve::config::{Config, ConfigError, NotifyPlace};
use crate::serve::request::NotifyUrl;
use crate::serve::watched::Watched;

/// What happened to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Happened {
    /// It waits.
    Accepted,
    /// A worker is at it.
    Begun,
    /// It has come to its end.
    Ended,
}

/// Knows who is told what.
#[derive(Debug)]
pub(in crate::serve) struct Herald {
    config: Option<Watched<Config, ConfigError>>,
    /// Where people find the service.
    public_url: Option<Url>,
    heard: Notify,
}

impl Herald {
    /// Reads the configuration, if there is one.
    pub(in crate::serve) fn open(
        config: Option<&Path>,
        public_url: Option<Url>,
    ) -> Result<Self, ConfigError> {
        let open = |path: &Path| Watched::open(path, "hooks and repositories of --config", Config::read);
        let config = config.map(open).transpose()?;
        Ok(Self { config, public_url, heard: Notify::new() })
    }

    /// What the configuration says now.
    pub(in crate::serve) fn config(&self) -> Arc<Config> {
        self.config.as_ref().map_or_else(|| Arc::new(Config::default()), Watched::current)
    }

    /// Returns when there may be something to deliver.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// What is to be told of `build`. Whoever delivers is woken up; since the queue does one thing after the other, what
    /// it finds then has these letters.
    pub(in crate::serve) fn letters(&self, build: &Build, happened: Happened) -> Vec<Letter> {
        let config = self.config();
        let mut letters: Vec<Letter> =
            status::letter(&config, self.public_url.as_ref(), build, happened).into_iter().collect();
        if happened == Happened::Ended {
            self.notices(&config, build, &mut letters);
        }
        if !letters.is_empty() {
            self.heard.notify_one();
        }
        letters
    }

    fn notices(&self, config: &Config, build: &Build, letters: &mut Vec<Letter>) {
        let origin = build.origin.as_ref();
        let repository = origin.and_then(|origin| config.repository(&origin.hook, &origin.repository));
        let own = repository.map(|repository| repository.notify.as_slice()).unwrap_or_default();
        let is_wanted = |place: &&NotifyPlace| place.on.contains(&build.state);
        let configured = config.notify.iter().chain(own).filter(is_wanted).map(|place| {
            let url = NotifyUrl::new(place.url.as_str());
            Target::Notification { url, secret: place.secret.clone() }
        });
        let asked_for = build
            .notify
            .iter()
            .map(|url| Target::Notification { url: url.clone(), secret: config.signing_secret.clone() });
        let targets: Vec<Target> = configured.chain(asked_for).collect();
        if targets.is_empty() {
            return;
        }
        let subject = notice::subject(build);
        match notice::body(self.public_url.as_ref(), build, &subject) {
            Ok(body) => letters.extend(targets.into_iter().map(|target| Letter {
                build: build.id.clone(),
                subject: subject.clone(),
                target,
                body: body.clone(),
            })),
            Err(error) => tracing::error!(build = %build.id, %error, "nobody can be told of its end"),
        }
    }
}
