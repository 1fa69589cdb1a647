//! The service's side of HTTP: connections, and what every request goes through.

mod accept;
mod builds;
mod caller;
mod hooks;
mod routes;
mod status;
mod streams;
mod view;

use std::sync::Arc;
use std::time::Duration;

pub(super) use view::View;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Service;
use super::problem::Problem;

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;

/// A client that has not sent the head of a request after so long is gone.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A client that takes nothing of an answer for so long is gone, in milliseconds.
const WRITE_LIMIT: u32 = 60_000;

/// What is under way when the service stops may go on for so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
struct Peer(std::net::SocketAddr);

/// Answers until the service stops.
pub(super) async fn listen(listener: TcpListener, service: Arc<Service>) {
    let mut stopping = service.stopping.clone();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = routes::router(Arc::clone(&service));
    let mut connections = JoinSet::new();
    while !*stopping.borrow() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, in general: the next one may have one.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone().layer(Extension(Peer(peer)));
        let service = Arc::clone(&service);
        connections.spawn(async move {
            service.metrics.connections.inc();
            serve(stream, router, &service).await;
            service.metrics.connections.dec();
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // Those that wait for a build are answered before it has ended; the rest was told to end.
    let patience = service.settings.grace + LAST_ANSWERS;
    if tokio::time::timeout(patience, finished).await.is_err() {
        tracing::info!("some connections did not end by themselves");
    }
}

async fn serve(stream: TcpStream, router: axum::Router, service: &Service) {
    // Neither is needed for right answers.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, WRITE_LIMIT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut stopping = service.stopping.clone();
    tokio::pin!(connection);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            Ok(()) = stopping.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// What every request goes through: the log, the numbers, and a guard against pages of the web.
async fn watch(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = match foreign_page(&service, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    service.metrics.answered(response.status());
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    response
}

/// Who needs no token is on this machine, but so is every page that its browser shows. Pages cannot choose the header
/// `Host`, and tell where they come from.
fn foreign_page(service: &Service, request: &Request) -> Option<Problem> {
    if !service.access.is_anonymous() {
        return None;
    }
    let text = |name: &str| Some(request.headers().get(name)?.to_str().unwrap_or_default().to_owned());
    let is_here = |authority: &str| {
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, port)| if port.ends_with(']') { authority } else { host });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let has_good_host = text("host").is_none_or(|host| is_here(&host));
    let has_good_origin = text("origin")
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, authority)| is_here(authority)));
    (!has_good_host || !has_good_origin).then(|| {
        Problem::forbidden("foreign-page", "without tokens, only programs of this machine are answered")
    })
}
