//! The OCI distribution protocol, server side.

use serde_json::Value;

use super::http::{Request, Response};
use super::{Inner, Shared, error};

/// What a path below `/v2/` means.
enum Route<'a> {
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    /// Repository and session; the session is empty for the collection.
    Upload(&'a str, &'a str),
    /// The list of tags.
    Tags(&'a str),
}

/// The answer to a request.
pub(super) fn answer(inner: &mut Inner, shared: &Shared, request: &Request) -> Response {
    if request.path() == "/token" {
        return inner.login.token(request);
    }
    let Some(route) = route(request.path()) else {
        let is_root = matches!(request.path(), "/v2" | "/v2/");
        let refusal = inner.login.refuse(shared, request, &[]);
        return refusal.unwrap_or_else(|| if is_root { Response::new(200) } else { Response::new(404) });
    };
    if let Some(refusal) = inner.login.refuse(shared, request, &rights(&route, request)) {
        return refusal;
    }
    match (request.method.as_str(), route) {
        ("GET" | "HEAD", Route::Manifest(path, selector)) => get_manifest(inner, path, selector),
        ("PUT", Route::Manifest(path, selector)) => put_manifest(inner, path, selector, request),
        ("GET" | "HEAD", Route::Blob(path, digest)) => get_blob(inner, path, digest, request),
        ("GET", Route::Tags(path)) => list_tags(inner, path),
        ("POST", Route::Upload(path, "")) => open_upload(inner, path, request),
        ("PATCH", Route::Upload(path, session)) => patch_upload(inner, path, session, request),
        ("PUT", Route::Upload(path, session)) => close_upload(inner, path, session, request),
        ("GET", Route::Upload(path, session)) => match inner.state.upload(session).map(|bytes| bytes.len()) {
            Some(length) => progress(204, path, session, length),
            None => session_unknown(),
        },
        ("DELETE", Route::Upload(_, session)) => match inner.state.close_upload(session) {
            Some(_) => Response::new(204),
            None => session_unknown(),
        },
        _ => error(405, "UNSUPPORTED", "no such method here"),
    }
}

/// Keeps the part of a chunk that came before the connection broke, as the reference registry does.
pub(super) fn keep_partial(inner: &mut Inner, request: &Request) {
    if let (Some(Route::Upload(_, session)), "PATCH") = (route(request.path()), request.method.as_str())
        && let Some(bytes) = inner.state.upload(session)
    {
        bytes.extend_from_slice(&request.body);
    }
}

fn route(path: &str) -> Option<Route<'_>> {
    let path = path.strip_prefix("/v2/")?;
    if let Some((name, session)) = path.split_once("/blobs/uploads/") {
        return Some(Route::Upload(name, session));
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Route::Tags(name));
    }
    let blob = path.rsplit_once("/blobs/").map(|(name, digest)| Route::Blob(name, digest));
    blob.or_else(|| path.rsplit_once("/manifests/").map(|(name, selector)| Route::Manifest(name, selector)))
}

fn rights(route: &Route<'_>, request: &Request) -> Vec<(String, &'static str)> {
    let (Route::Manifest(path, _) | Route::Blob(path, _) | Route::Upload(path, _) | Route::Tags(path)) =
        route;
    let is_push = matches!(route, Route::Upload(..)) || !matches!(request.method.as_str(), "GET" | "HEAD");
    let own = ((*path).to_owned(), if is_push { "push" } else { "pull" });
    let others = request.query("from").into_iter().map(|from| (from, "pull"));
    others.chain([own]).collect()
}

