//! Getting there: names, ports, TLS, busy servers.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cooper::image::RepoName;
use cooper::registry::{
    ClientCertificate, Credentials, Hosts, Problem, Registries, RegistrySettings, RetryPolicy, Traffic,
};

use super::{MANIFEST, app, chain, descriptor, fetch, noise, open, settings};
use crate::registry::{Effect, Fault, Registry};

async fn pull(settings: RegistrySettings, host: &str) -> Result<(), String> {
    let repository = open(settings, Credentials::anonymous(), host, "app");
    repository.manifest("1").await.map(drop).map_err(|error| chain(&error))
}

#[tokio::test]
async fn closed_ports_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let text = pull(settings(), &host).await.unwrap_err();
    assert!(text.contains(&format!("{host} refused the connection: check the port")), "{text}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_given_up_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let usual = RegistrySettings { retry: RetryPolicy::default(), ..settings() };
    let began = Instant::now();
    pull(usual.clone(), &host).await.unwrap_err();
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(700) && waited < Duration::from_millis(2500), "{waited:?}");
    // More tries are had for the asking.
    let retry = RetryPolicy { refused_attempts: 4, ..RetryPolicy::default() };
    let began = Instant::now();
    pull(RegistrySettings { retry, ..usual }, &host).await.unwrap_err();
    assert!(began.elapsed() > Duration::from_millis(1700), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_registry_that_has_answered_before_gets_all_patience() {
    let registry = Registry::start();
    let host = registry.host();
    let retry = RetryPolicy { base_milliseconds: 20, ..RetryPolicy::default() };
    let repository = open(RegistrySettings { retry, ..settings() }, Credentials::anonymous(), &host, "app");
    repository.manifest("1").await.unwrap_err();
    drop(registry);
    let began = Instant::now();
    repository.manifest("1").await.unwrap_err();
    // 20 + 40 + 80 + 160 ms, less up to half of each; after the third try it would have been at most 60 ms.
    assert!(began.elapsed() > Duration::from_millis(140), "{:?}", began.elapsed());
}

#[tokio::test]
async fn unknown_hosts_are_told() {
    let once = RegistrySettings {
        retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
        ..RegistrySettings::default()
    };
    let text = pull(once, "registry.invalid").await.unwrap_err();
    assert!(text.contains("the host registry.invalid was not found"), "{text}");
}

#[tokio::test]
async fn silent_hosts_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let text = pull(RegistrySettings { stall_seconds: 1, retry, ..settings() }, &host).await.unwrap_err();
    assert!(text.contains(&format!("{host} did not answer within 1 s")), "{text}");
}

