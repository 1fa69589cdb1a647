//! Pushing: the order of things, the start of uploads, and registries that have bad days.

use std::time::{Duration, Instant};

use crate::registry::{Effect, Fault, Registry};
use crate::support::{Build, Served};

fn pushing(dockerfile: &str, registry: &Registry) -> Build {
    Build::new(dockerfile).args(["--push".to_owned(), format!("--tag={}/team/app:1", registry.host())])
}

#[test]
fn layers_are_sent_while_later_steps_run() {
    let registry = Registry::start();
    let build = pushing("FROM base\nRUN echo first > /first\nRUN sleep 3600\n", &registry);
    let mut process = build.command().stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    // Two layers of the base, and the one of the first RUN, while the second will not end.
    while registry.count("PUT", "/team/app/blobs/uploads/") < 3 {
        assert!(process.try_wait().unwrap().is_none(), "the build has ended");
        assert!(Instant::now() < deadline, "nothing is sent");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
}

#[test]
fn blobs_come_before_the_manifest_and_the_manifest_of_each_platform_before_the_index() {
    let registry = Registry::start();
    let build = pushing("FROM scratch\nCOPY a /\n", &registry).file("a", "text");
    build.args(["--platform", "linux/amd64,linux/arm/v7"]).run().success();
    // The registry refuses a manifest whose blobs it does not know, so the order is right if the puts succeeded.
    let puts: Vec<_> = registry.requests().into_iter().filter(|request| request.method == "PUT").collect();
    let last = puts.last().unwrap();
    assert_eq!((last.target.as_str(), last.status), ("/v2/team/app/manifests/1", 201));
    let index: serde_json::Value =
        serde_json::from_slice(&registry.manifest("team/app", "1").unwrap()).unwrap();
    let platforms = index["manifests"].as_array().unwrap().iter().map(|entry| entry["platform"].to_string());
    assert_eq!(
        platforms.collect::<Vec<_>>(),
        [r#"{"architecture":"amd64","os":"linux"}"#, r#"{"architecture":"arm","os":"linux","variant":"v7"}"#]
    );
    assert_eq!(registry.open_sessions(), 0);
}

#[test]
fn bad_days_pass() {
    for fault in [
        Fault::on("POST", "/blobs/uploads/", Effect::TooMany("0")).times(2),
        Fault::on("PUT", "/blobs/uploads/", Effect::TooMany("1")),
        Fault::on("PUT", "/blobs/uploads/", Effect::Status(500)).times(2),
        Fault::on("PUT", "/blobs/uploads/", Effect::DropInBody(10)).times(2),
        Fault::on("PUT", "/manifests/", Effect::Status(503)),
        Fault::on("PUT", "/manifests/", Effect::Drop),
        Fault::on("HEAD", "/blobs/", Effect::Status(502)),
    ] {
        let registry = Registry::start().fault(fault.clone());
        let build = pushing("FROM base\nCOPY a /\n", &registry).file("a", "text");
        let said = build.run().success().stderr;
        assert!(registry.manifest("team/app", "1").is_some(), "{fault:?}");
        assert!(!said.contains("failed"), "{fault:?}: {said}");
    }
}

#[test]
fn lasting_refusals_are_told() {
    for (fault, said) in [
        (
            Fault::on("PUT", "/manifests/", Effect::Status(500)).always(),
            "failed 5 times, last with status 500",
        ),
        (
            Fault::on("PUT", "/manifests/", Effect::Refuse(400, "TAG_INVALID", "tag is immutable")),
            "answered with status 400 (the registry says: TAG_INVALID: tag is immutable)",
        ),
        (
            Fault::on("POST", "/blobs/uploads/", Effect::Refuse(403, "DENIED", "read only")).always(),
            "does not allow anonymous users",
        ),
    ] {
        let registry = Registry::start().fault(fault);
        let build = pushing("FROM base\nCOPY a /\n", &registry).file("a", "text");
        build.run().failure(1, &["error: cannot push ", said]);
        assert_eq!(registry.manifest("team/app", "1"), None);
    }
}

#[test]
fn a_base_of_the_same_registry_is_mounted_and_never_fetched() {
    let registry = Registry::start();
    let base = Served::base();
    base.put(&registry, "bases/small", "1");
    let build = pushing(&format!("FROM {}/bases/small:1\nLABEL only=metadata\n", registry.host()), &registry);
    build.run().success();
    for digest in base.digests() {
        assert!(registry.blob("team/app", digest).is_some());
        assert_eq!(registry.count("GET", &digest.to_string()), 0, "the bytes stay where they are");
    }
    assert_eq!(registry.count("POST", "from=bases%2Fsmall"), 2);
}

#[test]
fn a_base_of_another_registry_is_brought_along() {
    let (from, to) = (Registry::start(), Registry::start());
    let base = Served::base();
    base.put(&from, "small", "1");
    let build = pushing(&format!("FROM {}/small:1\nLABEL only=metadata\n", from.host()), &to);
    build.run().success();
    for digest in base.digests() {
        assert!(to.blob("team/app", digest).is_some());
        assert_eq!(from.count("GET", &digest.to_string()), 1);
    }
}
