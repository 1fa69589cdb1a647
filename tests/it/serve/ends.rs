//! Each accepted build comes to exactly one end, whatever is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Service, base, context, id, times, workers};

const SLOW: &str = "RUN echo begun; sleep 60\n";

fn slow(service: &Service, name: &str) -> Value {
    let base = base(&service.registry);
    service.request(name, &format!("FROM {base}\n{SLOW}"))
}

/// Waits until the RUN of a build is under way.
pub(super) fn wait_for_run(service: &Service, id: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !service.get(&format!("/v1/builds/{id}/logs")).text().contains("| begun") {
        assert!(Instant::now() < deadline, "{}", service.get(&format!("/v1/builds/{id}/logs")).text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn builds_are_cancelled_in_every_state() {
    let service = Service::start(&["--cpus", "1", "--build-cpus", "1"]);
    let running = id(&service.build(&slow(&service, "a:1"), "").ok());
    wait_for_run(&service, &running);
    let waiting = service.build(&slow(&service, "b:1"), "").ok();
    assert_eq!((&waiting["state"], &waiting["queue"]["position"]), (&json!("queued"), &json!(1)));
    let path = |id: &str| format!("/v1/builds/{id}");
    let cancelled = service.ask("DELETE", &path(&id(&waiting)), &[], b"");
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
    assert_eq!(service.ask("DELETE", &path(&running), &[], b"").status, 202);
    service.wait_for(&running, &["cancelled"]);
    assert!(workers(&service.data()).is_empty());
    assert_eq!(service.ask("DELETE", &path(&running), &[], b"").status, 200, "once more changes nothing");
    let mut quick = slow(&service, "c:1");
    quick["timeout"] = json!("1s");
    let build = service.build(&quick, "?wait=60s").ok();
    assert_eq!(build["state"], "failed", "{build:#}");
    assert!(build["error"].as_str().unwrap().contains("longer than 1 seconds"), "{build:#}");
    let done = service.build(&service.request("d:1", "FROM scratch\nCOPY . /\n"), "?wait=60s").ok();
    service.ask("DELETE", &path(&id(&done)), &[], b"").problem(409, "build-has-ended");
}

#[test]
fn newer_requests_supersede_and_same_ones_are_joined() {
    let service = Service::start(&["--cpus", "1", "--build-cpus", "1"]);
    let first = id(&service.build(&slow(&service, "first:1"), "").ok());
    wait_for_run(&service, &first);
    let request = |name: &str, key: Option<&str>| {
        let mut request = service.request(name, "FROM scratch\nCOPY . /\n");
        if let Some(key) = key {
            request["supersede"] = json!(key);
        }
        request
    };
    let one = service.build(&request("s:1", Some("main")), "");
    let same = service.build(&request("s:1", Some("main")), "");
    assert_eq!((one.status, same.status), (202, 200));
    assert_eq!(
        (same.json()["id"].clone(), same.json()["requests"].clone()),
        (one.json()["id"].clone(), json!(2))
    );
    let other = service.build(&request("s:2", Some("other")), "").ok();
    let newer = service.build(&request("s:3", Some("main")), "").ok();
    let one = service.show(&id(&one.json()));
    assert_eq!((&one["state"], &one["superseded_by"]), (&json!("cancelled"), &newer["id"]));
    assert_eq!(service.show(&id(&other))["state"], "queued");
    // More important ones come first.
    let mut urgent = request("s:4", None);
    urgent["priority"] = json!(5);
    assert_eq!(service.build(&urgent, "").ok()["queue"]["position"], 1);
    service.ask("DELETE", &format!("/v1/builds/{first}"), &[], b"");
    service.wait_for(&id(&newer), &["succeeded"]);
}

#[test]
fn a_killed_worker_costs_one_attempt() {
    let service = Service::start(&[]);
    let build = id(&service.build(&slow(&service, "kill:1"), "").ok());
    for attempt in 1..=2 {
        let deadline = Instant::now() + Duration::from_secs(30);
        let begun = || service.get(&format!("/v1/builds/{build}/logs")).text().matches("| begun").count();
        while begun() < attempt {
            assert!(Instant::now() < deadline, "{}", service.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        for worker in workers(&service.data()) {
            let _ = kill_process(Pid::from_raw(worker.try_into().unwrap()).unwrap(), Signal::KILL);
        }
    }
    let build = service.wait_for(&build, &["failed", "succeeded"]);
    assert_eq!((&build["state"], &build["attempts"]), (&json!("failed"), &json!(2)));
    assert!(build["error"].as_str().unwrap().contains("killed by the signal 9"), "{build:#}");
    // Others are not touched.
    let other = service.build(&service.request("ok:1", "FROM scratch\nCOPY . /\n"), "?wait=60s").ok();
    assert_eq!(other["state"], "succeeded");
}

#[test]
fn sigterm_hands_back_what_is_not_done() {
    let service = Service::start(&["--grace", "1s"]);
    let running = id(&service.build(&slow(&service, "term:1"), "").ok());
    wait_for_run(&service, &running);
    service.signal(Signal::TERM);
    let service = service.again();
    let build = service.wait_for(&running, &["running"]);
    assert_eq!(build["attempts"], 1, "{build:#}");
    service.ask("DELETE", &format!("/v1/builds/{running}"), &[], b"");
    service.wait_for(&running, &["cancelled"]);
}

/// The service and workers are killed at random moments while builds come in.
#[test]
fn nothing_is_lost_or_done_wrong_when_things_are_killed() {
    let kills = times("COOPER_SERVE_KILLS", 6);
    let mut service = Service::start(&["--cpus", "2", "--build-cpus", "1"]);
    let dockerfile = "FROM scratch\nCOPY . /app/\n";
    // What an undisturbed run gives.
    let undisturbed = Service::start(&[]);
    let mut expected = BTreeMap::new();
    let contents: Vec<Vec<u8>> =
        (0..5_u8).map(|number| context(&[("big", vec![number; 300_000].as_slice())])).collect();
    for (number, body) in contents.iter().enumerate() {
        let request = undisturbed.request(&format!("n:{number}"), dockerfile).to_string();
        let build = undisturbed.ask("POST", "/v1/builds?wait=60s", &[("Cooper-Build", &request)], body).ok();
        expected.insert(number, build["result"]["digest"].clone());
    }
    let mut random = u64::from(std::process::id()) | 1;
    let mut roll = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    let mut accepted = Vec::new();
    for kill in 0..kills {
        for _ in 0..3 {
            let number = usize::try_from(roll(5)).unwrap();
            // Each of its own name, so that none is joined.
            let request = service.request(&format!("n:{number}-{}", accepted.len()), dockerfile).to_string();
            let answer = service.ask("POST", "/v1/builds", &[("Cooper-Build", &request)], &contents[number]);
            assert_eq!(answer.status, 202, "{}", answer.text());
            accepted.push((id(&answer.json()), number));
        }
        std::thread::sleep(Duration::from_millis(roll(150)));
        if kill % 3 == 2 {
            if let Some(worker) = workers(&service.data()).first() {
                let _ = kill_process(Pid::from_raw((*worker).try_into().unwrap()).unwrap(), Signal::KILL);
            }
        } else {
            service.signal(Signal::KILL);
            service = service.again();
        }
    }
    let (mut ended, mut lost, mut wrong, mut failed) = (0, 0, 0, 0);
    for (id, number) in &accepted {
        let answer = service.get(&format!("/v1/builds/{id}"));
        if answer.status != 200 {
            lost += 1;
            continue;
        }
        let build = service.wait_for(id, &["succeeded", "failed"]);
        ended += 1;
        match build["state"].as_str() {
            Some("succeeded") if build["result"]["digest"] == expected[number] => {}
            Some("succeeded") => wrong += 1,
            // Twice in a row, which it says.
            _ => {
                assert_eq!(build["attempts"], 2, "{build:#}");
                failed += 1;
            }
        }
    }
    println!(
        "{kills} kills: accepted {}, ended {ended} (failed after two attempts {failed}), lost {lost}, wrong {wrong}",
        accepted.len()
    );
    assert_eq!((ended, lost, wrong), (accepted.len(), 0, 0));
    // Each has ended once: no log of the service tells of an end twice.
    let log = service.log();
    for (id, _) in &accepted {
        let ends =
            log.lines().filter(|line| line.contains(id) && line.contains("\"message\":\"ended\"")).count();
        assert!(ends <= 1, "{id} has ended {ends} times");
    }
}
