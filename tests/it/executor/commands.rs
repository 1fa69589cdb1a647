//! `version`, `login`, `push`, `help`, and the names by which the program is called.

use std::process::Command;

use super::Executor;
use crate::registry::Registry;
use crate::support::{COOPER, Outcome, Served, tool};

#[test]
fn the_program_is_kaniko_by_name_or_by_command() {
    let executor = Executor::new("");
    for mut command in [executor.program("executor"), {
        let mut command = Command::new(COOPER);
        command.arg("executor");
        command
    }] {
        let outcome = Outcome::of(command.arg("version").output().unwrap()).success();
        assert!(outcome.stdout.starts_with("Kaniko version :  v"), "{}", outcome.stdout);
    }
    let help = tool(COOPER, ["executor", "--help"]);
    for part in [
        "Usage:\n  executor [flags]\n  executor [command]\n",
        "  -f, --dockerfile string",
        "Available Commands:\n",
    ] {
        assert!(help.contains(part), "{part:?} is not in:\n{help}");
    }
    assert!(!help.contains("--bucket") && !help.contains("whitelist"), "what is hidden is not listed");
    assert!(tool(COOPER, ["warmer", "-h"]).contains("  -i, --image multi-arg type"));
    assert!(tool(COOPER, ["executor", "help", "push"]).contains("executor push <path> [flags]"));
}

#[test]
fn a_login_is_kept_where_builds_find_it() {
    let executor =
        Executor::with(Registry::start().auth("user", "secret"), "FROM base\nLABEL a=b\n").pushing();
    let config = executor.at("docker").display().to_string();
    let executor = executor.env("DOCKER_CONFIG", config);
    std::fs::create_dir(executor.at("docker")).unwrap();
    std::fs::write(executor.at("docker/config.json"), r#"{"auths":{"other":{"auth":"YTpi"}},"x":1}"#)
        .unwrap();
    let host = executor.registry.host();
    let login = |arguments: &[&str]| {
        let mut command = executor.program("executor");
        Outcome::of(command.arg("login").arg(&host).args(arguments).output().unwrap())
    };
    login(&[]).failure(1, &["Error: username required"]);
    login(&["--username=user"])
        .failure(1, &["Error: a password must be supplied via --password or --password-stdin"]);
    login(&["-u", "user", "-p", "x", "--password-stdin"])
        .failure(1, &["only one of --password or --password-stdin"]);
    login(&["-u", "user", "--password", "secret"]).success();
    executor.run().success();
    let kept = std::fs::read_to_string(executor.at("docker/config.json")).unwrap();
    assert!(kept.contains("\"other\"") && kept.contains("\"x\": 1"), "{kept}");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(executor.at("docker/config.json")).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    let mut command = executor.program("executor");
    command.args(["login", "index.docker.io", "-u", "me", "--password-stdin"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"pass\r\n").unwrap();
    assert!(child.wait().unwrap().success());
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(executor.at("docker/config.json")).unwrap()).unwrap();
    assert_eq!(kept["auths"]["https://index.docker.io/v1/"]["auth"], "bWU6cGFzcw==");
}

#[test]
fn images_on_disk_are_pushed_as_they_are() {
    let executor = Executor::new("FROM base\nCOPY Dockerfile /\n").local().path("--digest-file", "digest");
    executor.run().success();
    let built = std::fs::read_to_string(executor.at("digest")).unwrap();
    let push = |path: &str, arguments: &[&str]| {
        let mut command = executor.program("executor");
        command.arg("push").arg(executor.at(path)).arg("-d").arg(executor.name("team/app:1"));
        Outcome::of(command.args(arguments).output().unwrap())
    };
    let file = format!("--digest-file={}", executor.at("pushed").display());
    let said = push("layout", &[&file]).success().stderr;
    assert_eq!(executor.pushed_digest(), built);
    assert_eq!(std::fs::read_to_string(executor.at("pushed")).unwrap(), built);
    assert!(said.contains(&format!("Pushed {}@{built}", executor.name("team/app"))), "{said}");

    // What docker would write: layers in plain tar, with a name of their own each.
    let layout = format!("oci:{}", executor.at("layout").display());
    let archive = format!("docker-archive:{}:team/app:1", executor.at("saved.tar").display());
    tool("skopeo", ["copy", "-q", &layout, &archive]);
    push("saved.tar", &["--skip-push-permission-check"]).success();
    let manifest = executor.pushed();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), Served::base().layers.len() + 1);
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let pulled = format!("docker://{}", executor.name("team/app:1"));
    tool(
        "skopeo",
        [
            "copy",
            "-q",
            "--src-tls-verify=false",
            &pulled,
            &format!("dir:{}", executor.at("pulled").display()),
        ],
    );

    push("nowhere", &[]).failure(1, &["nowhere not readable"]);
    push("workspace", &[]).failure(1, &["loading image: "]);
    push("digest", &[]).failure(1, &["is neither a tar archive nor the directory of an OCI image layout"]);
    let mut command = executor.program("executor");
    let outcome = Outcome::of(command.args(["push", "x", "y"]).output().unwrap());
    outcome.failure(1, &["Error: accepts 1 arg(s), received 2"]);
}
