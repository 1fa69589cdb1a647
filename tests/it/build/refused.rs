//! Bad input: one clear error, a non-zero exit, and nothing half-written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::registry::{Effect, Fault, Registry};
use crate::support::{Build, DebianRegistry, Outcome, Served};

/// Runs a build with an output of each kind, sees it fail, and sees that nothing came of it.
#[track_caller]
fn fails(build: Build, code: i32, said: &[&str]) -> Outcome {
    let outputs = ["oci", "docker", "tar"].map(|kind| {
        let path = build.beside(&format!("{kind}.tar"));
        (format!("--output=type={kind},dest={}", path.display()), path)
    });
    let files = ["metadata", "iid"].map(|name| build.beside(name));
    let layout = build.beside("layout");
    let build = build
        .args(outputs.iter().map(|(argument, _)| argument))
        .arg(format!("--output=type=oci,dest={}", layout.display()))
        .args(["--metadata-file".to_owned(), files[0].display().to_string()])
        .args(["--iidfile".to_owned(), files[1].display().to_string()]);
    let outcome = build.run().failure(code, said);
    for path in outputs.iter().map(|(_, path)| path).chain(&files).chain([&layout]) {
        assert!(!path.exists(), "{} was written", path.display());
    }
    assert_eq!(outcome.stdout, "");
    assert_nothing_half_written(build.store_path());
    // The error is the last thing that is said, and said once.
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(errors, 1, "{}", outcome.stderr);
    outcome
}

