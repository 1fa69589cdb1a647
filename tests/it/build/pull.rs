//! Pulling a base image, in all the ways in which registries give them.

use cooper::image::Platform;

use crate::registry::{Effect, Fault, Registry};
use crate::support::{Build, Served, tool};

/// A build on `library/small:1` of Docker Hub, of which the registry is a mirror.
fn mirrored(step: &str, registry: &Registry) -> Build {
    Build::new(&format!("FROM small:1\n{step}\n")).args(["--registry-mirror", &registry.host()])
}

fn with_base() -> (Registry, Served) {
    let (registry, base) = (Registry::start(), Served::base());
    base.put(&registry, "library/small", "1");
    (registry, base)
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let (registry, base) = with_base();
    let target = format!("/blobs/{}", base.digests()[0]);
    registry.add_fault(Fault::on("GET", &target, Effect::Truncate(300_000)));
    registry.add_fault(Fault::on("GET", &target, Effect::Truncate(200_000)));
    let image = mirrored("RUN echo x > /x", &registry).image();
    assert_eq!((image.text("x").as_str(), image.text("usr/lib/one").as_str()), ("x\n", "linked\n"));
    let requests = registry.requests().into_iter().filter(|request| request.target.contains(&target));
    let ranges: Vec<_> = requests.map(|request| request.range.unwrap_or_default()).collect();
    let last = base.layers[0].0.len() - 1;
    assert_eq!(ranges, [String::new(), format!("bytes=300000-{last}"), format!("bytes=500000-{last}")]);
}

#[test]
fn layers_come_side_by_side() {
    let (registry, base) = with_base();
    for digest in base.digests() {
        registry.add_fault(Fault::on("GET", &format!("/blobs/{digest}"), Effect::Meet(2)));
    }
    mirrored("RUN echo x > /x", &registry).run().success();
    assert!(registry.peak() >= 2);
    for digest in base.digests() {
        assert_eq!(registry.count("GET", &format!("/blobs/{digest}")), 1, "each once");
    }
}

#[test]
fn the_same_image_a_second_time_costs_one_question() {
    let (registry, _) = with_base();
    let first = mirrored("RUN echo x > /x", &registry);
    first.run().success();
    let before = registry.requests().len();
    mirrored("RUN echo y > /y", &registry).store(first.store_path()).run().success();
    let asked: Vec<_> = registry.requests().drain(before..).map(|one| (one.method, one.target)).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].0, "HEAD");
}

#[test]
fn https_with_an_own_authority() {
    let registry = Registry::start_tls();
    Served::base().put(&registry, "team/small", "1");
    let host = registry.host();
    let build = || Build::new(&format!("FROM {host}/team/small:1\nCOPY a /\n")).file("a", "text");
    let with_authority = |authority: &Registry| {
        let build = build();
        let pem = build.beside("authority.pem");
        authority.authority_pem(&pem);
        build.args(["--registry-certificate".to_owned(), format!("{host}={}", pem.display())])
    };
    assert_eq!(with_authority(&registry).image().text("a"), "text");
    let said = format!("the TLS certificate of {host} is signed by an unknown authority");
    with_authority(&Registry::start_tls()).run().failure(1, &[&said, "--registry-certificate"]);
    let missing = build().args(["--registry-certificate".to_owned(), format!("{host}=/no/such.pem")]);
    missing.run().failure(1, &["error: the PEM file `/no/such.pem` given for the registry"]);
}

