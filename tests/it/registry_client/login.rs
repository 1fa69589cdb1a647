//! Logging in.

use bytes::Bytes;
use cooper::image::{MediaType, RepoName};
use cooper::layer::Digest;
use cooper::registry::{
    CredentialPlaces, Credentials, Problem, Registries, RegistrySettings, Secret, Uploaded,
};

use super::{MANIFEST, app, chain, descriptor, fetch, noise, open, settings};
use crate::registry::{Effect, Fault, Registry};

fn with_image(registry: Registry) -> Registry {
    registry.put_manifest("app", "1", MANIFEST, "{}");
    registry
}

#[tokio::test]
async fn passwords_are_sent_when_asked_for() {
    for registry in [Registry::start().auth("user", "secret"), Registry::start().token_auth("user", "secret")]
    {
        let registry = with_image(registry);
        let credentials = Credentials::single(&registry.host(), "user", "secret");
        let repository = open(settings(), credentials, &registry.host(), "app");
        for _ in 0..3 {
            repository.manifest("1").await.unwrap();
        }
        let bytes = noise(1000);
        repository.upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
        assert_eq!(fetch(&repository, &descriptor(&bytes)).await.unwrap(), bytes);
        // The first request asks whether a login is needed at all; none after it does.
        let refused = registry.requests().iter().filter(|request| request.status == 401).count();
        assert_eq!(refused, 1);
        assert!(registry.count("GET", "/token") <= 2, "one token to pull and one to push");
    }
}