/// No file of a process that is gone is left in the store.
#[track_caller]
pub(super) fn assert_nothing_half_written(store: &Path) {
    let left = walkdir::WalkDir::new(store.join("tmp")).min_depth(1).into_iter();
    let left: Vec<_> = left.filter_map(Result::ok).map(walkdir::DirEntry::into_path).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

#[test]
fn unknown_images_and_tags() {
    let registry = Registry::start();
    Served::base().put(&registry, "team/known", "1");
    let host = registry.host();
    for (image, said) in [
        (format!("{host}/team/known:2"), format!("the image {host}/team/known:2 was not found")),
        (format!("{host}/team/unknown"), format!("the repository {host}/team/unknown does not exist")),
    ] {
        let build = Build::new(&format!("FROM {image}\nCOPY . .\n"));
        fails(build, 1, &["error: cannot use the image", &said]);
    }
}

#[test]
fn wrong_and_missing_passwords() {
    let registry = DebianRegistry::start();
    let config = registry.docker_config().display().to_string();
    let tag = format!("{}/app:1", registry.host());
    let push = |config: &str| {
        let build = Build::new("FROM base\nRUN sleep 0.1\n").env("DOCKER_CONFIG", config);
        build.args(["--push", "--tag", &tag])
    };
    let missing = push("/nowhere");
    let said = ["wants a login", "no credentials for localhost:", "(looked in /nowhere/config.json"];
    fails(missing, 1, &said);
    registry.log_in("mistaken");
    let said = [&format!("refused the credentials from {config}/config.json: check user name and password")];
    fails(push(&config), 1, &said.map(String::as_str));
    assert!(!registry.log().contains("\"PUT "));
}

#[test]
fn a_wrong_password_is_told_before_the_last_step_is_done() {
    let registry = DebianRegistry::start();
    registry.log_in("mistaken");
    let build = Build::new("FROM base\nRUN sleep 6091\n")
        .env("DOCKER_CONFIG", registry.docker_config().display().to_string())
        .args(["--push".to_owned(), format!("--tag={}/app:1", registry.host())]);
    let said = fails(build, 1, &["refused the credentials"]).stderr;
    assert!(!said.contains("RUN sleep 6091 failed"), "{said}");
    assert_no_process("6091");
}

#[test]
fn a_registry_that_is_down() {
    let said = ["127.0.0.1:9 refused the connection: check the port, and that the registry is running"];
    fails(Build::new("FROM 127.0.0.1:9/app\n"), 1, &said);
    fails(Build::new("FROM base\n").args(["--push", "--tag", "127.0.0.1:9/app:1"]), 1, &said);
    let said = ["the host registry.invalid was not found: check the name, and that this pod's DNS knows it"];
    fails(Build::new("FROM registry.invalid/app\n"), 1, &said);
}

#[test]
fn http_where_https_was_expected_and_the_other_way() {
    let plain = Registry::start();
    Served::base().put(&plain, "app", "1");
    let host = plain.host();
    // This machine is spoken to in plain HTTP, unless a certificate for it is named.
    let tls = Registry::start_tls();
    let build = || {
        let build = Build::new(&format!("FROM {host}/app:1\n"));
        let pem = build.beside("authority.pem");
        tls.authority_pem(&pem);
        build.args(["--registry-certificate".to_owned(), format!("{host}={}", pem.display())])
    };
    let said = format!("the registry at {host} speaks plain HTTP: add `--insecure-registry {host}`");
    fails(build(), 1, &[&said]);
    build().args(["--insecure-registry", &host]).run().success();

    Served::base().put(&tls, "app", "1");
    let host = tls.host();
    let said = [format!("the registry at {host} speaks HTTPS")];
    fails(Build::new(&format!("FROM {host}/app:1\n")), 1, &said.each_ref().map(String::as_str));
}

#[test]
fn blobs_that_are_not_what_they_should_be() {
    for (effect, said) in [
        (Effect::Corrupt, "sent content that does not match its digest: expected sha256:"),
        (Effect::Truncate(1000), "tries to get the rest brought nothing"),
        (Effect::Lengthen, "sent more than the expected"),
        (Effect::Status(404), "the registry does not have the blob"),
    ] {
        let registry = Registry::start();
        let served = Served::base();
        served.put(&registry, "app", "1");
        let digest = served.digests()[0];
        registry.add_fault(Fault::on("GET", &format!("/blobs/{digest}"), effect).always());
        for step in ["WORKDIR /new", "RUN true"] {
            let build = Build::new(&format!("FROM {}/app:1\n{step}\n", registry.host()));
            fails(build, 1, &["error", &digest.to_string(), said, step]);
        }
    }
}

#[test]
fn missing_files() {
    let build = Build::new("FROM base\nCOPY pakage.json ./\n").file("package.json", "{}");
    let said = ["error[NotFound]", "pakage.json", "did you mean `package.json`", "Dockerfile:2:6"];
    fails(build, 1, &said);
    let build =
        Build::new("FROM base\nCOPY secret .\n").file("secret", "x").file(".dockerignore", "secret\n");
    fails(build, 1, &["error[NotFound]", ".dockerignore"]);
    let said = ["error[NotFound]", "Dockerfile:4:"];
    fails(Build::new("FROM base AS one\n\nFROM base\nCOPY --from=one /nothing /\n"), 1, &said);
}

#[test]
fn a_run_that_fails() {
    let build = Build::new("FROM base\nRUN echo to stdout; echo to stderr >&2; exit 42\nRUN echo never\n");
    let said =
        fails(build, 42, &["| to stdout\n", "| to stderr\n", "exit code: 42", "Dockerfile:2:1"]).stderr;
    assert!(!said.contains("never"), "{said}");
    fails(Build::new("FROM base\nRUN kill -9 $$\n"), 137, &["exit code: 137"]);
    fails(
        Build::new("FROM base\nRUN [\"/bin/absent\"]\n"),
        1,
        &["cannot execute `/bin/absent`: No such file"],
    );
}

#[test]
fn what_runs_beside_a_failed_step_is_stopped() {
    let text = "FROM base AS one\nRUN sleep 617\nFROM base\nRUN sleep 0.3; exit 3\nCOPY --from=one / /\n";
    let said = fails(Build::new(text), 3, &["exit 3 failed", "RUN sleep 617 stopped"]).stderr;
    assert_eq!(said.matches("failed").count(), 1, "{said}");
    assert_no_process("617");
}

/// No `sleep` for this time is running, or will soon be: the kernel ends a process group by and by.
#[track_caller]
pub(super) fn assert_no_process(seconds: &str) {
    let command = format!("sleep\0{seconds}\0").into_bytes();
    let is_running = || {
        let mut processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.any(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|found| found == command))
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_running() {
        assert!(Instant::now() < deadline, "`sleep {seconds}` is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn mistakes_in_the_dockerfile() {
    for (text, said) in [
        ("", "Dockerfile"),
        ("FORM base\n", "Dockerfile:1:1"),
        ("FROM base\nCOPY\n", "Dockerfile:2:1"),
        ("FROM base\nRUN --mount=type=secret,id=x,required true\n", "Dockerfile:2:"),
        ("FROM base\nCOPY --from=missing-stage a b\n", "missing-stage"),
        ("FROM base:\n", "Dockerfile:1:"),
    ] {
        fails(Build::new(text), 1, &["error", said]);
    }
}

#[test]
fn missing_places() {
    let build = Build::new("FROM base\n");
    std::fs::remove_file(build.context().join("Dockerfile")).unwrap();
    let path = build.context().join("Dockerfile").display().to_string();
    fails(build, 1, &[&format!("error: there is no Dockerfile at `{path}`; name it with `--file PATH`")]);
    let build = Build::new("FROM base\n").args(["--file", "Docker.file"]);
    fails(build, 1, &["error: there is no Dockerfile at `Docker.file`"]);
    let build = Build::new("FROM base\n");
    std::fs::remove_dir_all(build.context()).unwrap();
    fails(build, 1, &["error: the build context `", "` is not a directory"]);
    fails(Build::new("FROM base\n").args(["--target", "tset"]), 1, &["tset"]);
    let build = Build::new("FROM oci-layout:///no/such/layout\n");
    fails(build, 1, &["error: cannot use the image oci-layout:///no/such/layout"]);
}

#[test]
fn malformed_credentials() {
    let build = Build::new("FROM base\n").file("docker/config.json", "{\"auths\": [}");
    let directory = build.context().join("docker").display().to_string();
    let build = build.env("DOCKER_CONFIG", &directory);
    let said = fails(build, 1, &["error: ", &format!("{directory}/config.json"), "line 1"]).stderr;
    assert!(!said.contains("auths"), "secrets may stand there: {said}");
}

#[test]
fn an_unusable_store() {
    let build = Build::new("FROM base\n").file("file", "");
    let store = build.context().join("file").join("store");
    build
        .store(&store)
        .run()
        .failure(1, &["error: cannot create", &store.display().to_string(), "--store DIR"]);

    // Root may write anywhere, an ordinary user may not.
    let build = Build::new("FROM base\n");
    let store = build.beside("read-only");
    std::fs::create_dir(&store).unwrap();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o500)).unwrap();
    std::fs::set_permissions(store.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let build = build.store(&store);
    let command = build.command();
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    other.arg(command.get_program()).args(command.get_args()).env("HOME", "/nonexistent");
    if rustix::process::getuid().is_root() {
        let said = ["error: cannot create", "name a directory that can be written to with `--store DIR`"];
        Outcome::of(other.output().unwrap()).failure(1, &said);
    }
}

#[test]
fn a_full_disk() {
    let big = vec![7_u8; 3 << 20];
    // Noise, so that it stays as long when compressed.
    let noise: Vec<u8> = (0..3_u32 << 18)
        .flat_map(|n| cooper::layer::Digest::of(n.to_le_bytes()).as_bytes()[..4].to_vec())
        .collect();
    assert_eq!(noise.len(), big.len());
    for (text, said) in [
        ("FROM scratch\nCOPY noise /\n", "COPY noise"),
        ("FROM base\nRUN cat /dev/urandom | head -c 8000000 > /noise\n", "RUN"),
    ] {
        let build = Build::new(text).file("noise", &noise);
        let store = build.beside("small");
        std::fs::create_dir(&store).unwrap();
        let build = build.store(&store);
        // A file system of 2 MB that only this build sees.
        let command = build.command();
        let mut confined = Command::new("unshare");
        confined.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=2m none \"$0\" && \"$@\"; code=$?; find \"$0\"/tmp -mindepth 1; exit $code"]);
        confined.arg(&store).arg(command.get_program()).args(command.get_args());
        let outcome = Outcome::of(confined.output().unwrap());
        let outcome = outcome.failure(1, &["error", "the disk is full", "--store DIR", said]);
        assert_eq!(outcome.stdout, "", "nothing is left behind");
    }
}

#[test]
fn after_a_failure_nothing_is_pushed() {
    let registry = Registry::start();
    let build = Build::new("FROM base\nRUN echo made > /made\nRUN exit 9\n");
    let tag = format!("{}/app:1", registry.host());
    fails(build.args(["--push", "--tag", &tag]), 9, &["exit code: 9"]);
    assert_eq!((registry.count("PUT", "/manifests/"), registry.manifest("app", "1")), (0, None));
    assert_eq!(registry.open_sessions(), 0);
}
