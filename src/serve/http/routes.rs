//! What is where. The list that this makes is compared with `/openapi.json`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use super::{accept, builds, hooks, status, streams};
use crate::serve::problem::Problem;
use crate::serve::{Service, page};

/// The API's description.
const OPENAPI: &str = include_str!("../openapi.json");

/// A router that remembers what it has.
struct Routes {
    router: Router<Arc<Service>>,
    listed: Vec<(MethodFilter, &'static str)>,
}

impl Routes {
    fn add<H, T>(mut self, method: MethodFilter, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.router = self.router.route(path, on(method, handler));
        self.listed.push((method, path));
        self
    }
}

fn routes() -> Routes {
    Routes { router: Router::new(), listed: Vec::new() }
        .add(MethodFilter::GET, "/", page::front)
        .add(MethodFilter::GET, "/page/{version}/{file}", page::file)
        .add(MethodFilter::GET, "/healthz", async || "ok\n")
        .add(MethodFilter::GET, "/readyz", readiness)
        .add(MethodFilter::GET, "/metrics", metrics)
        .add(MethodFilter::GET, "/openapi.json", async || {
            ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
        })
        .add(MethodFilter::GET, "/v1/status", status::status)
        .add(MethodFilter::POST, "/v1/builds", accept::create)
        .add(MethodFilter::GET, "/v1/builds", builds::list)
        .add(MethodFilter::GET, "/v1/builds/{id}", builds::show)
        .add(MethodFilter::DELETE, "/v1/builds/{id}", builds::cancel)
        .add(MethodFilter::GET, "/v1/builds/{id}/logs", streams::logs)
        .add(MethodFilter::GET, "/v1/builds/{id}/events", streams::events)
        .add(MethodFilter::POST, "/v1/builds/{id}/rebuild", accept::rebuild)
        .add(MethodFilter::POST, "/v1/hooks/{name}", hooks::receive)
}

/// All routes.
pub(super) fn router(service: Arc<Service>) -> Router {
    routes()
        .router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no-such-route", "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "this cannot be done here")
        })
        .layer(from_fn_with_state(Arc::clone(&service), super::watch))
        .with_state(service)
}

/// Builds are taken.
async fn readiness(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    if service.is_stopping() {
        return Err(stopping());
    }
    service.queue.counts().await?;
    if service.fleet.as_ref().is_some_and(|fleet| !fleet.is_ready()) {
        let detail = "the cluster has not said yet which builds there are";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "cluster", detail));
    }
    Ok("ok\n")
}

pub(super) fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the service is about to end; ask again soon")
}

async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let counts = service.queue.counts().await?;
    let count = |state: &str| counts.get(state).copied().unwrap_or(0);
    let text =
        service.metrics.text(count("queued"), count("running")).map_err(|error| Problem::internal(&error))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::serve::request::Request;

    fn description() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    #[test]
    fn the_description_has_the_routes_and_no_others() {
        let name = |method: MethodFilter| {
            let methods =
                [(MethodFilter::GET, "get"), (MethodFilter::POST, "post"), (MethodFilter::DELETE, "delete")];
            methods.into_iter().find(|(known, _)| *known == method).unwrap().1.to_owned()
        };
        let routes: BTreeSet<(String, String)> =
            routes().listed.into_iter().map(|(method, path)| (path.to_owned(), name(method))).collect();
        let described: BTreeSet<(String, String)> = description()["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(routes, described);
    }

    #[test]
    fn the_description_has_the_fields_of_requests() {
        let schema = description()["components"]["schemas"]["BuildRequest"]["properties"].clone();
        for name in schema.as_object().unwrap().keys() {
            // The error for a wrong type and for an unknown field differ.
            let json = format!("{{\"{name}\": {{\"nothing\": {{}}}}}}");
            let error = serde_json::from_str::<Request>(&json).err().map(|error| error.to_string());
            assert!(!error.unwrap_or_default().contains("unknown field `{name}`"), "{name}");
        }
        let error = serde_json::from_str::<Request>("{\"nothing\": 1}").unwrap_err().to_string();
        let known: BTreeSet<&str> =
            error.split('`').skip(1).step_by(2).filter(|name| *name != "nothing").collect();
        assert_eq!(known, schema.as_object().unwrap().keys().map(String::as_str).collect());
    }
}
