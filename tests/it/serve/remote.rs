//! `cooper remote`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Service, base};
use crate::support::{Build, COOPER, Outcome};

fn remote(service: &Service) -> Command {
    let mut command = Command::new(COOPER);
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("COOPER_REMOTE", format!("http://{}", service.address))
        .arg("remote")
        .stdin(Stdio::null());
    command
}

#[test]
fn builds_as_if_it_were_here() {
    let service = Service::start(&[]);
    let base = base(&service.registry);
    let dockerfile = format!("FROM {base}\nARG A\nCOPY . /app/\nRUN ls /app; echo $A\n");
    let project = Build::new(&dockerfile)
        .file(".dockerignore", "*\n!kept\n")
        .file("kept", "one")
        .file("secret", "two")
        .file("dir/secret", "three");
    let tag = format!("{}/remote:1", service.registry.host());
    let build = |more: &[&str]| {
        let mut command = remote(&service);
        command.args(["build", "-t", &tag, "--build-arg", "A=hello", "--build-arg", "SOURCE_DATE_EPOCH=1"]);
        command.args(more).arg(project.context());
        Outcome::of(command.output().unwrap())
    };
    let there = build(&[]).success();
    assert!(there.stderr.contains("RUN ls /app") && there.stderr.contains("| hello"), "{}", there.stderr);
    assert!(there.stderr.contains("| kept") && !there.stderr.contains("| secret"), "{}", there.stderr);
    assert!(there.stderr.contains(&format!("pushed {tag}")), "{}", there.stderr);
    // A local build gives the same image.
    let mut here = Command::new(COOPER);
    here.args([
        "build",
        "--push",
        "-t",
        &tag,
        "--build-arg",
        "A=hello",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1",
    ])
    .arg("--store")
    .arg(service.data().join("store"))
    .arg(project.context())
    .stdin(Stdio::null());
    let here = Outcome::of(here.output().unwrap()).success();
    assert_eq!(there.stdout, here.stdout);

    let detached = build(&["--detach", "--no-cache"]).success();
    let id = detached.stdout.trim().to_owned();
    let run = |arguments: &[&str]| Outcome::of(remote(&service).args(arguments).output().unwrap());
    let followed = run(&["logs", "--follow", &id]).success();
    assert!(followed.stderr.contains("| hello"), "{}", followed.stderr);
    assert!(run(&["logs", &id]).success().stdout.contains("| hello"));
    let listed = run(&["ls", "--state", "succeeded"]).success();
    assert!(listed.stdout.contains(&id) && listed.stdout.contains(&tag), "{}", listed.stdout);
    let json: Value = serde_json::from_str(&run(&["ls", "--json"]).success().stdout).unwrap();
    assert_eq!(json["builds"].as_array().unwrap().len(), 2);
    run(&["cancel", &id]).failure(1, &["has ended already"]);
    run(&["logs", "000000000000000000000000"]).failure(1, &["there is no build"]);
}

#[test]
fn fails_as_if_it_were_here() {
    let service = Service::start(&[]);
    let base = base(&service.registry);
    let project = Build::new(&format!("FROM {base}\nRUN echo so; exit 7\n")).file("a", "");
    let tag = format!("{}/remote:1", service.registry.host());
    let build = |address: Option<&str>| {
        let mut command = remote(&service);
        if let Some(address) = address {
            command.args(["--remote", address]);
        }
        Outcome::of(command.args(["build", "-t", &tag]).arg(project.context()).output().unwrap())
    };
    build(None).failure(7, &["exit 7", "| so"]);
    build(Some("http://127.0.0.1:1")).failure(1, &["cannot reach the service"]);
    build(Some("ftp://a")).failure(1, &["is no address"]);
}

#[test]
fn an_interrupt_cancels() {
    use std::io::{BufRead as _, BufReader};
    let service = Service::start(&[]);
    let base = base(&service.registry);
    let project = Build::new(&format!("FROM {base}\nRUN echo begun; sleep 60\n")).file("a", "");
    let tag = format!("{}/remote:1", service.registry.host());
    let mut process = remote(&service)
        .args(["build", "--progress", "plain", "-t", &tag])
        .arg(project.context())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("| begun")));
    let id = rustix::process::Pid::from_raw(process.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    let builds = service.get("/v1/builds").ok();
    service.wait_for(&super::id(&builds["builds"][0]), &["cancelled"]);
}
