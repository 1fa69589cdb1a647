//! Builds that are ended from outside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::refused::{assert_no_process, assert_nothing_half_written};
use crate::registry::{Effect, Fault, Registry};
use crate::support::{Build, Image, Served};

/// A build that runs.
struct Running {
    process: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    fn start(build: &Build) -> Self {
        let mut process = build.command().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        Self { process, stderr, said: String::new() }
    }

    /// Reads until it says this.
    #[track_caller]
    fn wait_for(mut self, text: &str) -> Self {
        while !self.said.contains(text) {
            assert_ne!(
                self.stderr.read_line(&mut self.said).unwrap(),
                0,
                "{text:?} is not in:\n{}",
                self.said
            );
        }
        self
    }

    /// Sends a signal; gives the exit code and everything it said.
    fn end_with(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        (self.process.wait().unwrap().code(), self.said)
    }
}

#[test]
fn signals_end_everything() {
    for (signal, seconds) in [(Signal::INT, "6130"), (Signal::TERM, "6143")] {
        let text = format!("FROM base\nRUN echo ready; sleep {seconds}\nRUN echo never\n");
        let build = Build::new(&text);
        let output = build.beside("image.tar");
        let build = build.arg(format!("--output=type=oci,dest={}", output.display()));
        let (code, said) = Running::start(&build).wait_for("| ready").end_with(signal);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.ends_with("error: the build was cancelled\n"), "{said}");
        assert!(!said.contains("failed") && !said.contains("never"), "{said}");
        assert_no_process(seconds);
        assert!(!output.exists());
        assert_nothing_half_written(build.store_path());
    }
}

#[test]
fn a_download_ends_too() {
    let registry = Registry::start();
    let served = Served::base();
    served.put(&registry, "library/slow", "1");
    let slow = Effect::Slow(1, std::time::Duration::from_secs(1));
    registry.add_fault(Fault::on("GET", &format!("/blobs/{}", served.digests()[0]), slow));
    let build = Build::new("FROM slow:1\nWORKDIR /new\n").args(["--registry-mirror", &registry.host()]);
    let (code, said) = Running::start(&build).wait_for("pull ").end_with(Signal::INT);
    assert_eq!(code, Some(130), "{said}");
    assert_nothing_half_written(build.store_path());
}

#[test]
fn a_push_ends_too() {
    let registry =
        Registry::start().fault(Fault::on("PUT", "/blobs/uploads/", Effect::TooMany("60")).always());
    let tag = format!("{}/app:1", registry.host());
    let build = Build::new("FROM base\n").args(["--push", "--tag", &tag]);
    let (code, said) = Running::start(&build).wait_for("push layer").end_with(Signal::INT);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(registry.manifest("app", "1"), None);
    assert_nothing_half_written(build.store_path());
}

#[test]
fn a_killed_build_leaves_nothing_that_disturbs_the_next() {
    let text =
        "FROM base\nCOPY a /\nRUN echo one > /one\nRUN test -e /work/go || { echo ready; sleep 6139; }\n";
    let build = Build::new(text).file("a", "text");
    let (code, said) = Running::start(&build).wait_for("| ready").end_with(Signal::KILL);
    assert_eq!(code, None, "{said}");
    assert_no_process("6139");
    assert!(
        std::fs::read_dir(build.store_path().join("tmp")).unwrap().count() > 0,
        "there is something to sweep"
    );

    let store = build.store_path().to_owned();
    let next =
        Build::new("FROM base\nCOPY a /\nRUN echo one > /one\nRUN echo two > /two\n").file("a", "text");
    let next = next.store(&store);
    let layout = next.beside("image");
    let next = next.arg(format!("--output=type=oci,dest={}", layout.display()));
    let said = next.run().success().stderr;
    assert_eq!(said.matches(" cached").count(), 2, "{said}");
    let image = Image::read(&layout, tempfile::tempdir().unwrap());
    assert_eq!(
        (image.text("a"), image.text("one"), image.text("two")),
        ("text".into(), "one\n".into(), "two\n".into())
    );
    assert_nothing_half_written(&store);
}
