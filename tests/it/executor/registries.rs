//! How registries are reached and who we are to them.

use super::Executor;
use crate::registry::Registry;
use crate::support::{Outcome, Served};

/// A build that pulls from one registry and pushes to another.
fn between(from: &Registry, to: Registry) -> Executor {
    Served::base().put(from, "base", "1");
    let dockerfile = format!("FROM {}/base:1\nLABEL a=b\n", from.host());
    Executor::with(to, &dockerfile).pushing()
}

#[test]
fn plain_http_and_tls_are_told_apart_where_either_may_be() {
    // This machine is a private host: plain HTTP works without a word.
    between(&Registry::start(), Registry::start()).run().success();
    // So does TLS, if its certificate is believed.
    let flags: [&[&str]; 3] = [
        &["--skip-tls-verify"],
        &["--insecure", "--insecure-pull", "--skip-tls-verify"],
        &["--skip-tls-verify-pull", "--skip-tls-verify"],
    ];
    for flags in flags {
        between(&Registry::start_tls(), Registry::start_tls()).args(flags.iter().copied()).run().success();
        between(&Registry::start(), Registry::start_tls()).args(flags.iter().copied()).run().success();
    }
    let refused = between(&Registry::start(), Registry::start_tls()).run();
    refused.failure(1, &["is signed by an unknown authority"]);
}

#[test]
fn what_is_for_pulls_is_not_for_pushes() {
    let pull_only = ["--skip-tls-verify-pull"];
    between(&Registry::start_tls(), Registry::start()).args(pull_only).run().success();
    let refused = between(&Registry::start(), Registry::start_tls()).args(pull_only).run();
    refused.failure(1, &["is signed by an unknown authority"]);
}

#[test]
fn registries_can_be_named() {
    let (from, to) = (Registry::start_tls(), Registry::start_tls());
    let named = [from.host(), to.host()].map(|host| format!("--skip-tls-verify-registry={host}"));
    between(&from, to).args(named).run().success();
    let from = Registry::start();
    let named = format!("--insecure-registry={}", from.host());
    between(&from, Registry::start()).args([named]).run().success();
}

#[test]
fn authorities_are_believed_and_certificates_shown() {
    let from = Registry::start();
    let executor = between(&from, Registry::start_tls());
    executor.registry.authority_pem(&executor.at("authority.pem"));
    let flag = format!(
        "--registry-certificate={}={}",
        executor.registry.host(),
        executor.at("authority.pem").display()
    );
    executor.args([flag]).run().success();

    let executor = between(&from, Registry::start_mutual_tls());
    let host = executor.registry.host();
    executor.registry.authority_pem(&executor.at("authority.pem"));
    executor.registry.client_pem(&executor.at("cert.pem"), &executor.at("key.pem"));
    let authority = format!("--registry-certificate={host}={}", executor.at("authority.pem").display());
    let own = format!(
        "--registry-client-cert={host}={},{}",
        executor.at("cert.pem").display(),
        executor.at("key.pem").display()
    );
    let executor = executor.args([authority]);
    executor.run().failure(1, &["TLS client certificate"]);
    executor.args([own]).run().success();

    // The directory that Kaniko's image names, where users mount their own.
    let executor = between(&from, Registry::start_tls());
    std::fs::create_dir(executor.at("certs")).unwrap();
    executor.registry.authority_pem(&executor.at("certs/additional-ca-cert-bundle.crt"));
    let directory = executor.at("certs").display().to_string();
    executor.env("SSL_CERT_DIR", directory).run().success();
}

#[test]
fn images_are_pulled_from_where_they_are_mapped_to() {
    let mirror = Registry::start();
    Served::base().put(&mirror, "proxy/library/base", "1");
    let build = |arguments: Vec<String>| {
        let executor = Executor::new("").file("Dockerfile", "FROM docker.io/library/base:1\nLABEL a=b\n");
        executor.pushing().args(arguments)
    };
    let place = format!("{}/proxy", mirror.host());
    for arguments in [
        vec![format!("--registry-mirror={place}")],
        vec![format!("--registry-map=index.docker.io={place};other.example=nowhere.invalid")],
        vec![
            format!("--registry-map=docker.io={}/none", mirror.host()),
            format!("--registry-map=docker.io={place}"),
            "--skip-default-registry-fallback".to_owned(),
        ],
    ] {
        build(arguments).run().success();
    }
    build(vec![]).env("KANIKO_REGISTRY_MIRROR", place.clone()).run().success();
    build(vec![]).env("KANIKO_REGISTRY_MAP", format!("index.docker.io={place}")).run().success();
    assert!(mirror.count("GET", "ns=docker.io") > 0);

    // What the mirror lacks the original may have, unless it is not to be asked.
    let (original, empty) = (Registry::start(), Registry::start());
    let executor = between(&original, Registry::start());
    let map = format!("--registry-map={}={}", original.host(), empty.host());
    let executor = executor.args([map]);
    executor.run().success();
    let only = between(&original, Registry::start()).args([
        format!("--registry-map={}={}", original.host(), empty.host()),
        "--skip-default-registry-fallback".to_owned(),
    ]);
    only.run().failure(1, &["cannot use the image"]);
}

