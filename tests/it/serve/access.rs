//! Who may do what.

use std::process::{Command, Stdio};
use std::time::Duration;

use cooper::layer::Digest;
use serde_json::{Value, json};

use super::{Answer, Service, context, id};
use crate::support::COOPER;

fn ask(service: &Service, token: &str, method: &str, path: &str, request: Option<&Value>) -> Answer {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("Authorization", authorization.as_str())];
    let text = request.map(Value::to_string);
    headers.extend(text.as_deref().map(|text| ("Cooper-Build", text)));
    let body = if request.is_some() { context(&[]) } else { Vec::new() };
    service.ask(method, path, &headers, &body)
}

fn tokens(host: &str) -> Value {
    let hash = |token: &str| Digest::of(token).hex();
    json!({"tokens": [
        {"name": "shop", "sha256": hash("shop-token"), "destinations": [format!("{host}/shop/*")],
         "contexts": ["upload"], "max_upload": "1KiB", "max_timeout": "5m"},
        {"name": "ops", "sha256": hash("ops-token"), "projects": ["**"], "read_only": true},
        {"name": "root", "sha256": hash("root-token"), "projects": ["**"], "destinations": ["**"],
         "contexts": ["**"], "max_priority": 10},
    ]})
}

#[test]
fn tokens_say_what_may_be_done() {
    let service = Service::with_tokens(&[], Some(&json!({"tokens": []})));
    let host = service.registry.host();
    let path = service.directory.path().join("tokens.json");
    assert_eq!(ask(&service, "shop-token", "GET", "/v1/builds", None).status, 401);
    // Rotation without a restart.
    std::fs::write(&path, tokens(&host).to_string()).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let request = |name: &str| json!({"tags": [format!("{host}/{name}")], "dockerfile_text": "FROM scratch\nCOPY file /\n"});
    for token in ["", "shop", "shop-toke", "shop-token-", "SHOP-TOKEN"] {
        let answer = ask(&service, token, "POST", "/v1/builds", Some(&request("shop/a:1")));
        answer.problem(401, "unauthorized");
        assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"));
    }
    service.get("/v1/builds").problem(401, "unauthorized");
    let shop = |request: &Value| ask(&service, "shop-token", "POST", "/v1/builds?wait=60s", Some(request));
    // The body is larger than what this token may send.
    shop(&request("shop/a:1")).problem(413, "too-large");
    let mut wide = tokens(&host);
    wide["tokens"][0]["max_upload"] = json!("1MiB");
    std::fs::write(&path, wide.to_string()).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let build = shop(&request("shop/a:1")).ok();
    assert_eq!(
        (&build["state"], &build["project"], &build["by"]),
        (&json!("succeeded"), &json!("shop"), &json!("shop"))
    );
    for (name, kind) in
        [("other/a:1", "destination"), ("shop/a/b:1", "destination"), ("shopping:1", "destination")]
    {
        shop(&request(name)).problem(403, kind);
    }
    let changed = |field: &str, value: Value| {
        let mut request = request("shop/a:1");
        request[field] = value;
        request
    };
    shop(&changed("cache_to", json!([format!("{host}/other")]))).problem(403, "destination");
    shop(&changed("project", json!("other"))).problem(403, "project");
    shop(&changed("priority", json!(1))).problem(403, "priority");
    shop(&changed("timeout", json!("6m"))).problem(403, "timeout");
    let context = changed("context", json!({"artifact": format!("oci://{host}/c@{}", Digest::of("x"))}));
    shop(&context).problem(403, "context");

    let own = id(&build);
    let foreign =
        ask(&service, "root-token", "POST", "/v1/builds?wait=60s", Some(&request("other/b:1"))).ok();
    let foreign = format!("/v1/builds/{}", id(&foreign));
    for (method, tail) in
        [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/events"), ("POST", "/rebuild")]
    {
        ask(&service, "shop-token", method, &format!("{foreign}{tail}"), None).problem(404, "no-such-build");
    }
    let seen = ask(&service, "shop-token", "GET", "/v1/builds", None).ok();
    assert_eq!(seen["builds"].as_array().unwrap().iter().map(id).collect::<Vec<_>>(), [own.as_str()]);
    let seen = ask(&service, "ops-token", "GET", "/v1/builds", None).ok();
    assert_eq!(seen["builds"].as_array().unwrap().len(), 2);
    service.get("/v1/status").problem(401, "unauthorized");
    let status = ask(&service, "shop-token", "GET", "/v1/status", None).ok();
    assert_eq!((&status["projects"], &status["caller"]["name"]), (&json!(["shop"]), &json!("shop")));
    let status = ask(&service, "ops-token", "GET", "/v1/status", None).ok();
    assert_eq!(status["projects"].as_array().unwrap().len(), 2);
    assert_eq!(status["caller"]["read_only"], true);
    ask(&service, "ops-token", "DELETE", &format!("/v1/builds/{own}"), None).problem(403, "read-only");
    ask(&service, "ops-token", "POST", "/v1/builds", Some(&request("shop/a:1"))).problem(403, "read-only");
    let log = service.log();
    assert!(log.contains("\"target\":\"audit\"") && log.contains("\"action\":\"create\""), "{log}");
    assert!(!log.contains("-token"), "{log}");
    // Anybody may ask how the service is.
    assert_eq!((service.get("/healthz").status, service.get("/metrics").status), (200, 200));
}

#[test]
fn without_tokens_only_this_machine_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(COOPER);
        command.args(["serve", "--data"]).arg(directory.path()).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[]).contains("--tokens"));
    assert!(refused(&["--allow-anonymous", "--listen", "0.0.0.0:0"]).contains("of this machine alone"));
    let service = Service::start(&[]);
    // Pages of the web that a browser on this machine shows are not of this machine.
    for header in [("Host", "evil.example"), ("Origin", "https://evil.example"), ("Origin", "null")] {
        let mut headers = vec![header];
        if header.0 == "Host" {
            headers = vec![("X-Forwarded-Host", "x")];
        }
        let answer = if header.0 == "Host" {
            foreign_host(&service, header.1)
        } else {
            service.ask("POST", "/v1/builds", &headers, b"")
        };
        answer.problem(403, "foreign-page");
    }
    // Two services do not share a directory.
    let data = service.data().display().to_string();
    let output = Command::new(COOPER)
        .args(["serve", "--listen", "127.0.0.1:0", "--allow-anonymous", "--data", &data])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("another service uses"));
}

fn foreign_host(service: &Service, host: &str) -> Answer {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(&service.address).unwrap();
    write!(stream, "GET /v1/builds HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    Answer::read(&mut std::io::BufReader::new(stream))
}

#[test]
fn who_has_its_rights_cannot_read_its_environment() {
    // As in a pod: root, without the capabilities that open others' memory.
    let without_ptrace = |program: &str| {
        if !rustix::process::getuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let dropped = "-sys_ptrace,-sys_admin,-perfmon";
        command.args([format!("--bounding-set={dropped}"), format!("--inh-caps={dropped}")]).arg(program);
        command
    };
    let can_read = |process: &std::process::Child| {
        let path = format!("/proc/{}/environ", process.id());
        without_ptrace("cat")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    let directory = tempfile::tempdir().unwrap();
    let mut service = without_ptrace(COOPER)
        .args(["serve", "--allow-anonymous", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    super::follow_log(service.stderr.take().unwrap());
    let mut other = without_ptrace("sleep").arg("60").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let read = [can_read(&service), can_read(&other)];
    for process in [&mut service, &mut other] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert_eq!(read, [false, true]);
}