#[tokio::test]
async fn plain_http_is_told_from_tls() {
    let registry = Registry::start();
    // Naming the host here makes it a TLS host, although it is this machine.
    let skip_tls_verify = Hosts::from_iter([registry.host()]);
    let text = pull(RegistrySettings { skip_tls_verify, ..settings() }, &registry.host()).await.unwrap_err();
    let expected = format!("speaks plain HTTP: add `--insecure-registry {}`", registry.host());
    assert!(text.contains(&expected), "{text}");
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn tls_is_told_from_plain_http() {
    let registry = Registry::start_tls();
    let text = pull(settings(), &registry.host()).await.unwrap_err();
    assert!(text.contains(&format!("the registry at {} speaks HTTPS", registry.host())), "{text}");
}

#[tokio::test]
async fn certificates_are_checked() {
    let registry = Registry::start_tls();
    registry.put_manifest("app", "1", MANIFEST, "{}");
    let directory = tempfile::tempdir().unwrap();
    let (right, wrong) = (directory.path().join("right.pem"), directory.path().join("wrong.pem"));
    registry.authority_pem(&right);
    Registry::start_tls().authority_pem(&wrong);

    let with = |path| RegistrySettings { certificates: [(registry.host(), path)].into(), ..settings() };
    pull(with(right), &registry.host()).await.unwrap();
    let text = pull(with(wrong), &registry.host()).await.unwrap_err();
    assert!(text.contains("signed by an unknown authority"), "{text}");
    assert!(text.contains(&format!("--registry-certificate {}=", registry.host())), "{text}");

    let skip_tls_verify = Hosts::from_iter([registry.host()]);
    pull(RegistrySettings { skip_tls_verify, ..settings() }, &registry.host()).await.unwrap();
}

#[tokio::test]
async fn client_certificates_are_shown_and_asked_for() {
    let registry = Registry::start_mutual_tls();
    registry.put_manifest("app", "1", MANIFEST, "{}");
    let directory = tempfile::tempdir().unwrap();
    let file = |name| directory.path().join(name);
    registry.authority_pem(&file("ca.pem"));
    registry.client_pem(&file("certificate.pem"), &file("key.pem"));
    let settings =
        RegistrySettings { certificates: [(registry.host(), file("ca.pem"))].into(), ..settings() };
    let text = pull(settings.clone(), &registry.host()).await.unwrap_err();
    assert!(text.contains(&format!("--registry-client-cert {}=", registry.host())), "{text}");

    let own = ClientCertificate { certificate: file("certificate.pem"), key: file("key.pem") };
    let client_certificates = [(registry.host(), own)].into();
    pull(RegistrySettings { client_certificates, ..settings }, &registry.host()).await.unwrap();
}

#[tokio::test]
async fn not_too_much_is_asked_at_once() {
    let slow = Fault::on("GET", "", Effect::Slow(1, Duration::from_millis(5))).always();
    let registry = Registry::start().fault(slow);
    registry.put_manifest("app", "1", MANIFEST, "{}");
    let settings = RegistrySettings { concurrency: 2, ..settings() };
    let repository = open(settings, Credentials::anonymous(), &registry.host(), "app");
    let all = futures_util::future::join_all((0..10).map(|_| repository.manifest("1"))).await;
    assert!(all.iter().all(Result::is_ok));
    // The registry sees the end of a request a moment after the client, so that two may overlap with the next two.
    assert!((2..=4).contains(&registry.peak()), "{}", registry.peak());
}

#[tokio::test]
async fn blobs_go_through_tls_both_ways() {
    let registry = Registry::start_tls().token_auth("user", "secret");
    let skip_tls_verify = Hosts::from_iter([registry.host()]);
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let settings = RegistrySettings { skip_tls_verify, chunk_size: 100_000, ..settings() };
    let repository = open(settings, credentials, &registry.host(), "app");
    let bytes = noise(350_000);
    repository.upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
    assert_eq!(fetch(&repository, &descriptor(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn no_redirect_leaves_encryption() {
    let storage = Registry::start();
    let registry = Registry::start_tls();
    // A name that is not this machine's own, so that plain HTTP is not allowed anyway.
    let elsewhere = Effect::Redirect(format!("http://storage.invalid:{}", storage.host().len()));
    registry.add_fault(Fault::on("GET", "/blobs/", elsewhere).always());
    let skip_tls_verify = Hosts::from_iter([registry.host()]);
    let settings = RegistrySettings { skip_tls_verify, ..settings() };
    let repository = open(settings, Credentials::anonymous(), &registry.host(), "app");
    let error = repository.blob(&descriptor(b"x")).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::InsecureRedirect { .. }), "{error}");
}

#[tokio::test]
async fn failures_that_pass_are_retried() {
    for effect in
        [Effect::Status(500), Effect::Status(503), Effect::Status(408), Effect::Drop, Effect::TooMany("0")]
    {
        let registry = Registry::start().fault(Fault::on("GET", "", effect.clone()).times(3));
        registry.put_manifest("app", "1", MANIFEST, "{}");
        app(&registry).manifest("1").await.unwrap();
        assert_eq!(registry.count("GET", ""), 4, "{effect:?}");
    }
}

#[tokio::test]
async fn failures_that_last_are_told() {
    for (effect, words) in [
        (Effect::Status(500), "failed 4 times, last with status 500 (the registry says: UNKNOWN: a fault"),
        (Effect::Drop, "the connection with"),
        (Effect::TooMany("0"), "answered `too many requests` 4 times: log in to raise the limit"),
    ] {
        let registry = Registry::start().fault(Fault::on("GET", "", effect).always());
        let text = pull(settings(), &registry.host()).await.unwrap_err();
        assert!(text.contains(words), "{text}");
        assert_eq!(registry.count("GET", ""), 4);
    }
}

#[tokio::test]
async fn a_wish_to_wait_is_granted_within_reason() {
    let registry = Registry::start().fault(Fault::on("GET", "", Effect::TooMany("1")));
    registry.put_manifest("app", "1", MANIFEST, "{}");
    let start = Instant::now();
    app(&registry).manifest("1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    registry.add_fault(Fault::on("GET", "", Effect::TooMany("86400")));
    let text = pull(settings(), &registry.host()).await.unwrap_err();
    assert!(text.contains("`too many requests` 1 times and asks to wait 86400 s"), "{text}");
}

#[tokio::test]
async fn odd_names_stay_inside_the_registry() {
    let registry = Registry::start();
    for path in ["../../token", "a?b", "a#b", "a b"] {
        let repository = open(settings(), Credentials::anonymous(), &registry.host(), path);
        assert!(repository.manifest("1").await.is_err());
    }
    let targets: Vec<_> = registry.requests().into_iter().map(|request| request.target).collect();
    assert!(targets.iter().all(|target| target.starts_with("/v2/") && !target.contains('?')), "{targets:?}");

    let registries = Registries::new(settings(), Credentials::anonymous()).unwrap();
    for host in ["", "user@registry.example", "registry.example/path", "a b", "registry.example?x"] {
        assert!(registries.repository(&RepoName::new(host, "app")).is_err(), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_on_many_threads_share_a_repository() {
    let registry = Registry::start().token_auth("user", "secret");
    let credentials = Credentials::single(&registry.host(), "user", "secret");
    let repository = open(settings(), credentials, &registry.host(), "app");
    let tasks = (0..30).map(|number| {
        let repository = repository.clone();
        tokio::spawn(async move {
            let bytes = noise(10_000 + number);
            repository.upload(&descriptor(&bytes), bytes.clone(), &[]).await.unwrap();
            assert_eq!(fetch(&repository, &descriptor(&bytes)).await.unwrap(), bytes);
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    // Nothing was sent twice.
    assert_eq!(registry.count("PUT", ""), 30);
}

#[tokio::test]
async fn traffic_is_counted_per_registry() {
    let registry = Registry::start();
    registry.put_blob("app", "12345");
    let registries = Registries::new(settings(), Credentials::anonymous()).unwrap();
    let repository = registries.repository(&RepoName::new(registry.host(), "app")).unwrap();
    fetch(&repository, &descriptor(b"12345")).await.unwrap();
    repository.upload(&descriptor(b"123"), bytes::Bytes::from("123"), &[]).await.unwrap();
    // GET, then HEAD, POST, PUT.
    let expected = Traffic { requests: 4, received: 5, sent: 3 };
    assert_eq!(registries.statistics(), [(registry.host(), expected)].into());
}