fn list_tags(inner: &Inner, path: &str) -> Response {
    if !inner.state.has_repository(path) {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let list = serde_json::json!({"name": path, "tags": inner.state.tags(path)});
    Response::new(200).header("Content-Type", "application/json").body(list.to_string())
}

fn get_manifest(inner: &Inner, path: &str, selector: &str) -> Response {
    match inner.state.manifest(path, selector) {
        Some(manifest) => Response::new(200)
            .header("Content-Type", &manifest.media_type)
            .header("Docker-Content-Digest", &manifest.digest)
            .body(manifest.bytes.to_vec()),
        None if inner.state.has_repository(path) => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        None => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
    }
}

fn put_manifest(inner: &mut Inner, path: &str, selector: &str, request: &Request) -> Response {
    let Ok(document) = serde_json::from_slice::<Value>(&request.body) else {
        return error(400, "MANIFEST_INVALID", "not JSON");
    };
    for digest in blobs_of(&document) {
        if inner.state.blob(path, digest).is_none() {
            return error(404, "MANIFEST_BLOB_UNKNOWN", &format!("blob unknown: {digest}"));
        }
    }
    for child in document["manifests"].as_array().into_iter().flatten() {
        let digest = child["digest"].as_str().unwrap_or_default();
        if inner.state.manifest(path, digest).is_none() {
            return error(404, "MANIFEST_UNKNOWN", &format!("manifest unknown: {digest}"));
        }
    }
    let media_type = request.header("content-type").unwrap_or("application/json");
    let digest = inner.state.put_manifest(path, selector, media_type, request.body.clone());
    Response::new(201)
        .header("Docker-Content-Digest", digest)
        .header("Location", format!("/v2/{path}/manifests/{digest}"))
}

fn blobs_of(manifest: &Value) -> impl Iterator<Item = &str> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.chain(manifest.get("config")).filter_map(|descriptor| descriptor["digest"].as_str())
}

fn get_blob(inner: &Inner, path: &str, digest: &str, request: &Request) -> Response {
    let Some(bytes) = inner.state.blob(path, digest) else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let answer = |status| {
        Response::new(status)
            .header("Content-Type", "application/octet-stream")
            .header("Docker-Content-Digest", digest)
    };
    let range = request.header("range").and_then(|value| value.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return answer(200).body(bytes.to_vec()) };
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(usize::MAX).min(bytes.len().saturating_sub(1));
    if first >= bytes.len() {
        return error(416, "UNKNOWN", "range not satisfiable");
    }
    answer(206)
        .header("Content-Range", format!("bytes {first}-{last}/{}", bytes.len()))
        .body(&bytes[first..=last])
}

fn open_upload(inner: &mut Inner, path: &str, request: &Request) -> Response {
    let pairs = request.query("mount").into_iter().zip(request.query("from"));
    for (digest, from) in pairs {
        if inner.state.mount(path, &from, &digest) {
            return Response::new(201).header("Location", format!("/v2/{path}/blobs/{digest}"));
        }
    }
    let session = inner.state.open_upload();
    let response = progress(202, path, &session, 0);
    match inner.chunk_minimum {
        Some(bytes) => response.header("OCI-Chunk-Min-Length", bytes),
        None => response,
    }
}

fn patch_upload(inner: &mut Inner, path: &str, session: &str, request: &Request) -> Response {
    let Some(bytes) = inner.state.upload(session) else { return session_unknown() };
    let range = request.header("content-range").and_then(|value| value.split_once('-'));
    let start: usize = range.map_or(bytes.len(), |(start, _)| start.parse().unwrap());
    if start != bytes.len() {
        let length = bytes.len();
        return Response { status: 416, ..progress(416, path, session, length) };
    }
    bytes.extend_from_slice(&request.body);
    let length = bytes.len();
    progress(202, path, session, length)
}

fn close_upload(inner: &mut Inner, path: &str, session: &str, request: &Request) -> Response {
    let Some(mut bytes) = inner.state.close_upload(session) else { return session_unknown() };
    bytes.extend_from_slice(&request.body);
    let digest = cooper::layer::Digest::of(&bytes);
    if request.query("digest") != [digest.to_string()] {
        return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    inner.state.put_blob(path, bytes);
    Response::new(201)
        .header("Docker-Content-Digest", digest)
        .header("Location", format!("/v2/{path}/blobs/{digest}"))
}

/// Where a session is, in the registry's words: the last position, not the length.
fn progress(status: u16, path: &str, session: &str, length: usize) -> Response {
    Response::new(status)
        .header("Location", format!("/v2/{path}/blobs/uploads/{session}?_state=opaque"))
        .header("Range", format!("0-{}", length.saturating_sub(1)))
}

fn session_unknown() -> Response {
    error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}
