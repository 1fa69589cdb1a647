//! Webhooks of providers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::Peer;
use super::accept::{announce, asked, check};
use super::routes::stopping;
use crate::serve::access::Grants;
use crate::serve::build::{self, BuildId, Origin};
use crate::serve::config::{Hook, Repository, Rule, Values};
use crate::serve::hooks::{Event, Message, Push, Reference};
use crate::serve::problem::Problem;
use crate::serve::queue::{Accepted, Asked, PushKey, Pushed};
use crate::serve::{Service, upload};

/// Most bytes of a message. GitHub sends more for pushes of many hundred commits only.
const MAX_BODY: u64 = 4 << 20;

/// What is answered.
#[derive(Debug, Serialize)]
struct Answer {
    /// `accepted` or `ignored`.
    outcome: &'static str,
    /// Why it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    builds: Vec<Answered>,
}

/// One build of a push.
#[derive(Debug, Serialize)]
struct Answered {
    /// Which of the repository's builds it is.
    rule: String,
    /// Missing if it is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<BuildId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<build::State>,
    /// Whether the same push has come before.
    is_known: bool,
}

impl Answer {
    fn ignored(reason: impl Into<String>) -> Self {
        Self { outcome: "ignored", reason: Some(reason.into()), builds: Vec::new() }
    }

    fn respond(self) -> Response {
        let is_new = self.builds.iter().any(|build| !build.is_known);
        let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
        (status, axum::Json(self)).into_response()
    }
}

/// Who sent what, for the log.
struct Sender {
    hook: String,
    peer: String,
}

/// `POST /v1/hooks/{name}`
pub(super) async fn receive(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(Peer(address))| address.to_string()).unwrap_or_default();
    let hook: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let sender = Sender { hook, peer };
    let answered = take(&service, &sender, &headers, body).await;
    match answered {
        Ok(answer) => {
            service.metrics.hook(match (&answer.outcome, answer.builds.iter().all(|build| build.is_known)) {
                (&"ignored", _) => "ignored",
                (_, true) => "known",
                (_, false) => "accepted",
            });
            tracing::info!(
                target: "audit",
                action = "hook",
                hook = sender.hook,
                peer = sender.peer,
                outcome = answer.outcome,
                reason = answer.reason,
                builds = ?answer.builds.iter().filter_map(|build| build.id.as_ref()).collect::<Vec<_>>(),
            );
            Ok(answer.respond())
        }
        Err(problem) => {
            service.metrics.hook("refused");
            tracing::warn!(target: "audit", action = "hook", hook = sender.hook, peer = sender.peer, ?problem, "refused");
            Err(problem)
        }
    }
}

async fn take(
    service: &Service,
    sender: &Sender,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    if service.is_stopping() {
        return Err(stopping());
    }
    let config = service.herald.config();
    let hook = config.hook(&sender.hook).ok_or_else(|| {
        let detail = format!("no hook of --config is called `{}`", sender.hook);
        Problem::new(StatusCode::NOT_FOUND, "no-such-hook", detail)
    })?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = upload::read_within(body, announced, MAX_BODY, &service.room_for_hooks).await?;
    let place = hook.secret.clone();
    let secrets = tokio::task::spawn_blocking(move || place.read())
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    let message = Message { headers, body: &body, now: jiff::Timestamp::now().as_second() };
    message
        .verify(hook.provider, &secrets)
        .map_err(|refusal| Problem::new(StatusCode::UNAUTHORIZED, "bad-signature", refusal.to_string()))?;
    let event =
        message.read(hook.provider).map_err(|error| Problem::bad("bad-payload", error.to_string()))?;
    let push = match event {
        Event::Push(push) => push,
        Event::Ignored(reason) => return Ok(Answer::ignored(reason)),
    };
    let Some(repository) = config.repository(&hook.name, &push.repository) else {
        let name = push.repository.chars().take(200).collect::<String>();
        return Ok(Answer::ignored(format!("`{name}` is no repository of this hook in --config")));
    };
    let values = values(&push);
    let mut refused = Vec::new();
    let mut builds = Vec::new();
    for rule in &repository.rules {
        match rule.refuses(&values, push.paths.as_deref()) {
            Some(reason) => refused.push(format!("{}: {reason}", rule.name)),
            None => builds
                .push((rule.name.clone(), prepare(service, hook, repository, rule, &values, &push).await?)),
        }
    }
    if builds.is_empty() {
        return Ok(Answer::ignored(format!("nothing to build: {}", refused.join("; "))));
    }
    let identity = message.identity(hook.provider);
    let key = PushKey {
        hook: hook.name.clone(),
        repository: repository.name.clone(),
        reference: push.reference.full(),
        commit: push.commit.clone(),
        delivery: identity.delivery,
        body: identity.body,
    };
    let accepted = service.queue.accept_push(Pushed { key, builds }).await?;
    let mut answered = Vec::new();
    for (rule, accepted) in accepted {
        answered.push(tell(service, rule, accepted).await);
    }
    Ok(Answer { outcome: "accepted", reason: None, builds: answered })
}

async fn tell(service: &Service, rule: String, accepted: Option<Accepted>) -> Answered {
    let Some(accepted) = accepted else {
        return Answered { rule, id: None, state: None, is_known: true };
    };
    announce(service, &accepted).await;
    let Accepted { build, is_joined, .. } = accepted;
    Answered { rule, id: Some(build.id), state: Some(build.state), is_known: is_joined }
}

fn values(push: &Push) -> Values {
    let (branch, tag) = match &push.reference {
        Reference::Branch(name) => (Some(name.clone()), None),
        Reference::Tag(name) => (None, Some(name.clone())),
    };
    Values { commit: push.commit.clone(), branch, tag }
}

/// What a push is built as. The configuration may do what a token of everything may.
async fn prepare(
    service: &Service,
    hook: &Hook,
    repository: &Repository,
    rule: &Rule,
    values: &Values,
    push: &Push,
) -> Result<Asked, Problem> {
    let bad = |error: &dyn std::error::Error| Problem::bad("bad-request", error.to_string());
    let reference = push.reference.full();
    let request = rule.request(values, &reference).map_err(|error| bad(&error))?;
    let grants = Grants::everything(format!("hook {}", hook.name));
    check(service, &grants, &request).await?;
    let origin = Origin {
        hook: hook.name.clone(),
        provider: hook.provider,
        repository: repository.name.clone(),
        reference,
        commit: push.commit.clone(),
        rule: rule.name.clone(),
        author: push.author.clone(),
        message: push.message.clone(),
        link: push.link.clone(),
    };
    Ok(Asked { origin: Some(origin), ..asked(service, &grants, request, None)? })
}