fn with_login(build: impl FnOnce(Executor) -> Executor) -> Outcome {
    let registry = Registry::start().auth("user", "secret");
    build(Executor::with(registry, "FROM base\nLABEL a=b\n").pushing()).run()
}

#[test]
fn logins_are_found_in_variables() {
    let host = |executor: &Executor| executor.registry.host();
    let variable = |executor: &Executor| {
        host(executor).to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    };
    let by_kaniko = |executor: Executor| {
        let name = variable(&executor);
        executor.env(&format!("KANIKO_{name}_USER"), "user").env(&format!("KANIKO_{name}_PASSWORD"), "secret")
    };
    with_login(by_kaniko).success();
    let by_gitlab = |executor: Executor| {
        let host = host(&executor);
        executor
            .env("CI_REGISTRY", host)
            .env("CI_REGISTRY_USER", "user")
            .env("CI_REGISTRY_PASSWORD", "secret")
    };
    with_login(by_gitlab).success();
    with_login(|executor| by_gitlab(executor).args(["--credential-helpers=gitlab"])).success();
    let said = "error checking push permissions";
    with_login(|executor| by_gitlab(executor).args(["--credential-helpers="])).failure(1, &[said]);
    with_login(|executor| by_gitlab(executor).args(["--credential-helpers=env", "--credential-helpers=ecr"]))
        .failure(1, &[said]);
    let unknown = with_login(|executor| by_gitlab(executor).args(["--credential-helpers=vault"]));
    unknown.failure(1, &[said, "Unknown cred-source \"vault\", skipping."]);
    // The host is another one by its port.
    with_login(|executor| {
        executor
            .env("CI_REGISTRY", "127.0.0.1:1")
            .env("CI_REGISTRY_USER", "user")
            .env("CI_REGISTRY_PASSWORD", "secret")
    })
    .failure(1, &[said]);
}

#[test]
fn logins_are_found_in_files_and_texts() {
    let config = |executor: &Executor| {
        serde_json::json!({"auths": {executor.registry.host(): {"auth": "dXNlcjpzZWNyZXQ="}}}).to_string()
    };
    with_login(|executor| {
        let config = config(&executor);
        executor.env("DOCKER_AUTH_CONFIG", config)
    })
    .success();
    for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"] {
        with_login(|executor| {
            let file = executor.at("auth.json");
            std::fs::write(&file, config(&executor)).unwrap();
            executor.env(variable, file.display().to_string())
        })
        .success();
    }
    // An entry for a path of the registry is for that path only.
    for (path, works) in [("team/app", true), ("team", true), ("team/ap", false), ("other", false)] {
        let outcome = with_login(|executor| {
            let key = executor.name(path);
            let config = serde_json::json!({"auths": {key: {"auth": "dXNlcjpzZWNyZXQ="}}}).to_string();
            executor.file("Dockerfile", "FROM scratch\nLABEL a=b\n").env("DOCKER_AUTH_CONFIG", config)
        });
        assert_eq!(outcome.code == Some(0), works, "{path}: {}", outcome.stderr);
    }
}

#[test]
fn servers_are_told_what_asks() {
    let agents = |executor: Executor| {
        executor.run().success();
        let agents: std::collections::BTreeSet<_> =
            executor.registry.requests().into_iter().map(|request| request.user_agent.unwrap()).collect();
        agents.into_iter().collect::<Vec<_>>()
    };
    let usual = concat!("cooper/", env!("CARGO_PKG_VERSION"));
    let build = || Executor::new("FROM base\nLABEL a=b\n").pushing();
    assert_eq!(agents(build()), [usual]);
    assert_eq!(agents(build().env("UPSTREAM_CLIENT_TYPE", "my-ci/1")), [format!("{usual},my-ci/1")]);
    let odd = build().env("UPSTREAM_CLIENT_TYPE", "a\nb").run();
    odd.failure(1, &["UPSTREAM_CLIENT_TYPE is `a\\nb`, which no header can hold"]);
}

#[test]
fn proxies_are_used() {
    // It answers, as any registry that is asked for what it does not have.
    let proxy = Registry::start();
    let executor = Executor::new("")
        .file("Dockerfile", "FROM registry.invalid.local/base:1\nLABEL a=b\n")
        .local()
        .env("HTTP_PROXY", format!("http://{}", proxy.host()));
    executor.run().failure(1, &["the image registry.invalid.local/base:1 was not found"]);
    assert!(proxy.count("GET", "http://registry.invalid.local/v2/base/manifests/1") > 0);
}
