//! API servers that drop connections, lose history and want to be left alone.

use std::time::Duration;

use super::api::{ApiServer, Effect, Fault, Run};
use super::{DIGEST, Submit};

const JOBS: &str = "/apis/batch/v1/namespaces/ci/jobs";
const LOG: &str = "/log?";

/// Parts of requests, and how often they must come.
type Awaited = &'static [(&'static str, usize)];

/// A build with forty lines of log, that come while it is followed, and that ends when these requests have come.
fn build(mut run: Run, awaited: Awaited) {
    run.pod();
    run.running();
    for number in 0..40 {
        run.log(&format!("line {number}"));
        std::thread::sleep(Duration::from_millis(10));
    }
    for (part, count) in awaited {
        run.change_until_requested(part, *count);
    }
    run.succeed(DIGEST);
}

/// Submits while these things go wrong: all must be as without them. Gives the requests.
#[track_caller]
fn survives(faults: Vec<Fault>, awaited: Awaited) -> Vec<String> {
    let api = faults.into_iter().fold(ApiServer::start(), ApiServer::fault);
    let controller = api.control(move |run| build(run, awaited));
    let outcome = Submit::to(&api).run().success();
    controller.join().unwrap();
    assert_eq!(outcome.stdout, format!("{DIGEST}\n"));
    let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected, "{:#?}", api.requests());
    assert_eq!(api.objects("jobs").len(), 1);
    assert_eq!(api.objects("configmaps").len(), 1);
    api.requests()
}

fn count(requests: &[String], part: &str) -> usize {
    requests.iter().filter(|request| request.contains(part)).count()
}

#[test]
fn without_an_outage() {
    let requests = survives(Vec::new(), &[]);
    assert_eq!(count(&requests, "POST /apis/batch/v1/namespaces/ci/jobs"), 1);
}

#[test]
fn too_many_requests_are_repeated_later() {
    let requests = survives(
        vec![
            Fault::on("POST", JOBS, Effect::Refuse(429, "TooManyRequests")),
            Fault::on("POST", "configmaps", Effect::Refuse(503, "ServiceUnavailable")),
            Fault::on("GET", JOBS, Effect::Refuse(429, "TooManyRequests")),
            Fault::on("GET", LOG, Effect::Refuse(429, "TooManyRequests")),
        ],
        &[],
    );
    assert_eq!(count(&requests, "POST /apis/batch/v1/namespaces/ci/jobs"), 2);
}

#[test]
fn a_connection_that_breaks_before_anything_is_created() {
    survives(vec![Fault::on("POST", JOBS, Effect::Drop), Fault::on("POST", "configmaps", Effect::Drop)], &[]);
}

#[test]
fn a_connection_that_breaks_when_it_is_created() {
    // Nobody has said that it was: it is found to be there.
    let requests = survives(
        vec![
            Fault::on("POST", JOBS, Effect::DropAnswer),
            Fault::on("POST", "configmaps", Effect::DropAnswer),
        ],
        &[],
    );
    // Once to find it, once to watch it.
    assert_eq!(count(&requests, "/jobs?&fieldSelector"), 2, "{requests:#?}");
}

#[test]
fn watches_that_break_are_taken_up_again() {
    survives(
        vec![
            Fault::on("GET", "/jobs?", Effect::Drop),
            Fault::on("GET", "/pods?", Effect::Drop),
            Fault::on("GET", "/events?", Effect::Drop),
            Fault::on("GET", "/pods?&watch=true", Effect::Cut(1)),
            Fault::on("GET", "/jobs?&watch=true", Effect::Drop),
        ],
        &[("/pods?&watch=true", 2), ("/jobs?&watch=true", 2)],
    );
}

#[test]
fn lost_history_is_listed_anew() {
    survives(
        vec![
            Fault::on("GET", "/pods?&watch=true", Effect::Gone(0)),
            Fault::on("GET", "/jobs?&watch=true", Effect::Gone(0)),
            Fault::on("GET", "/events?&watch=true", Effect::Gone(0)),
            Fault::on("GET", "/pods?&watch=true", Effect::Refuse(410, "Expired")),
        ],
        // These are lists.
        &[("/pods?&labelSelector", 3), ("/jobs?&fieldSelector", 2)],
    );
}

#[test]
fn logs_that_break_off_are_told_once() {
    let requests = survives(
        vec![
            Fault::on("GET", LOG, Effect::Cut(3)),
            Fault::on("GET", LOG, Effect::Cut(6)),
            Fault::on("GET", LOG, Effect::Drop),
            Fault::on("GET", LOG, Effect::Refuse(500, "InternalError")),
            Fault::on("GET", LOG, Effect::Cut(0)),
        ],
        &[(LOG, 6)],
    );
    assert!(count(&requests, "sinceTime=") >= 2, "{requests:#?}");
}

#[test]
fn who_may_not_follow_any_more_is_told_how_it_goes_on() {
    let api =
        ApiServer::start().fault(Fault::on("GET", "/pods?", Effect::Refuse(403, "Forbidden")).times(100));
    let outcome = Submit::to(&api).args(["--name", "app"]).run();
    outcome.failure(1, &["lost contact with the cluster while watching its pods", "cooper jobs wait app"]);
    assert_eq!(api.objects("jobs").len(), 1);
}

#[test]
fn a_log_that_cannot_be_read_is_no_failure_of_the_build() {
    let fault = Fault::on("GET", LOG, Effect::Refuse(500, "InternalError")).times(1000);
    let api = ApiServer::start().fault(fault);
    let controller = api.control(|run| build(run, &[(LOG, 2)]));
    let outcome = Submit::to(&api).run().success();
    controller.join().unwrap();
    assert_eq!(outcome.stdout, format!("{DIGEST}\n"));
    for told in ["the log cannot be read now: ", "the end of the log does not come"] {
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    }
}