#[test]
fn logins_are_found_where_docker_keeps_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "user:secret");
    for (is_bearer, config) in [
        (false, r#"{"auths":{"HOST":{"auth":"LOGIN"}}}"#),
        (true, r#"{"auths":{"HOST":{"auth":"LOGIN"}}}"#),
        (true, r#"{"auths":{"https://HOST/v1/":{"username":"user","password":"secret"}}}"#),
        (true, r#"{"credHelpers":{"HOST":"test"}}"#),
        (false, r#"{"credsStore":"test"}"#),
    ] {
        let registry = Registry::start();
        let registry =
            if is_bearer { registry.token_auth("user", "secret") } else { registry.auth("user", "secret") };
        Served::base().put(&registry, "team/small", "1");
        let host = registry.host();
        let build = Build::new(&format!("FROM {host}/team/small:1\nCOPY a /\n")).file("a", "text");
        let config = config.replace("HOST", &host).replace("LOGIN", &login);
        let directory = build.beside("docker");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("config.json"), &config).unwrap();
        let helper = directory.join("docker-credential-test");
        std::fs::write(&helper, "#!/bin/sh\necho '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n").unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        // A directory, and a file: both are common in clusters.
        for place in [directory.clone(), directory.join("config.json")] {
            let tag = format!("{host}/team/app:1");
            let outcome = Build::new(&format!("FROM {host}/team/small:1\nCOPY a /\n"))
                .file("a", "text")
                .env("DOCKER_CONFIG", place.display().to_string())
                .env("PATH", format!("{}:/usr/bin:/bin", directory.display()))
                .args(["--push", "--tag", &tag])
                .run();
            let outcome = outcome.success();
            assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
        }
        assert!(registry.manifest("team/app", "1").is_some(), "{config}");
        drop(build);
    }
}

#[test]
fn anybody_may_pull_with_a_token_of_their_own() {
    let registry = Registry::start().token_auth("user", "secret").anonymous_pull();
    Served::base().put(&registry, "library/small", "1");
    mirrored("COPY Dockerfile /", &registry).run().success();
}

#[test]
fn indexes_with_attestations() {
    let registry = Registry::start();
    Served::base().put_index(&registry, "library/small", "1", &Platform::host());
    let image = mirrored("COPY Dockerfile /", &registry).image();
    assert_eq!(image.run_config()["Cmd"], serde_json::json!(["sh"]));
    assert_eq!(image.manifest["layers"].as_array().unwrap().len(), 3);

    let elsewhere: Platform = "linux/s390x".parse().unwrap();
    let registry = Registry::start();
    Served::base().put_index(&registry, "library/small", "1", &elsewhere);
    mirrored("COPY Dockerfile /", &registry)
        .run()
        .failure(1, &["error: cannot use the image", "linux/s390x"]);
    mirrored("COPY Dockerfile /", &registry).args(["--platform", "linux/s390x"]).run().success();
}

#[test]
fn images_keep_the_kind_of_their_base() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    for (base, arguments, expected) in [
        (Served::base(), &[][..], oci),
        (Served::base().docker(), &[], docker),
        (Served::base().docker(), &["--image-format", "oci"], oci),
        (Served::base(), &["--image-format", "docker"], docker),
    ] {
        let registry = Registry::start();
        base.put(&registry, "library/small", "1");
        let tag = format!("{}/app:1", registry.host());
        let build = mirrored("COPY Dockerfile /", &registry).args(["--push", "--tag", &tag]);
        build.args(arguments.iter().copied()).run().success();
        let manifest = registry.manifest("app", "1").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["mediaType"], expected);
        let kinds = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        for kind in kinds.map(|layer| layer["mediaType"].as_str().unwrap()) {
            assert_eq!(kind.contains("docker"), expected == docker, "{kind} in {expected}");
        }
    }
}

#[test]
fn layers_of_zstd() {
    let registry = Registry::start();
    Served::base().zstd().put(&registry, "library/small", "1");
    let build = mirrored("COPY --from=small:1 /etc/passwd /copied\nRUN echo x > /x", &registry);
    // umoci does not read such layers; skopeo does, and so must the flattened files.
    let (tar, layout) = (build.beside("files.tar"), build.beside("layout"));
    let build = build.arg(format!("--output=type=tar,dest={}", tar.display()));
    let build = build.arg(format!("--output=type=oci,dest={}", layout.display()));
    build.run().success();
    let text = |path: &str| tool("tar", ["-xOf".as_ref(), tar.as_os_str(), path.as_ref()]);
    assert!(text("copied").contains("app:x:1000"));
    assert_eq!((text("x").as_str(), text("usr/lib/one").as_str()), ("x\n", "linked\n"));
    let manifest = tool("skopeo", ["inspect", "--raw", &format!("oci:{}", layout.display())]);
    assert_eq!(manifest.matches("application/vnd.oci.image.layer.v1.tar+zstd").count(), 2, "{manifest}");
    mirrored("COPY Dockerfile /", &registry)
        .args(["--image-format", "docker"])
        .run()
        .failure(1, &["error: ", "zstd"]);
}

#[test]
fn mirrors_have_prefixes_and_deputies() {
    let (registry, _) = with_base();
    let second = Registry::start();
    Served::base().put(&second, "hub/library/other", "1");
    let build = Build::new("FROM small:1\nCOPY --from=other:1 /etc/passwd /copied\n").args([
        "--registry-mirror".to_owned(),
        registry.host(),
        "--registry-mirror".to_owned(),
        format!("{}/hub", second.host()),
    ]);
    assert!(build.image().text("copied").contains("root"));
    assert!(registry.requests()[0].target.ends_with("?ns=docker.io"));
}
