//! Taking requests for builds.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use url::Url;

use super::builds::{Waiting, wait_for_end};
use super::caller::{Caller, Named, Params};
use super::routes::stopping;
use super::view::View;
use crate::registry::Reach;
use crate::serve::access::{Grants, context_name};
use crate::serve::build::{Need, Upload};
use crate::serve::problem::Problem;
use crate::serve::queue::{Accepted, Asked};
use crate::serve::request::{NotifyUrl, Request, Source};
use crate::serve::{Service, fleet, runner, upload};
use crate::units;

/// The header with the request when the body is the context.
const REQUEST_HEADER: &str = "cooper-build";

/// Most bytes of a request without its context.
const MAX_REQUEST: u64 = 512 << 10;

/// `POST /v1/builds`
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Params(waiting): Params<Waiting>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let answered = take(&service, &caller, &waiting, &headers, body).await;
    answered.inspect_err(|problem| caller.audit_refusal("create", problem))
}

async fn take(
    service: &Arc<Service>,
    caller: &Caller,
    waiting: &Waiting,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.must_write()?;
    if service.is_stopping() {
        return Err(stopping());
    }
    let patience = waiting.patience()?;
    let (request, body) = match headers.get(REQUEST_HEADER) {
        Some(header) => (parse(header.as_bytes())?, Some(body)),
        None if is_json(headers) => (parse(&upload::read(body, MAX_REQUEST).await?)?, None),
        None => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "no-request",
                "send either `Content-Type: application/json` with a request that has a `context`, or the context \
                 as a tar with the request in the header `Cooper-Build`",
            ));
        }
    };
    let source = check(service, &caller.grants, &request).await?;
    let upload = match (body, &source) {
        (Some(body), None) => Some(receive(service, caller, headers, body).await?),
        (None, Some(_)) => None,
        (Some(_), Some(_)) => {
            return Err(Problem::bad(
                "two-contexts",
                "there is a `context` in the header `Cooper-Build`, and the body is another; send one of them",
            ));
        }
        (None, None) => {
            return Err(Problem::bad(
                "no-context",
                "`context` is missing: name one, or send it as a tar with the request in the header `Cooper-Build`",
            ));
        }
    };
    queue(service, caller, asked(service, &caller.grants, request, upload)?, patience).await
}

/// `POST /v1/builds/{id}/rebuild`
pub(super) async fn rebuild(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named,
    Params(waiting): Params<Waiting>,
) -> Result<Response, Problem> {
    caller.must_write()?;
    if service.is_stopping() {
        return Err(stopping());
    }
    let patience = waiting.patience()?;
    let build = caller.must_see(service.get(id).await?)?;
    let mut request = build.request;
    request.project = Some(build.project);
    let checked = check(&service, &caller.grants, &request).await;
    checked.inspect_err(|problem| caller.audit_refusal("rebuild", problem))?;
    if let Some(upload) = &build.upload {
        let path = upload::path(&service.settings.data, &upload.digest.hex());
        // As if it had come anew, so that it is not tidied up before the build is queued.
        let touched = std::fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()));
        if touched.is_err() {
            return Err(Problem::new(
                StatusCode::GONE,
                "context-gone",
                "the context came with the request and is not kept any more; send it again",
            ));
        }
    }
    let asked = asked(&service, &caller.grants, request, build.upload)?;
    let asked = Asked { rebuild_of: Some(build.id), origin: build.origin, ..asked };
    queue(&service, &caller, asked, patience).await
}

/// A request that was checked, with what it did not say.
pub(super) fn asked(
    service: &Service,
    grants: &Grants,
    request: Request,
    upload: Option<Upload>,
) -> Result<Asked, Problem> {
    Ok(Asked {
        need: need(service, &request)?,
        timeout_seconds: timeout(service, grants, &request)?,
        project: request.project.clone().unwrap_or_else(|| grants.usual_project()),
        request,
        upload,
        by: grants.name.clone(),
        rebuild_of: None,
        origin: None,
        max_queued: service.settings.max_queued,
        max_own_queued: grants.max_queued,
    })
}

/// Tells of the builds that a new one took the place of, and lets it begin.
pub(super) async fn announce(service: &Service, accepted: &Accepted) {
    for id in &accepted.superseded {
        if let Ok(build) = service.queue.get(id.clone()).await {
            runner::after(service, &build);
        }
    }
    service.wake.notify_one();
}

async fn queue(
    service: &Arc<Service>,
    caller: &Caller,
    asked: Asked,
    patience: Option<std::time::Duration>,
) -> Result<Response, Problem> {
    let is_rebuild = asked.rebuild_of.is_some();
    let accepted = match &service.fleet {
        Some(fleet) => fleet::accept(service, fleet, asked).await?,
        None => service.queue.accept(asked).await?,
    };
    announce(service, &accepted).await;
    let build = accepted.build;
    let action = match (accepted.is_joined, is_rebuild) {
        (true, _) => "join",
        (false, true) => "rebuild",
        (false, false) => "create",
    };
    caller.audit(action, &build.id, &build.project);
    let build = match patience {
        Some(patience) => wait_for_end(service, build, patience).await?,
        None => build,
    };
    let status =
        if build.state.is_end() || accepted.is_joined { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(View::of(service, build).await?.respond(status))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn parse(bytes: &[u8]) -> Result<Request, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad("bad-request", format!("the build request makes no sense: {error}")))
}

