//! `--trace`: where the time of a build went.

use serde_json::Value;

use crate::support::Build;

#[test]
fn names_the_steps_and_what_threads_did() {
    let build =
        Build::new("FROM base\nCOPY big /big\nRUN echo hello > /hello\n").file("big", vec![7; 3 << 20]);
    let trace = build.beside("trace.json");
    let target = build.beside("image.tar");
    let build = build
        .args(["--trace", trace.to_str().unwrap()])
        .arg(format!("--output=type=docker,dest={}", target.display()));
    let outcome = build.run().success();
    for said in ["the way to the end:", "RUN echo hello > /hello", "threads, all together:", "deflate"] {
        assert!(outcome.stderr.contains(said), "{said:?} is not in:\n{}", outcome.stderr);
    }
    let trace: Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |process: u64| {
        events
            .iter()
            .filter(move |event| event["ph"] == "X" && event["pid"] == process)
            .map(|event| (event["name"].as_str().unwrap(), event["dur"].as_f64().unwrap()))
    };
    assert!(of(1).any(|(name, took)| name.contains("COPY big") && took > 0.0), "{events:?}");
    for name in ["list context", "digest", "inflate", "unpack", "run", "diff", "write layer", "deflate"] {
        assert!(of(2).any(|(found, _)| found == name), "{name} is not in {events:?}");
    }
    assert!(trace["otherData"]["summary"].as_str().unwrap().contains("the way to the end"));
}

#[test]
fn a_build_that_fails_has_a_trace_too() {
    let build = Build::new("FROM base\nRUN exit 7\n");
    let trace = build.beside("trace.json");
    let build = build.args(["--trace", trace.to_str().unwrap()]);
    build.run().failure(7, &["exit 7", "the way to the end:"]);
    assert!(trace.exists());
    let build = Build::new("FROM scratch\nCOPY Dockerfile /\n").args(["--trace", "/no/such/directory/trace"]);
    build.run().failure(1, &["cannot write `/no/such/directory/trace`"]);
}
