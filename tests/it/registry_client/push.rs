//! Blobs and manifests that go.

use bytes::Bytes;
use cooper::image::{MediaType, RepoName};
use cooper::layer::Digest;
use cooper::registry::{
    BlobSource, ByteStream, Credentials, Problem, RegistrySettings, RemoteBlob, Repository, Uploaded,
};
use futures_util::stream;

use super::{app, chain, descriptor, fetch, noise, open, settings};
use crate::registry::{Effect, Fault, Registry};

/// `app` with chunks of 100,000 bytes.
fn in_chunks(registry: &Registry) -> Repository {
    let settings = RegistrySettings { chunk_size: 100_000, ..settings() };
    open(settings, Credentials::anonymous(), &registry.host(), "app")
}

#[tokio::test]
async fn a_blob_is_sent_once() {
    let registry = Registry::start();
    let bytes = noise(300_000);
    let blob = descriptor(&bytes);
    assert_eq!(app(&registry).upload(&blob, bytes.clone(), &[]).await.unwrap(), Uploaded::Sent);
    assert_eq!(app(&registry).upload(&blob, bytes.clone(), &[]).await.unwrap(), Uploaded::AlreadyThere);
    assert_eq!(registry.blob("app", blob.digest).unwrap(), bytes);
    let sent: usize = registry.requests().iter().map(|request| request.bytes).sum();
    assert_eq!((sent, registry.count("PUT", ""), registry.open_sessions()), (300_000, 1, 0));
}

