//! The last step of a build that is to be deployed, with its place in the record and in the stream of events.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Service;
use super::build::{Build, Built, Ending, Moment};
use super::deploy::{self, Deployment, News};
use super::journal::Journal;
use super::runner::Next;
use super::worker::Stop;
use crate::event::{ActivityId, ActivityKind, BuildEvent, EventKind, Outcome, OutputStream, Subject};

/// The names of activities here; those of a worker count from 1.
const FIRST_ACTIVITY: u64 = 1 << 32;

/// Why it ended before its time.
enum Early {
    TooLate,
    Stop(Stop),
}

/// Rolls out what was pushed, for as long as the build may take.
pub(super) async fn run(
    service: &Service,
    build: &Build,
    built: Built,
    journal: &mut Journal,
    stop: impl Future<Output = Stop>,
) -> io::Result<Next> {
    let failed = |error: String| Ok(Next::End(Ending::Failed { error, exit_code: None }));
    let deployments = match service.deployer.plan(build, built.digest) {
        Ok(deployments) => deployments,
        Err(reason) => return failed(format!("the image is pushed, but cannot be deployed: {reason}")),
    };
    let mut told = Telling {
        service,
        build,
        built,
        journal,
        since: vec![Instant::now(); deployments.len()],
        deployments: deployments.clone(),
    };
    told.keep().await?;
    // Who waits for room finds some.
    service.wake.notify_one();
    let begun = deploy::begun_at(build);
    let used = Duration::from_millis((Moment::now().0 - begun.0).max(0).unsigned_abs());
    let left = Duration::from_secs(build.timeout_seconds).saturating_sub(used);
    let deadline = tokio::time::sleep(left);
    let (sender, mut news) = mpsc::unbounded_channel();
    let rolling = service.deployer.roll_out(&deployments, &sender);
    tokio::pin!(rolling, deadline, stop);
    let ended = loop {
        tokio::select! {
            biased;
            Some(news) = news.recv() => told.take(&news).await?,
            ended = &mut rolling => break Ok(ended),
            () = &mut deadline => break Err(Early::TooLate),
            stop = &mut stop => break Err(Early::Stop(stop)),
        }
    };
    while let Ok(news) = news.try_recv() {
        told.take(&news).await?;
    }
    match ended {
        Ok(Ok(())) => Ok(Next::End(Ending::Succeeded(told.built))),
        Ok(Err((index, reason))) => {
            told.said(index, OutputStream::Stderr, &reason)?;
            told.ended(index, Outcome::Failed)?;
            let error = deploy::failed(&mut told.deployments, index, &reason);
            told.keep().await?;
            failed(error)
        }
        Err(Early::TooLate) => {
            let error = format!(
                "the image is pushed, but the build took longer than {} seconds before it was deployed",
                build.timeout_seconds
            );
            told.stopped("the build took too long").await?;
            failed(error)
        }
        Err(Early::Stop(Stop::Cancel)) => {
            told.stopped("cancelled").await?;
            told.journal.note("cancelled")?;
            let reason = "cancelled while it was being deployed; the image is pushed".to_owned();
            Ok(Next::End(Ending::Cancelled { reason }))
        }
        Err(Early::Stop(Stop::Shutdown)) => Ok(Next::HandBack),
    }
}

struct Telling<'a> {
    service: &'a Service,
    build: &'a Build,
    built: Built,
    journal: &'a mut Journal,
    deployments: Vec<Deployment>,
    /// When each was begun.
    since: Vec<Instant>,
}

impl Telling<'_> {
    /// Writes the record.
    async fn keep(&self) -> io::Result<()> {
        let id = self.build.id.clone();
        let kept = self.service.queue.deploying(id, self.built.clone(), self.deployments.clone());
        kept.await.map_err(io::Error::other)?;
        self.service.hub.tell(&self.build.id);
        Ok(())
    }

    async fn take(&mut self, news: &News) -> io::Result<()> {
        deploy::note(&mut self.deployments, news);
        match news {
            News::Begun(index) => {
                if let Some(since) = self.since.get_mut(*index) {
                    *since = Instant::now();
                }
                let target = self.deployments.get(*index).map(|deployment| deployment.target.clone());
                self.event(EventKind::Begun {
                    id: activity(*index),
                    activity: ActivityKind::Export,
                    name: format!("deploy to {}", target.unwrap_or_default()),
                    subject: Subject::Other,
                })?;
            }
            News::Said(index, text) => self.said(*index, OutputStream::Stdout, text)?,
            News::Ended(index) => self.ended(*index, Outcome::Done)?,
        }
        self.keep().await
    }

    async fn stopped(&mut self, why: &str) -> io::Result<()> {
        for index in 0..self.deployments.len() {
            if self.deployments[index].state == deploy::DeploymentState::Running {
                self.ended(index, Outcome::Stopped)?;
            }
        }
        deploy::stopped(&mut self.deployments, why);
        self.keep().await
    }

    fn said(&mut self, index: usize, stream: OutputStream, text: &str) -> io::Result<()> {
        let mut lines = text.lines();
        lines.try_for_each(|line| {
            self.event(EventKind::Output { id: activity(index), stream, line: line.to_owned() })
        })
    }

    fn ended(&mut self, index: usize, outcome: Outcome) -> io::Result<()> {
        let took = self.since.get(index).map_or(Duration::ZERO, Instant::elapsed);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.event(EventKind::Ended { id: activity(index), outcome, duration_ms })
    }

    fn event(&mut self, kind: EventKind) -> io::Result<()> {
        let at_ms = (Moment::now().0 - deploy::begun_at(self.build).0).max(0).unsigned_abs();
        self.journal.event(&BuildEvent { at_ms, kind })?;
        self.service.hub.tell(&self.build.id);
        Ok(())
    }
}

fn activity(index: usize) -> ActivityId {
    ActivityId(FIRST_ACTIVITY + index as u64)
}
