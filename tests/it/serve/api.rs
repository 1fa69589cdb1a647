//! The API.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use cooper::layer::Digest;
use serde_json::{Value, json};

use super::{Answer, Service, base, context, id};
use crate::support::{Reply, Repositories, WebServer};

/// The frames of a stream of events, to its end.
fn frames(service: &Service, id: &str, last: Option<&str>) -> Vec<(String, String, String)> {
    let header = last.map(|last| ("Last-Event-ID", last));
    let headers: Vec<_> = header.into_iter().collect();
    let text = service.ask("GET", &format!("/v1/builds/{id}/events"), &headers, b"").text();
    let field = |frame: &str, name: &str| {
        let line = frame.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    };
    let frames = text.split("\n\n").filter(|frame| frame.contains("data: "));
    frames.map(|frame| (field(frame, "event"), field(frame, "id"), field(frame, "data"))).collect()
}

#[test]
fn builds_what_is_uploaded() {
    let service = Service::start(&[]);
    let host = service.registry.host();
    let mut request = service.request("app:1", "FROM scratch\nCOPY . /app/\nLABEL a=b\n");
    request["labels"] = json!({"ü": "ö"});
    let answer = service.ask(
        "POST",
        "/v1/builds?wait=60s",
        &[("Cooper-Build", &request.to_string()), ("Content-Type", "application/x-tar")],
        // The Dockerfile of the request is the one that counts.
        &context(&[("a", b"one"), ("Dockerfile", b"FROM scratch\nCOPY nothing /\n")]),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let build = answer.ok();
    assert_eq!(build["state"], "succeeded", "{build:#}");
    let manifest = service.registry.manifest("app", "1").unwrap();
    assert_eq!(build["result"]["digest"], Digest::of(&manifest).to_string());
    assert_eq!(build["result"]["images"], json!([format!("{host}/app:1")]));
    assert!(
        answer
            .head
            .to_lowercase()
            .contains(&format!("location: /v1/builds/{}", build["id"].as_str().unwrap()))
    );

    let name = id(&build);
    let logs = service.get(&format!("/v1/builds/{name}/logs"));
    assert!(logs.text().contains("COPY . /app/"), "{}", logs.text());
    let part = service.ask("GET", &format!("/v1/builds/{name}/logs"), &[("Range", "bytes=2-5")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &logs.body[2..6]));
    let range = format!("bytes={}-", logs.body.len());
    service.ask("GET", &format!("/v1/builds/{name}/logs"), &[("Range", &range)], b"").problem(416, "range");

    let all = frames(&service, &name, None);
    let first: Value = serde_json::from_str(&all[0].2).unwrap();
    assert_eq!(first["event"], "started");
    let (event, _, record) = all.last().unwrap();
    assert_eq!(event, "end");
    assert_eq!(serde_json::from_str::<Value>(record).unwrap()["result"], build["result"]);
    let rest = frames(&service, &name, Some(&all[2].1));
    assert_eq!(rest, all[3..]);
    let events = format!("/v1/builds/{name}/events");
    service.ask("GET", &events, &[("Last-Event-ID", "3")], b"").problem(400, "bad-event-id");
    service.ask("GET", &events, &[("Last-Event-ID", "x")], b"").problem(400, "bad-event-id");

    let again = service.ask("POST", &format!("/v1/builds/{name}/rebuild?wait=60s"), &[], b"").ok();
    assert_eq!((&again["rebuild_of"], &again["state"]), (&build["id"], &json!("succeeded")), "{again:#}");
    assert_eq!(again["result"], build["result"]);
    let text = service.get("/metrics").text();
    assert!(text.contains("cooper_builds_total{state=\"succeeded\"} 2"), "{text}");
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(service.get("/readyz").status, 200);
    assert_eq!(service.get("/openapi.json").ok()["openapi"], "3.1.0");
    assert!(service.get("/").text().contains("openapi.json"));
}

#[test]
fn lists_by_pages_and_filters() {
    let service = Service::start(&["--cpus", "1", "--build-cpus", "1"]);
    let names: Vec<String> = (0..5)
        .map(|number| {
            let mut request = service.request(&format!("list:{number}"), "FROM scratch\nCOPY . /\n");
            request["project"] = json!(if number == 4 { "other" } else { "one" });
            id(&service.build(&request, "?wait=60s").ok())
        })
        .collect();
    let page = |path: &str| {
        let page = service.get(path).ok();
        let builds = page["builds"].as_array().unwrap().iter().map(id).collect::<Vec<_>>();
        (builds, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = page("/v1/builds?project=one&limit=3");
    assert_eq!(first, [names[3].clone(), names[2].clone(), names[1].clone()]);
    let (second, next) = page(&next.unwrap());
    assert_eq!((second, next), (vec![names[0].clone()], None));
    assert_eq!(page("/v1/builds?state=succeeded&project=other").0, [names[4].clone()]);
    assert!(page("/v1/builds?state=failed").0.is_empty());
    service.get("/v1/builds?state=lost").problem(400, "bad-query");
    service.get("/v1/builds?colour=red").problem(400, "bad-query");
}

#[test]
fn fails_with_the_reason_of_the_build() {
    let service = Service::start(&[]);
    let build = service.build(&service.request("bad:1", "FROM scratch\nCOPY none /\n"), "?wait=60s").ok();
    assert_eq!(build["state"], "failed");
    assert!(build["error"].as_str().unwrap().contains("none"), "{build:#}");
    assert_ne!(build["exit_code"], 0);
    let log = service.get(&format!("/v1/builds/{}/logs", id(&build))).text();
    assert!(log.contains("none"), "{log}");
    // What is no archive is a failed build too, not a fault of the service.
    let request = service.request("bad:2", "FROM scratch\nCOPY . /\n").to_string();
    let build = service.ask("POST", "/v1/builds?wait=60s", &[("Cooper-Build", &request)], b"no archive").ok();
    assert_eq!(build["state"], "failed", "{build:#}");
}

#[test]
fn refuses_what_makes_no_sense() {
    let service = Service::start(&["--max-upload", "1MiB"]);
    let json = [("Content-Type", "application/json")];
    let post = |body: &str| service.ask("POST", "/v1/builds", &json, body.as_bytes());
    post("{").problem(400, "bad-request");
    post("{\"tags\": [\"r/a\"], \"tgas\": 1}").problem(400, "bad-request");
    assert!(post("{\"tgas\": 1}").text().contains("tgas"));
    post("{\"tags\": [\"r/a\"]}").problem(400, "no-context");
    post("{\"tags\": []}").problem(400, "bad-request");
    post(&" ".repeat(600 << 10)).problem(413, "too-large");
    service.ask("POST", "/v1/builds", &[], b"tar").problem(415, "no-request");
    let request = service.request("a:1", "FROM scratch\nCOPY . /\n");
    let header = request.to_string();
    let header = [("Cooper-Build", header.as_str())];
    service.ask("POST", "/v1/builds", &header, &vec![0; 2 << 20]).problem(413, "too-large");
    service.ask("POST", "/v1/builds", &header, b"").problem(400, "no-context");
    service.ask("POST", "/v1/builds?wait=soon", &header, b"a").problem(400, "bad-query");
    for (field, value) in [
        ("timeout", json!("forever")),
        ("memory", json!("much")),
        ("dockerfile", json!("/etc/passwd")),
        ("cache_to", json!(["oci:/tmp/x"])),
    ] {
        let mut request = request.clone();
        request["dockerfile_text"] = Value::Null;
        request[field] = value;
        service.build(&request, "").problem(400, "bad-request");
    }
    let mut big = request.clone();
    big["cpus"] = json!("1000");
    service.build(&big, "").problem(400, "too-big");
    service.get("/v1/nothing").problem(404, "no-such-route");
    service.get("/v1/builds/000000000000000000000000").problem(404, "no-such-build");
    service.get("/v1/builds/..%2f..%2fetc").problem(404, "no-such-build");
    service.ask("PUT", "/v1/builds", &[], b"").problem(405, "no-such-method");
    // A client that goes away in the middle of its context leaves nothing.
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let head = format!(
        "POST /v1/builds HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\nCooper-Build: {}\r\n\r\nhalf",
        header[0].1
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut line = String::new();
    let _ = BufReader::new(&stream).read_line(&mut line);
    assert!(!line.contains(" 20"), "{line}");
    drop(stream);
    assert!(service.get("/v1/builds").ok()["builds"].as_array().unwrap().is_empty());
    let uploads = service.data().join("uploads");
    let left = || std::fs::read_dir(&uploads).unwrap().count();
    for _ in 0..100 {
        if left() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(left(), 0);
    // The service is as it was.
    assert_eq!(service.build(&request, "?wait=60s").ok()["state"], "succeeded");
}

#[test]
fn builds_from_git_only_where_it_may() {
    let repositories = Repositories::new();
    let copy = repositories.create("app");
    copy.write("Dockerfile", "FROM scratch\nCOPY file /\n").write("file", "one");
    let commit = copy.commit("first");
    let server = WebServer::git(None, repositories.path(), None);
    let service = Service::start(&["--source-reach", "public,127.0.0.1"]);
    let tag = format!("{}/git:1", service.registry.host());
    let post = |service: &Service, url: &str, more: Value| -> Answer {
        let mut git = json!({"url": url});
        git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = json!({"context": {"git": git}, "tags": [tag]}).to_string();
        let json = [("Content-Type", "application/json")];
        service.ask("POST", "/v1/builds?wait=60s", &json, request.as_bytes())
    };
    let url = format!("{}/app.git", server.url());
    for more in [
        json!({}),
        json!({"ref": "main"}),
        json!({"commit": commit}),
        json!({"ref": "main", "commit": commit}),
    ] {
        let build = post(&service, &url, more).ok();
        assert_eq!(build["state"], "succeeded", "{build:#}");
    }
    // A place that may be fetched from cannot send the worker to one that may not.
    let target = server.url().replace("127.0.0.1", "127.0.0.2");
    let redirecting = WebServer::start(None, move |request| {
        Reply::new(302, "").header("Location", &format!("{target}{}?{}", request.path, request.query))
    });
    let build = post(&service, &format!("{}/app.git", redirecting.url()), json!({})).ok();
    assert_eq!(build["state"], "failed", "{build:#}");
    assert!(build["error"].as_str().unwrap().contains("nothing may be fetched from"), "{build:#}");
    // Nor can a Dockerfile.
    let dockerfile = format!("FROM scratch\nADD {}/file /\n", server.url().replace("127.0.0.1", "127.0.0.2"));
    let build = service.build(&service.request("add:1", &dockerfile), "?wait=60s").ok();
    assert!(build["error"].as_str().unwrap().contains("nothing may be fetched from"), "{build:#}");
    let strict = Service::start(&[]);
    for url in
        [url.as_str(), "http://localhost:1/a.git", "http://[::1]/a.git", "https://169.254.169.254/a.git"]
    {
        post(&strict, url, json!({})).problem(403, "out-of-reach");
    }
    post(&strict, "https://user:secret@git.example/a.git", json!({})).problem(400, "bad-request");
}

#[test]
fn a_run_is_built_and_its_output_followed() {
    let service = Service::start(&[]);
    let base = base(&service.registry);
    let dockerfile = format!("FROM {base}\nRUN echo one; sleep 1; echo two\n");
    let build = service.build(&service.request("run:1", &dockerfile), "").ok();
    let all = frames(&service, &id(&build), None);
    let lines: Vec<&str> = all
        .iter()
        .filter(|(_, _, data)| data.contains("\"output\""))
        .map(|(_, _, data)| data.as_str())
        .collect();
    assert!(lines.len() == 2 && lines[0].contains("one") && lines[1].contains("two"), "{all:?}");
    let (event, _, record) = all.last().unwrap();
    assert_eq!(
        (event.as_str(), &serde_json::from_str::<Value>(record).unwrap()["state"]),
        ("end", &json!("succeeded"))
    );
}

#[test]
fn the_status_tells_what_goes_on_and_when_it_changes() {
    let limits = ["--cpus", "1", "--build-cpus", "1", "--memory", "4GiB", "--build-memory", "1GiB"];
    let service = Service::start(&limits);
    let idle = service.get("/v1/status").ok();
    assert_eq!(idle["budget"], json!({"millicpus": 1000, "memory": 4_u64 << 30}));
    assert_eq!(idle["used"], json!({"millicpus": 0, "memory": 0}));
    assert_eq!((&idle["running"], &idle["waiting"], &idle["projects"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!(
        idle["caller"],
        json!({"name": "anonymous", "is_anonymous": true, "read_only": false, "project": "anonymous"})
    );
    let path = format!("/v1/status?wait=1s&after={}", idle["revision"]);
    let began = std::time::Instant::now();
    assert_eq!(service.get(&path).ok()["revision"], idle["revision"]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));

    let base = base(&service.registry);
    let slow = service.request("slow:1", &format!("FROM {base}\nRUN echo begun; sleep 60\n"));
    let running = std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| service.get(&format!("/v1/status?wait=60s&after={}", idle["revision"])).ok());
        std::thread::sleep(std::time::Duration::from_millis(200));
        let build = id(&service.build(&slow, "").ok());
        assert_ne!(waiting.join().unwrap()["revision"], idle["revision"]);
        build
    });
    super::ends::wait_for_run(&service, &running);
    let waiting = id(&service.build(&service.request("next:1", "FROM scratch\nCOPY . /\n"), "").ok());
    let busy = service.get("/v1/status").ok();
    assert_eq!((&busy["running_count"], &busy["waiting_count"]), (&json!(1), &json!(1)));
    assert_eq!(busy["used"], json!({"millicpus": 1000, "memory": 1 << 30}));
    assert_eq!((&busy["running"][0]["id"], &busy["waiting"][0]["id"]), (&json!(running), &json!(waiting)));
    assert_eq!(busy["waiting"][0]["queue"]["position"], 1);
    assert_eq!(busy["projects"], json!(["anonymous"]));
    // A list has no Dockerfiles; a build of its own has.
    assert_eq!(busy["running"][0]["request"].get("dockerfile_text"), None);
    assert_eq!(service.get("/v1/builds").ok()["builds"][1]["request"].get("dockerfile_text"), None);
    assert_eq!(service.show(&running)["request"]["dockerfile_text"], slow["dockerfile_text"]);
    service.ask("DELETE", &format!("/v1/builds/{running}"), &[], b"");
    let done = service.wait_for(&waiting, &["succeeded"]);
    assert_eq!(done["cache"], json!({"hits": 0, "steps": 1}), "{done:#}");
    service.get("/v1/status?wait=x").problem(400, "bad-query");
    service.get("/v1/status?after=x").problem(400, "bad-query");
}
