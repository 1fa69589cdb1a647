use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::*;

fn places(json: &serde_json::Value) -> CredentialPlaces {
    let docker_auth_config = Some(Secret::new(json.to_string()));
    CredentialPlaces { docker_auth_config, ..CredentialPlaces::default() }
}

async fn find(credentials: &Credentials, registry: &str, path: &str) -> Option<Login> {
    let found = credentials.find(&RepoName::new(registry, path)).await.unwrap();
    found.map(|credential| credential.login)
}

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.to_owned(), password: Secret::new(password) }
}

#[tokio::test]
async fn entries_match_hosts_exactly_and_the_longest_path() {
    let entry = |user: &str| json!({ "username": user, "password": "p" });
    let config = json!({ "auths": {
        "https://index.docker.io/v1/": entry("hub"),
        "registry.example": entry("plain"),
        "http://registry.example:5000/": entry("port"),
        "https://ghcr.example/v2/": entry("v2"),
        "registry.example/group": entry("group"),
        "registry.example/group/app": entry("app"),
        "only.example/path": entry("path"),
    }});
    let credentials = Credentials::load(&places(&config)).unwrap();
    for (registry, path, user) in [
        ("docker.io", "library/node", Some("hub")),
        ("index.docker.io", "library/node", Some("hub")),
        ("registry.example", "x", Some("plain")),
        ("registry.example:5000", "x", Some("port")),
        ("registry.example:5001", "x", None),
        ("ghcr.example", "x/y", Some("v2")),
        ("registry.example", "group/x", Some("group")),
        ("registry.example", "group/app", Some("app")),
        ("registry.example", "group/app/deep", Some("app")),
        ("registry.example", "group/apple", Some("group")),
        ("registry.example", "groups", Some("plain")),
        ("only.example", "path/app", Some("path")),
        ("only.example", "other", None),
        ("registry.example.evil", "x", None),
        ("evil-registry.example", "x", None),
        ("evil", "registry.example", None),
    ] {
        let found = find(&credentials, registry, path).await;
        assert_eq!(found, user.map(|user| password(user, "p")), "{registry}/{path}");
    }
}

#[tokio::test]
async fn logins_are_written_in_many_ways() {
    for (entry, expected) in [
        (json!({ "auth": "dXNlcjpwYXNzOndvcmQ=" }), Some(password("user", "pass:word"))),
        (json!({ "auth": "dXNlcjpw" }), Some(password("user", "p"))),
        (
            json!({ "auth": "dXNlcjpwYXNz" , "username": "x", "password": "y" }),
            Some(password("user", "pass")),
        ),
        (json!({ "auth": "dTpw\n" }), Some(password("u", "p"))),
        (json!({ "auth": "dXNlcjpwYXNzOndvcmQ" }), Some(password("user", "pass:word"))),
        (json!({ "username": "user", "password": "p" }), Some(password("user", "p"))),
        (json!({ "username": "user" }), None),
        (json!({}), None),
        (json!({ "auth": "" }), None),
        (json!(null), None),
        (
            json!({ "auth": "dXNlcjo=", "identitytoken": "t" }),
            Some(Login::IdentityToken { user: Some("user".to_owned()), token: Secret::new("t") }),
        ),
        (json!({ "identitytoken": "t" }), Some(Login::IdentityToken { user: None, token: Secret::new("t") })),
        (json!({ "registrytoken": "t" }), Some(Login::RegistryToken(Secret::new("t")))),
    ] {
        let credentials = Credentials::load(&places(&json!({ "auths": { "r": entry } }))).unwrap();
        assert_eq!(find(&credentials, "r", "app").await, expected);
    }
}