/// Everything that can be known before the context is received.
pub(super) async fn check(
    service: &Service,
    grants: &Grants,
    request: &Request,
) -> Result<Option<Source>, Problem> {
    let invalid =
        |error: &dyn std::error::Error| Problem::bad("bad-request", crate::pipeline::describe(error));
    let source = request.validate().map_err(|error| invalid(&error))?;
    let project = request.project.clone().unwrap_or_else(|| grants.usual_project());
    if !grants.projects.matches(&project) {
        let detail =
            format!("this token is not for the project `{project}`, only for {}", grants.projects.shown());
        return Err(Problem::forbidden("project", detail));
    }
    let caches = request.cache_repositories().map_err(|error| invalid(&error))?;
    let images = request.tags.iter().map(|tag| tag.repository().to_string());
    for name in images.chain(caches.iter().map(ToString::to_string)) {
        if !grants.destinations.matches(&name) {
            let detail =
                format!("this token may not push to `{name}`, only to {}", grants.destinations.shown());
            return Err(Problem::forbidden("destination", detail));
        }
    }
    if !grants.admits_context(source.as_ref()) {
        let name = context_name(source.as_ref());
        let detail = format!("this token may not build from `{name}`, only from {}", grants.contexts.shown());
        return Err(Problem::forbidden("context", detail));
    }
    if request.priority > grants.max_priority {
        let detail = format!("the priority is at most {} for this token", grants.max_priority);
        return Err(Problem::forbidden("priority", detail));
    }
    need(service, request)?;
    timeout(service, grants, request)?;
    if let Some(url) = request.notify.as_ref().and_then(NotifyUrl::url) {
        check_notify(service, grants, url).await?;
    }
    service.deployer.check(request, grants).await?;
    if let Some(Source::Git(git)) = &source {
        let port = git.url.port.unwrap_or(443);
        check_reach(&service.settings.reach, git.url.host.clone(), port).await?;
    }
    Ok(source)
}

/// Refuses to tell those who may not be told, or cannot be.
async fn check_notify(service: &Service, grants: &Grants, mut url: Url) -> Result<(), Problem> {
    if service.fleet.is_some() {
        let detail = "nobody can be told of the end of builds that are Jobs; leave `notify` away";
        return Err(Problem::bad("notify", detail));
    }
    url.set_query(None);
    if !grants.notify.matches(url.as_str()) {
        let detail = format!(
            "this token may not have `{}` told of an end, only {}",
            url.authority(),
            grants.notify.shown()
        );
        return Err(Problem::forbidden("notify", detail));
    }
    let port = url.port_or_known_default().unwrap_or(443);
    check_reach(service.sender.reach(), url.host_str().unwrap_or_default().to_owned(), port).await
}

/// Refuses at once what the worker would refuse. A name that cannot be looked up now may be later.
async fn check_reach(reach: &Reach, host: String, port: u16) -> Result<(), Problem> {
    let reach = reach.clone();
    let looked = tokio::task::spawn_blocking(move || reach.check(&host, port)).await;
    match looked {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Problem::forbidden("out-of-reach", error.to_string()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::internal(&error)),
    }
}

fn need(service: &Service, request: &Request) -> Result<Need, Problem> {
    let settings = &service.settings;
    let bad = |error: units::ParseUnitError| Problem::bad("bad-request", error.to_string());
    let millicpus = request.cpus.as_deref().map(units::millicpus).transpose().map_err(bad)?;
    let memory = request.memory.as_deref().map(units::bytes).transpose().map_err(bad)?;
    let need = Need {
        millicpus: millicpus.unwrap_or(settings.usual_need.millicpus).max(1),
        memory: memory.unwrap_or(settings.usual_need.memory),
    };
    // What a node has is for the cluster to say.
    if service.fleet.is_none() && !settings.budget.leaves(Need::NONE, need) {
        let Need { millicpus, memory } = settings.budget;
        let detail =
            format!("this build would never begin: all have {millicpus}m processors and {memory} bytes");
        return Err(Problem::bad("too-big", detail));
    }
    Ok(need)
}

fn timeout(service: &Service, grants: &Grants, request: &Request) -> Result<u64, Problem> {
    let most = grants.max_timeout.unwrap_or(u64::MAX).min(service.settings.max_timeout);
    let Some(text) = &request.timeout else { return Ok(service.settings.usual_timeout.min(most)) };
    let seconds = units::seconds(text).map_err(|error| Problem::bad("bad-request", error.to_string()))?;
    if seconds == 0 || seconds > most {
        return Err(Problem::forbidden("timeout", format!("`timeout` is between 1 s and {most} s here")));
    }
    Ok(seconds)
}

async fn receive(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Upload, Problem> {
    let settings = &service.settings;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let limit = caller.grants.max_upload.unwrap_or(u64::MAX).min(settings.max_upload);
    let upload = upload::store(body, &settings.data, length, limit, settings.min_free).await?;
    service.metrics.uploaded.inc_by(upload.size);
    Ok(upload)
}
