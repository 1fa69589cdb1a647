//! The pod that Cooper replaces: the very arguments, a ConfigMap as workspace, a Secret as docker config, and a registry
//! in plain HTTP with a password.

use super::{Built, Executor};
use crate::registry::Registry;
use crate::support::Mounted;

const DOCKERFILE: &str = "\
FROM base
WORKDIR /app
COPY package.json ./
COPY src/ ./src/
RUN echo web:x:101:101::/app:/bin/false >> /etc/passwd && echo web:x:101: >> /etc/group && chown -R web:web /app
USER web
CMD [\"node\", \"src/server.js\"]
";

fn seed() -> (Executor, Mounted, Mounted) {
    let executor = Executor::with(Registry::start().auth("user", "secret"), DOCKERFILE);
    let dockerfile = std::fs::read(executor.workspace().join("Dockerfile")).unwrap();
    std::fs::remove_dir_all(executor.workspace()).unwrap();
    let files: [(&str, &[u8]); 4] = [
        ("Dockerfile", &dockerfile),
        (".dockerignore", b"Dockerfile\n"),
        ("package.json", b"{\"name\":\"app\"}\n"),
        ("src/server.js", b"console.log('hello')\n"),
    ];
    let context = Mounted::new(&executor.workspace(), &files);
    let secret = Mounted::docker_config(&executor.at("docker"), &executor.registry.host(), "secret");
    let dockerfile = executor.workspace().join("Dockerfile").display().to_string();
    let (destination, cache) = (executor.name("team/app:1"), executor.name("team/app/cache"));
    let config = secret.root().display().to_string();
    let executor = executor.env("DOCKER_CONFIG", config).args([
        format!("--dockerfile={dockerfile}"),
        format!("--destination={destination}"),
        "--cache=true".to_owned(),
        format!("--cache-repo={cache}"),
        "--skip-tls-verify".to_owned(),
        "--verbosity=info".to_owned(),
    ]);
    (executor, context, secret)
}

#[test]
fn the_pod_of_the_seed_runs_unchanged() {
    let (executor, ..) = seed();
    let said = executor.run().success().stderr;
    let digest = executor.pushed_digest();
    for line in [
        &format!("Retrieving image manifest {}", executor.name("base:1")),
        "No cached layer found for cmd COPY package.json ./",
        "Taking snapshot of full filesystem...",
        &format!("Pushing image to {}", executor.name("team/app:1")),
        &format!("Pushed {}@{digest}", executor.name("team/app")),
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
}

#[test]
fn nothing_of_the_mount_is_in_the_image_and_another_mount_of_it_changes_nothing() {
    let (executor, mut context, _secret) = seed();
    let executor = executor.path("--oci-layout-path", "layout");
    executor.run().success();
    let first = executor.pushed_digest();
    let files = Built::read(&executor.at("layout")).added().concat();
    assert!(files.contains(&"app/src/server.js".to_owned()), "{files:?}");
    assert!(files.iter().all(|path| !path.contains("..")), "{files:?}");

    context.mount();
    let said = executor.run().success().stderr;
    assert_eq!(executor.pushed_digest(), first);
    assert_eq!(said.matches("Using caching version of cmd").count(), 4, "{said}");
    assert!(!said.contains("No cached layer found"), "{said}");
}

#[test]
fn a_wrong_password_is_told_before_anything_is_built() {
    let (executor, ..) = seed();
    let wrong = Mounted::docker_config(&executor.at("other"), &executor.registry.host(), "wrong");
    let executor = executor.env("DOCKER_CONFIG", wrong.root().display().to_string());
    let repository = executor.name("team/app");
    executor.run().failure(
        1,
        &[
            "error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: ",
            &format!("checking push permission for \"{repository}\""),
            "other/config.json",
        ],
    );
    assert_eq!(executor.registry.count("GET", "/manifests/"), 0);
}
