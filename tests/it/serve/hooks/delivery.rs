//! What is to be told arrives, once the receiver is there, and nobody else waits for it.

use std::net::TcpListener;
use std::sync::atomic::Ordering;

use cooper::layer::Digest;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::{context, id};
use super::{CONFIGURATION, Scene, eventually, verified};
use crate::support::{Reply, WebServer};

/// A request that asks for somebody to be told.
fn request(scene: &Scene, name: &str, url: &str) -> Value {
    let mut request = scene.service.request(name, "FROM scratch\nCOPY file /\n");
    request["notify"] = json!(url);
    request
}

#[test]
fn a_receiver_that_is_down_is_told_when_it_is_back() {
    let mut scene = Scene::start(&[]);
    scene.receiver.answer_with(503);
    let url = format!("{}/webhook-waiting/77?signature=abc", scene.receiver.server.url());
    let build = scene.service.build(&request(&scene, "a:1", &url), "?wait=60s").ok();
    assert_eq!(build["state"], "succeeded", "{build:#}");
    assert_eq!(build["notify"], json!([format!("{}/…", scene.receiver.server.url())]));
    let build = id(&build);
    let path = "/webhook-waiting/77";
    scene.receiver.wait(path, 2, &scene.service);
    let pending = scene.service.show(&build)["deliveries"][0].clone();
    assert_eq!(pending["state"], "pending", "{pending}");
    assert!(pending["error"].as_str().unwrap().contains("503"), "{pending}");
    assert!(pending["attempts"].as_u64().unwrap() >= 1 && pending["next_at"].is_string(), "{pending}");
    // What is not delivered outlives the service.
    scene.service.signal(Signal::KILL);
    scene.service = scene.service.again();
    let refused = scene.receiver.refused.load(Ordering::SeqCst);
    scene.receiver.answer_with(204);
    eventually(&scene.service, || {
        (scene.service.show(&build)["deliveries"][0]["state"] == "delivered").then_some(())
    });
    let received = scene.receiver.received(path);
    let names: Vec<String> = received.iter().map(|request| verified(request).0).collect();
    assert!(names.windows(2).all(|pair| pair[0] == pair[1]), "{names:?}");
    assert!(received.len() > refused, "{} {refused}", received.len());
    assert_eq!(received[0].query, "signature=abc");
    assert_eq!(received[0].body, received.last().unwrap().body);
    let log = scene.service.log();
    assert!(!log.contains("signature=abc") && !log.contains("webhook-waiting"), "{log}");
}

#[test]
fn a_service_killed_at_the_end_of_a_build_tells_of_it_exactly_once_in_its_queue() {
    let mut scene = Scene::start(&[]);
    scene.receiver.answer_with(500);
    let mut builds = Vec::new();
    for number in 0..6_u64 {
        let url = format!("{}/n/{number}", scene.receiver.server.url());
        let answer = scene.service.build(&request(&scene, &format!("k:{number}"), &url), "").ok();
        builds.push(id(&answer));
        std::thread::sleep(std::time::Duration::from_millis(60 * number));
        scene.service.signal(Signal::KILL);
        scene.service = scene.service.again();
    }
    scene.receiver.answer_with(200);
    for (number, build) in builds.iter().enumerate() {
        scene.service.wait_for(build, &["succeeded", "failed"]);
        let deliveries = eventually(&scene.service, || {
            let deliveries = scene.service.show(build)["deliveries"].clone();
            (deliveries[0]["state"] == "delivered").then_some(deliveries)
        });
        assert_eq!(deliveries.as_array().unwrap().len(), 1, "{deliveries}");
        let received = scene.receiver.received(&format!("/n/{number}"));
        let mut names: Vec<String> = received.iter().map(|request| verified(request).0).collect();
        names.dedup();
        assert_eq!(names, [deliveries[0]["id"].as_str().unwrap()], "{received:?}");
    }
}

#[test]
fn a_dead_receiver_keeps_nobody_waiting() {
    let scene = Scene::start(&[]);
    // It takes connections and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}/x", dead.local_addr().unwrap());
    let send = |name: &str, url: &str| {
        let answer = scene.service.build(&request(&scene, name, url), "?wait=60s").ok();
        assert_eq!(answer["state"], "succeeded", "{answer:#}");
        id(&answer)
    };
    for number in 0..5 {
        send(&format!("d:{number}"), &dead_url);
    }
    let began = std::time::Instant::now();
    send("good:1", &format!("{}/good", scene.receiver.server.url()));
    scene.receiver.wait("/good", 1, &scene.service);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(scene.service.get("/metrics").text().contains("cooper_deliveries_pending 5"));
}