#[test]
fn broken_configurations_are_told_without_their_secrets() {
    for (text, words) in [
        ("{", "$DOCKER_AUTH_CONFIG is not a docker config: line 1"),
        (r#"{"auths":{"r":{"password":{"hunter2":1}}}}"#, "is not a docker config"),
        (r#"{"auths":"hunter2"}"#, "is not a docker config"),
        (r#"{"auths":{"r":{"auth":"hunter2!"}}}"#, "the entry `r` of $DOCKER_AUTH_CONFIG is broken"),
        (r#"{"auths":{"r":{"auth":"aHVudGVyMg=="}}}"#, "must be the base64 form of `user:password`"),
    ] {
        let docker_auth_config = Some(Secret::new(text));
        let places = CredentialPlaces { docker_auth_config, ..CredentialPlaces::default() };
        let error = Credentials::load(&places).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let credentials = Credentials::single("r", "user", "hunter2");
    assert!(!format!("{credentials:?}").contains("hunter2"));
    let config = json!({ "auths": { "r": { "identitytoken": "hunter2" }, "s": { "auth": "dTpodW50ZXIy" } } });
    let places = places(&config);
    let shown = format!("{places:?} {:?}", Credentials::load(&places).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("dTpodW50ZXIy"), "{shown}");
}

fn write(path: &Path, user: &str) {
    let json = json!({ "auths": { "r": { "username": user, "password": "p" } } });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, json.to_string()).unwrap();
}

#[tokio::test]
async fn places_are_looked_at_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(&root.join("docker/config.json"), "directory");
    write(&root.join("file.json"), "file");
    write(&root.join("home/.docker/config.json"), "home");
    write(&root.join("podman.json"), "podman");
    write(&root.join("run/containers/auth.json"), "run");
    let base = CredentialPlaces {
        home: Some(root.join("home")),
        runtime_directory: Some(root.join("run")),
        ..CredentialPlaces::default()
    };
    let variable = places(&json!({ "auths": { "r": { "username": "variable", "password": "p" } } }));
    let elsewhere = Some(root.join("nowhere"));
    for (places, user) in [
        (base.clone(), "home"),
        (CredentialPlaces { docker_config: Some(root.join("docker")), ..base.clone() }, "directory"),
        (CredentialPlaces { docker_config: Some(root.join("file.json")), ..base.clone() }, "file"),
        (CredentialPlaces { docker_config: elsewhere.clone(), ..base.clone() }, "run"),
        (
            CredentialPlaces {
                docker_config: elsewhere,
                registry_auth_file: Some(root.join("podman.json")),
                ..base.clone()
            },
            "podman",
        ),
        (CredentialPlaces { docker_auth_config: variable.docker_auth_config, ..base }, "variable"),
    ] {
        let credentials = Credentials::load(&places).unwrap();
        assert_eq!(find(&credentials, "r", "app").await, Some(password(user, "p")));
    }
}

#[test]
fn files_that_are_empty_or_absent_are_no_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), "\n").unwrap();
    let docker_config = Some(directory.path().to_owned());
    let registry_auth_file = Some(directory.path().join("config.json/not/there"));
    let places = CredentialPlaces { docker_config, registry_auth_file, ..CredentialPlaces::default() };
    let credentials = Credentials::load(&places).unwrap();
    let places = credentials.looked_in().to_string();
    assert!(places.contains("/config.json and ") && places.ends_with("not/there"), "{places}");
}

/// Credentials of `config`, with the helper of these tests under all its names. The directory is its `PATH`.
fn with_helpers(config: &serde_json::Value) -> (Credentials, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/credentials/fixtures/helper.sh");
    for name in ["echo", "token", "empty", "unknown", "failing", "talking"] {
        symlink(helper, directory.path().join(format!("docker-credential-{name}"))).unwrap();
    }
    let path = Some(directory.path().as_os_str().to_owned());
    (Credentials::load(&CredentialPlaces { path, ..places(config) }).unwrap(), directory)
}

#[tokio::test]
async fn helpers_are_asked_for_their_registries() {
    let (credentials, _directory) = with_helpers(&json!({
        "auths": { "r": { "username": "inline", "password": "p" }, "r/path": { "username": "path", "password": "p" } },
        "credHelpers": { "r": "echo", "docker.io": "echo" },
    }));
    assert_eq!(find(&credentials, "r", "app").await, Some(password("get r", "s")));
    assert_eq!(find(&credentials, "r", "path/app").await, Some(password("path", "p")));
    assert_eq!(find(&credentials, "other", "app").await, None);
    let hub = find(&credentials, "docker.io", "library/node").await;
    assert_eq!(hub, Some(password("get https://index.docker.io/v1/", "s")));

    let config = json!({ "auths": { "r": { "auth": "dTpw" } }, "credsStore": "echo" });
    let (credentials, _directory) = with_helpers(&config);
    assert_eq!(find(&credentials, "r", "app").await, Some(password("u", "p")));
    assert_eq!(find(&credentials, "other", "app").await, Some(password("get other", "s")));
}

#[tokio::test]
async fn helpers_may_know_nothing_or_a_token() {
    let token = Login::IdentityToken { user: None, token: Secret::new("t") };
    for (name, expected) in [("token", Some(token)), ("empty", None), ("unknown", None)] {
        let (credentials, _directory) = with_helpers(&json!({ "credsStore": name }));
        assert_eq!(find(&credentials, "r", "app").await, expected, "{name}");
    }
}

#[tokio::test]
async fn helpers_that_fail_are_told() {
    for (name, words) in [
        ("failing", "`docker-credential-failing get` failed for r: no bus"),
        ("talking", "did not answer with `Username` and `Secret` for r"),
        ("missing", "`docker-credential-missing` is not on the PATH: install it"),
        ("../echo", "`../echo` is not the name of a credential helper"),
    ] {
        let (credentials, _directory) = with_helpers(&json!({ "credHelpers": { "r": name } }));
        let error = credentials.find(&RepoName::new("r", "app")).await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
    }
}