#[tokio::test]
async fn requests_at_once_share_a_token() {
    let registry = with_image(Registry::start().token_auth("user", "secret"));
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    let all = futures_util::future::join_all((0..20).map(|_| repository.manifest("1"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[tokio::test]
async fn anybody_may_pull_where_that_is_allowed() {
    let registry = with_image(Registry::start().token_auth("user", "secret").anonymous_pull());
    app(&registry).manifest("1").await.unwrap();
    let error = app(&registry).upload(&descriptor(b"x"), Bytes::from("x"), &[]).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::NoCredentials { .. }), "{error}");
}

#[tokio::test]
async fn a_mount_brings_the_right_to_read_the_other_repository() {
    let registry = Registry::start().token_auth("user", "secret");
    registry.put_blob("base", "layer");
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    let base = RepoName::new(registry.host(), "base");
    let uploaded = repository.upload(&descriptor(b"layer"), Bytes::from("layer"), &[base]).await.unwrap();
    assert_eq!(uploaded, Uploaded::Mounted);
}

#[tokio::test]
async fn a_token_that_ran_out_is_replaced() {
    let registry = with_image(Registry::start().token_auth("user", "secret"));
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let registries = Registries::new(settings(), credentials).unwrap();
    let repository = registries.repository(&RepoName::new(registry.host(), "app")).unwrap();
    repository.manifest("1").await.unwrap();
    registry.expire_tokens();
    repository.manifest("1").await.unwrap();
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[tokio::test]
async fn an_upload_survives_the_end_of_its_token() {
    let bytes = noise(350_000);
    for (method, chunk_size) in
        [("HEAD", 1 << 20), ("POST", 1 << 20), ("PUT", 1 << 20), ("PATCH", 100_000), ("PUT", 100_000)]
    {
        let expiry = Fault::on(method, "", Effect::ExpireTokens);
        let registry = Registry::start().token_auth("user", "secret").fault(expiry);
        let credentials = Credentials::single(&registry.host(), "user", "secret");
        let settings = RegistrySettings { chunk_size, ..settings() };
        let repository = open(settings, credentials, &registry.host(), "app");
        repository.upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
        assert_eq!(registry.blob("app", Digest::of(&bytes)).unwrap(), bytes);
    }
}

#[tokio::test]
async fn missing_rights_are_not_called_a_wrong_password() {
    let registry = Registry::start()
        .token_auth("user", "secret")
        .fault(Fault::on("PUT", "", Effect::Refuse(401, "UNAUTHORIZED", "not for you")).always());
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    let error = repository.upload(&descriptor(b"x"), Bytes::from("x"), &[]).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("does not allow the user `user` (from the command line) to push to"), "{text}");
}

#[tokio::test]
async fn wrong_passwords_are_told_with_their_origin() {
    for registry in [Registry::start().auth("user", "secret"), Registry::start().token_auth("user", "secret")]
    {
        let registry = with_image(registry);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let entry = serde_json::json!({ "username": "user", "password": "hunter2" });
        let json = serde_json::json!({ "auths": { registry.host(): entry } });
        std::fs::write(&path, json.to_string()).unwrap();
        let places = CredentialPlaces { docker_config: Some(path.clone()), ..CredentialPlaces::default() };
        let credentials = Credentials::load(&places).unwrap();
        let error = open(settings(), credentials, &registry.host(), "app").manifest("1").await.unwrap_err();
        let expected = format!("{} refused the credentials from {}", registry.host(), path.display());
        let text = chain(&error);
        assert!(text.contains(&expected) && !text.contains("hunter2"), "{text}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn missing_credentials_are_told_with_the_places() {
    let registry = with_image(Registry::start().auth("user", "secret"));
    let directory = tempfile::tempdir().unwrap();
    let places = CredentialPlaces {
        docker_config: Some(directory.path().to_owned()),
        docker_auth_config: Some(Secret::new(r#"{"auths":{"registry.example":{"auth":"dTpw"}}}"#)),
        ..CredentialPlaces::default()
    };
    let credentials = Credentials::load(&places).unwrap();
    let error = open(settings(), credentials, &registry.host(), "app").manifest("1").await.unwrap_err();
    let expected = format!(
        "no credentials for {} were found (looked in $DOCKER_AUTH_CONFIG and {}/config.json)",
        registry.host(),
        directory.path().display()
    );
    assert!(chain(&error).contains(&expected), "{error}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn credentials_of_other_hosts_and_paths_stay_home() {
    let registry = with_image(Registry::start().auth("user", "secret"));
    for key in ["127.0.0.1", "127.0.0.1:1", &format!("{}/other", registry.host())] {
        let credentials = Credentials::single(key, "user", "secret");
        let repository = open(settings(), credentials, &registry.host(), "app");
        assert!(repository.manifest("1").await.is_err(), "{key}");
    }
    assert!(registry.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn identity_tokens_are_exchanged_and_passwords_are_the_fallback() {
    let login = |registry: &Registry| {
        let host = registry.host();
        let entry = serde_json::json!({ "auth": "dXNlcjppZGVudGl0eQ==", "identitytoken": "identity" });
        let json = serde_json::json!({ "auths": { host: entry } }).to_string();
        let docker_auth_config = Some(Secret::new(json));
        Credentials::load(&CredentialPlaces { docker_auth_config, ..CredentialPlaces::default() }).unwrap()
    };
    let new = with_image(Registry::start().token_auth("user", "x").identity_token("identity"));
    open(settings(), login(&new), &new.host(), "app").manifest("1").await.unwrap();
    assert_eq!((new.count("POST", "/token"), new.count("GET", "/token")), (1, 0));

    let old = with_image(Registry::start().token_auth("user", "identity"));
    open(settings(), login(&old), &old.host(), "app").manifest("1").await.unwrap();
    assert_eq!((old.count("POST", "/token"), old.count("GET", "/token")), (1, 1));
}

#[tokio::test]
async fn a_busy_token_service_is_asked_again() {
    let registry = with_image(Registry::start().token_auth("user", "secret").anonymous_pull());
    registry.add_fault(Fault::on("GET", "/token", Effect::Status(503)).times(2));
    registry.add_fault(Fault::on("GET", "/token", Effect::TooMany("0")));
    app(&registry).manifest("1").await.unwrap();
    assert_eq!(registry.count("GET", "/token"), 4);

    let registry = Registry::start().token_auth("user", "secret");
    registry.add_fault(Fault::on("GET", "/token", Effect::Status(503)).always());
    let error = app(&registry).manifest("1").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::ServerFailed { attempts: 4, .. }), "{error}");
    assert_eq!((registry.count("GET", "/token"), registry.count("GET", "/v2/")), (4, 1));
}

#[tokio::test]
async fn manifests_are_pushed_with_the_right_to_push() {
    let registry = Registry::start().token_auth("user", "secret").anonymous_pull();
    let put = app(&registry).put_manifest("1", &MediaType::ImageManifest, Bytes::from("{}")).await;
    assert!(put.unwrap_err().is_denied());
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    repository.put_manifest("1", &MediaType::ImageManifest, Bytes::from("{}")).await.unwrap();
}