#[test]
fn nothing_is_told_where_it_may_not() {
    let hash = |token: &str| Digest::of(token).hex();
    let tokens = json!({"tokens": [
        {"name": "plain", "sha256": hash("plain-token"), "destinations": ["**"], "contexts": ["upload"]},
        {"name": "n8n", "sha256": hash("n8n-token"), "destinations": ["**"], "contexts": ["upload"],
         "notify": ["http://127.0.0.1:*/webhook-waiting/**", "http://10.0.0.1/**"]},
    ]});
    let scene = Scene::with(CONFIGURATION, &[], Some(&tokens));
    let service = &scene.service;
    let receiver = scene.receiver.server.url();
    let ask = |token: &str, url: &str| {
        let text = request(&scene, "t:1", url).to_string();
        let authorization = format!("Bearer {token}");
        let headers = [("Cooper-Build", text.as_str()), ("Authorization", authorization.as_str())];
        service.ask("POST", "/v1/builds?wait=60s", &headers, &context(&[]))
    };
    let good = format!("{receiver}/webhook-waiting/5?signature=s");
    ask("plain-token", &good).problem(403, "notify");
    for url in [
        format!("{receiver}/other"),
        format!("{receiver}/webhook-waiting/../other"),
        format!("{receiver}/webhook-waiting/%2e%2e/other"),
        format!("{receiver}/?/webhook-waiting/5"),
        "http://127.0.0.2/webhook-waiting/5".to_owned(),
    ] {
        ask("n8n-token", &url).problem(403, "notify");
    }
    ask("n8n-token", "http://10.0.0.1/x").problem(403, "out-of-reach");
    for url in ["", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/webhook-waiting/5", "/webhook-waiting/5"] {
        ask("n8n-token", url).problem(400, "bad-request");
    }
    assert!(scene.receiver.server.requests().is_empty());
    let build = ask("n8n-token", &good).ok();
    let received = scene.receiver.wait("/webhook-waiting/5", 1, service);
    let (_, told) = verified(&received[0]);
    assert_eq!((&told["type"], &told["data"]["id"]), (&json!("build.succeeded"), &build["id"]));
    assert!(!String::from_utf8_lossy(&received[0].body).contains("signature=s"));
}

#[test]
fn redirects_are_not_followed_and_all_who_asked_are_told() {
    let scene = Scene::start(&["--cpus", "1", "--build-cpus", "1"]);
    let service = &scene.service;
    let base = super::super::base(&service.registry);
    let target = format!("{}/target", scene.receiver.server.url());
    let redirecting = WebServer::start(None, move |_| Reply::new(302, "").header("Location", &target));
    let mut first = request(&scene, "j:1", &format!("{}/one", scene.receiver.server.url()));
    first["dockerfile_text"] = json!(format!("FROM {base}\nRUN sleep 1\n"));
    let mut second = first.clone();
    second["notify"] = json!(format!("{}/two", redirecting.url()));
    let build = id(&service.build(&first, "").ok());
    assert_eq!(id(&service.build(&second, "").ok()), build, "who is told is not what is built");
    service.wait_for(&build, &["succeeded"]);
    scene.receiver.wait("/one", 1, service);
    let deliveries = eventually(service, || {
        let deliveries = service.show(&build)["deliveries"].clone();
        deliveries[1]["error"].is_string().then_some(deliveries)
    });
    assert_eq!(deliveries[1]["state"], "pending");
    assert!(deliveries[1]["error"].as_str().unwrap().contains("302"), "{deliveries}");
    assert!(!redirecting.requests().is_empty());
    assert!(scene.receiver.received("/target").is_empty());
    // A build done again tells nobody who has gone on.
    let again = service.ask("POST", &format!("/v1/builds/{build}/rebuild?wait=60s"), &[], b"").ok();
    assert_eq!((&again["state"], &again["notify"]), (&json!("succeeded"), &Value::Null), "{again:#}");
    assert_eq!(scene.receiver.received("/one").len(), 1);
}