#[tokio::test]
async fn blobs_come_from_files_and_may_be_empty() {
    let registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blob");
    for length in [0, 500_000] {
        let bytes = noise(length);
        std::fs::write(&path, &bytes).unwrap();
        app(&registry).upload(&descriptor(&bytes), path.clone(), &[]).await.unwrap();
        assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let registry = Registry::start();
    let bytes = noise(1000);
    let digest = registry.put_blob("base", bytes.to_vec());
    let candidates = [RepoName::new("elsewhere.example", "base"), RepoName::new(registry.host(), "base")];
    let uploaded = app(&registry).upload(&descriptor(&bytes), bytes.clone(), &candidates).await.unwrap();
    assert_eq!(uploaded, Uploaded::Mounted);
    assert_eq!(registry.blob("app", digest).unwrap(), bytes);
    assert!(registry.requests().iter().all(|request| request.bytes == 0));
}

#[tokio::test]
async fn a_mount_that_fails_becomes_the_upload() {
    let registry = Registry::start();
    let bytes = noise(1000);
    let candidates = [RepoName::new(registry.host(), "base")];
    let uploaded = app(&registry).upload(&descriptor(&bytes), bytes.clone(), &candidates).await.unwrap();
    assert_eq!((uploaded, registry.count("POST", ""), registry.open_sessions()), (Uploaded::Sent, 1, 0));

    let base = RepoName::new(registry.host(), "base");
    assert!(!app(&registry).mount(Digest::of("nowhere"), &base).await.unwrap());
    assert_eq!(registry.open_sessions(), 0);
}

#[tokio::test]
async fn large_blobs_go_in_chunks() {
    let registry = Registry::start();
    let bytes = noise(350_000);
    in_chunks(&registry).upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
    assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
    let chunks: Vec<_> =
        registry.requests().iter().filter(|r| r.method == "PATCH").map(|request| request.bytes).collect();
    assert_eq!(chunks, [100_000, 100_000, 100_000, 50_000]);
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants() {
    let registry = Registry::start().chunk_minimum(200_000);
    let bytes = noise(350_000);
    in_chunks(&registry).upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
    assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
    assert_eq!(registry.count("PATCH", ""), 2);
}

#[tokio::test]
async fn a_broken_chunk_goes_on_where_it_broke() {
    let broken = Fault::on("PATCH", "", Effect::DropInBody(40_000)).after(1);
    let registry = Registry::start().fault(broken);
    let bytes = noise(350_000);
    in_chunks(&registry).upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
    assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
    let sent: usize = registry.requests().iter().map(|request| request.bytes).sum();
    assert_eq!((sent, registry.count("POST", "")), (350_000, 1));
}

#[tokio::test]
async fn failures_that_pass_do_not_fail_an_upload() {
    let bytes = noise(250_000);
    for (method, part) in
        [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PATCH", ""), ("PUT", ""), ("GET", "/uploads/")]
    {
        for effect in [Effect::Status(503), Effect::Drop, Effect::TooMany("0")] {
            for repository in [in_chunks, app] {
                let registry = Registry::start().fault(Fault::on(method, part, effect.clone()));
                // So that the question how far it is gets asked, and fails too.
                let registry = match method {
                    "GET" => registry.fault(Fault::on("PATCH", "", Effect::Drop)),
                    _ => registry,
                };
                let result = repository(&registry).upload(&descriptor(&bytes), bytes.clone(), &[]).await;
                assert!(result.is_ok(), "{method} {effect:?}: {result:?}");
                assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
            }
        }
    }
}

#[tokio::test]
async fn a_registry_without_chunks_gets_the_blob_in_one_piece() {
    let registry = Registry::start().fault(Fault::on("PATCH", "", Effect::Status(405)).always());
    let bytes = noise(250_000);
    in_chunks(&registry).upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
    assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn a_registry_that_never_recovers_is_given_up() {
    let registry = Registry::start().fault(Fault::on("PUT", "", Effect::Status(502)).always());
    let error = app(&registry).upload(&descriptor(b"x"), Bytes::from("x"), &[]).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::ServerFailed { status: 502, .. }), "{error}");
    assert_eq!(registry.count("PUT", ""), 4);
}

#[tokio::test]
async fn refusals_are_final_and_say_why() {
    let refusal = Effect::Refuse(403, "DENIED", "requested\naccess is denied");
    let registry = Registry::start().fault(Fault::on("POST", "", refusal).always());
    let error = app(&registry).upload(&descriptor(b"x"), Bytes::from("x"), &[]).await.unwrap_err();
    assert!(error.is_denied());
    let text = chain(&error);
    let expected = format!(
        "does not allow anonymous users (looked for credentials in no place) to push to {}/app, or",
        registry.host()
    );
    assert!(text.contains(&expected) && text.contains("DENIED: requested access is denied"), "{text}");
    assert_eq!(registry.count("POST", ""), 1);
}

/// Content that is not what was promised.
struct Liar(fn() -> Vec<std::io::Result<Bytes>>);

impl BlobSource for Liar {
    async fn open(&self, _: u64, _: u64) -> std::io::Result<ByteStream> {
        Ok(Box::pin(stream::iter((self.0)())))
    }
}

#[tokio::test]
async fn content_that_changed_or_cannot_be_read_is_told() {
    let registry = Registry::start();
    let blob = descriptor(b"promised");
    for (source, words) in [
        (Liar(|| vec![Ok(Bytes::from("short"))]), "is not 8 bytes long any more"),
        (Liar(|| vec![Ok(Bytes::from("much too long"))]), "is not 8 bytes long any more"),
        (Liar(|| vec![Err(std::io::Error::other("disk on fire"))]), "cannot be read: disk on fire"),
        (Liar(|| vec![Ok(Bytes::from("Promised"))]), "DIGEST_INVALID"),
    ] {
        let error = app(&registry).upload(&blob, source, &[]).await.unwrap_err();
        assert!(chain(&error).contains(words), "{}", chain(&error));
    }
    assert_eq!(registry.blob("app", blob.digest), None);
}

#[tokio::test]
async fn a_blob_is_piped_from_one_registry_to_another() {
    let (from, to) = (Registry::start(), Registry::start());
    let bytes = noise(350_000);
    from.put_blob("base", bytes.to_vec());
    from.add_fault(Fault::on("GET", "/blobs/", Effect::Truncate(30_000)).times(2));
    let base = open(settings(), Credentials::anonymous(), &from.host(), "base");
    for repository in [in_chunks, app] {
        let blob = descriptor(&bytes);
        repository(&to).upload(&blob, RemoteBlob::new(base.clone(), blob.clone()), &[]).await.unwrap();
    }
    assert_eq!(fetch(&app(&to), &descriptor(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_pipe_whose_source_fails_says_so() {
    let (from, to) = (Registry::start(), Registry::start());
    let bytes = noise(1000);
    from.put_blob("base", bytes.to_vec());
    from.add_fault(Fault::on("GET", "/blobs/", Effect::Corrupt).always());
    let base = open(settings(), Credentials::anonymous(), &from.host(), "base");
    let blob = descriptor(&bytes);
    let source = RemoteBlob::new(base, blob.clone());
    let text = chain(&app(&to).upload(&blob, source, &[]).await.unwrap_err());
    assert!(text.contains(&from.host()) && text.contains("does not match its digest"), "{text}");
    assert_eq!(to.blob("app", blob.digest), None);
}

#[tokio::test]
async fn manifests_go_by_tag_and_digest() {
    let registry = Registry::start();
    let layer = registry.put_blob("app", "layer");
    let bytes = Bytes::from(format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#));
    let digest = Digest::of(&bytes);
    for selector in ["1".to_owned(), digest.to_string()] {
        let put = app(&registry).put_manifest(&selector, &MediaType::ImageManifest, bytes.clone()).await;
        assert_eq!(put.unwrap(), digest);
        let back = app(&registry).manifest(&selector).await.unwrap();
        assert_eq!((back.bytes, back.media_type), (bytes.clone(), MediaType::ImageManifest));
    }
    let other = Digest::of("x").to_string();
    assert!(app(&registry).put_manifest(&other, &MediaType::ImageManifest, bytes).await.is_err());
}

#[tokio::test]
async fn refused_manifests_say_why() {
    let registry = Registry::start();
    let bytes = Bytes::from(format!(r#"{{"layers":[{{"digest":"{}"}}]}}"#, Digest::of("x")));
    let error = app(&registry).put_manifest("1", &MediaType::ImageManifest, bytes).await.unwrap_err();
    assert!(chain(&error).contains("MANIFEST_BLOB_UNKNOWN: blob unknown: sha256:"), "{error}");

    let immutable = Effect::Refuse(400, "TAG_INVALID", "the repository is immutable");
    let registry = Registry::start().fault(Fault::on("PUT", "/manifests/", immutable));
    let error = app(&registry).put_manifest("1", &MediaType::ImageManifest, Bytes::from("{}")).await;
    assert!(error.unwrap_err().is_immutable_tag());
}

#[tokio::test]
async fn has_blob_asks_and_sends_nothing() {
    let registry = Registry::start();
    let digest = registry.put_blob("app", "x");
    assert!(app(&registry).has_blob(digest).await.unwrap());
    assert!(!app(&registry).has_blob(Digest::of("y")).await.unwrap());
    assert_eq!(registry.count("HEAD", "/blobs/"), 2);
}

#[tokio::test]
async fn the_right_to_push_can_be_asked_beforehand() {
    let registry = Registry::start();
    app(&registry).check_push().await.unwrap();
    assert_eq!(registry.open_sessions(), 0);
    let registry = Registry::start().token_auth("user", "secret").anonymous_pull();
    let error = app(&registry).check_push().await.unwrap_err();
    assert!(error.is_denied());
    assert!(chain(&error).starts_with(&format!("cannot push to {}/app: ", registry.host())), "{error}");
}
