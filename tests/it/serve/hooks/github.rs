//! From a push to GitHub to a status at its commit and a word to who waits.

use serde_json::{Value, json};

use super::{BEFORE, SECRET, SIGNING, Scene, TOKEN, built, eventually, hex, hmac, ignored, push, verified};
use cooper::layer::Digest;

#[test]
fn a_push_is_built_and_told_of() {
    let scene = Scene::start(&[]);
    let service = &scene.service;
    let commit = scene.copy.commit("first");
    let body = push("refs/heads/main", BEFORE, &commit);
    let answer = scene.github("72d3162e-cc78-11e3-81ab-4c9367dc0958", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = built(&answer);
    let build = service.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(build["state"], "succeeded", "{build:#}");
    let manifest = service.registry.manifest("app", "main").unwrap();
    assert_eq!(build["result"]["digest"], Digest::of(&manifest).to_string());
    assert_eq!((&build["project"], &build["by"]), (&json!("shop/app"), &json!("hook hub")));
    assert_eq!(
        build["origin"],
        json!({"hook": "hub", "provider": "github", "repository": "shop/app", "ref": "refs/heads/main",
               "commit": commit, "rule": "default", "author": "Ada", "message": "Fix it",
               "link": format!("https://github.com/shop/app/commit/{commit}")})
    );

    // The status of the commit.
    let path = format!("/api/v3/repos/shop/app/statuses/{commit}");
    let last = eventually(service, || {
        let last = scene.receiver.received(&path).pop()?;
        let status: Value = serde_json::from_slice(&last.body).unwrap();
        (status["state"] == "success").then_some((last, status))
    });
    assert_eq!(last.0.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(last.0.headers["accept"], "application/vnd.github+json");
    assert_eq!(last.0.method, "POST");
    assert_eq!(last.1["context"], "cooper");
    assert_eq!(last.1["target_url"], format!("https://ci.example/#/builds/{id}"));
    assert_eq!(last.1["description"], format!("pushed {}", build["result"]["digest"].as_str().unwrap()));
    let first: Value = serde_json::from_slice(&scene.receiver.received(&path)[0].body).unwrap();
    assert!(first["state"] == "pending" || scene.receiver.received(&path).len() == 1, "{first}");

    // Who waits.
    let notified = scene.receiver.wait("/notify", 1, service);
    let (message, told) = verified(&notified[0]);
    assert!(message.starts_with("msg_"));
    assert_eq!((&told["type"], &told["data"]["id"]), (&json!("build.succeeded"), &json!(id)));
    assert_eq!(told["data"]["result"], build["result"]);
    assert_eq!(told["data"]["origin"], build["origin"]);
    assert_eq!(told["data"]["url"], format!("https://ci.example/#/builds/{id}"));
    assert_eq!(notified[0].query, "key=of-address");

    // Both are in the record, without what is secret.
    let record = eventually(service, || {
        let record = service.show(&id);
        let all = record["deliveries"].as_array()?;
        all.iter().all(|delivery| delivery["state"] == "delivered").then(|| record.clone())
    });
    let delivery = record["deliveries"].as_array().unwrap().last().unwrap();
    assert_eq!(delivery["id"], message);
    assert_eq!((&delivery["kind"], &delivery["attempts"]), (&json!("notification"), &json!(1)));
    assert_eq!(delivery["host"], scene.receiver.server.host());
    assert!(!record.to_string().contains("of-address"), "{record:#}");
    let metrics = service.get("/metrics").text();
    assert!(metrics.contains("cooper_hooks_total{outcome=\"accepted\"} 1"), "{metrics}");
    assert!(
        metrics.contains("cooper_deliveries_total{kind=\"notification\",outcome=\"delivered\"} 1"),
        "{metrics}"
    );
    let mut written = service.log().into_bytes();
    for entry in std::fs::read_dir(service.data()).unwrap().flatten() {
        written.extend(std::fs::read(entry.path()).unwrap_or_default());
    }
    for secret in [SECRET, TOKEN, SIGNING] {
        assert!(!written.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    assert!(!service.log().contains("of-address"));

    // The same again, also under another name, is the same build.
    for delivery in ["72d3162e-cc78-11e3-81ab-4c9367dc0958", "11111111-cc78-11e3-81ab-4c9367dc0958"] {
        let again = scene.github(delivery, &body);
        assert_eq!((again.status, built(&again)), (200, id.clone()));
        assert_eq!(again.json()["builds"][0]["is_known"], true);
    }
    // And so is another message of the same push.
    let mut other = body.clone();
    other["repository"]["stargazers_count"] = json!(5);
    assert_eq!(built(&scene.github("22222222-cc78-11e3-81ab-4c9367dc0958", &other)), id);
    assert_eq!(scene.builds().len(), 1);
}

#[test]
fn a_branch_that_goes_back_is_built_again() {
    let scene = Scene::start(&[]);
    let first = scene.copy.commit("first");
    scene.copy.write("file", "two");
    let second = scene.copy.commit("second");
    let there = push("refs/heads/main", BEFORE, &first);
    let one = built(&scene.github("1", &there));
    let two = built(&scene.github("2", &push("refs/heads/main", &first, &second)));
    let mut back = push("refs/heads/main", &second, &first);
    back["forced"] = json!(true);
    let three = built(&scene.github("3", &back));
    assert!(one != two && two != three && one != three);
    // A copy of an old message does not put the old commit back.
    assert_eq!(built(&scene.github("4", &there)), one);
    let state = scene.service.wait_for(&three, &["succeeded", "failed"]);
    assert_eq!(state["state"], "succeeded", "{state:#}");
    // The tags of the other kind of reference are not made.
    let tag =
        built(&scene.github("5", &push("refs/tags/v1", "0000000000000000000000000000000000000000", &first)));
    assert_eq!(scene.service.wait_for(&tag, &["succeeded", "failed"])["state"], "succeeded");
    assert!(scene.service.registry.manifest("app", "v1").is_some());
    assert!(scene.builds()[0]["request"]["tags"].as_array().unwrap().len() == 1);
}

#[test]
fn newer_pushes_take_the_place_of_those_that_wait() {
    let scene = Scene::start(&["--cpus", "1", "--build-cpus", "1"]);
    let service = &scene.service;
    let base = super::super::base(&service.registry);
    scene.copy.write("Dockerfile", &format!("FROM {base}\nRUN sleep 3\nCOPY file /\n"));
    let mut ids = Vec::new();
    let mut before = BEFORE.to_owned();
    for number in 0..3 {
        scene.copy.write("file", &number.to_string());
        let commit = scene.copy.commit("more");
        ids.push((
            built(&scene.github(&number.to_string(), &push("refs/heads/main", &before, &commit))),
            commit.clone(),
        ));
        before = commit;
        if number == 0 {
            service.wait_for(&ids[0].0, &["running"]);
        }
    }
    let second = service.show(&ids[1].0);
    assert_eq!((&second["state"], &second["superseded_by"]), (&json!("cancelled"), &json!(ids[2].0)));
    assert_eq!(service.wait_for(&ids[2].0, &["succeeded", "failed"])["state"], "succeeded");
    // Its commit is told that it is not built, and nobody waits for ever.
    let path = format!("/api/v3/repos/shop/app/statuses/{}", ids[1].1);
    eventually(service, || {
        let last: Value = serde_json::from_slice(&scene.receiver.received(&path).pop()?.body).unwrap();
        (last["state"] == "error" && last["description"].as_str()?.contains("superseded")).then_some(())
    });
}

#[test]
fn what_is_not_to_be_built_is_ignored_and_says_why() {
    let scene = Scene::start(&[]);
    let commit = scene.copy.commit("first");
    let changed = |field: &str, value: Value| {
        let mut body = push("refs/heads/main", BEFORE, &commit);
        body[field] = value;
        scene.github("1", &body)
    };
    ignored(&changed("ref", json!("refs/heads/try")), "no pattern of branches or tags matches");
    ignored(&changed("ref", json!("refs/heads/release/1/2")), "no pattern");
    ignored(&changed("ref", json!("refs/tags/1")), "no pattern");
    ignored(&changed("ref", json!("refs/pull/1/head")), "no branch and no tag");
    ignored(&changed("deleted", json!(true)), "was deleted");
    ignored(&changed("repository", json!({"full_name": "shop/other"})), "no repository of this hook");
    let mut body = push("refs/heads/main", BEFORE, &commit);
    body["commits"][0]["modified"] = json!(["README.md", "docs/a.md"]);
    ignored(&scene.github("2", &body), "no changed path matches");
    let signed = |event: &str, body: &[u8]| {
        let signature = format!("sha256={}", hex(&hmac(SECRET.as_bytes(), body)));
        scene.github_signed("3", event, &signature, body)
    };
    ignored(&signed("ping", b"{\"zen\": \"Keep it logically awesome.\", \"hook_id\": 1}"), "`ping`");
    ignored(&signed("issues", b"{}"), "`issues`");
    assert!(scene.builds().is_empty());
    // What is no GitHub's message.
    signed("push", b"{").problem(400, "bad-payload");
    signed("push", b"[]").problem(400, "bad-payload");
    signed("push", b"payload=%7B%7D").problem(400, "bad-payload");
    changed("after", json!("HEAD")).ok();
    let mut body = push("refs/heads/main", BEFORE, &commit);
    body["head_commit"]["id"] = json!("HEAD");
    scene.github("4", &body).problem(400, "bad-payload");
    let mut body = push("refs/heads/main", BEFORE, &commit);
    body["repository"]["pushed_at"] = json!(1_600_000_000);
    scene.github("5", &body).problem(400, "bad-payload");
}

#[test]
fn who_does_not_know_the_secret_is_refused() {
    let scene = Scene::start(&[]);
    let commit = scene.copy.commit("first");
    let body = push("refs/heads/main", BEFORE, &commit).to_string();
    let good = hex(&hmac(SECRET.as_bytes(), body.as_bytes()));
    let wrong = hex(&hmac(b"other", body.as_bytes()));
    for signature in ["", "sha256=", &good, &format!("sha1={good}"), &format!("sha256={wrong}"), "sha256=é"]
    {
        scene.github_signed("1", "push", signature, body.as_bytes()).problem(401, "bad-signature");
    }
    // Of another body.
    let other = body.replace("main", "release/1");
    scene
        .github_signed("1", "push", &format!("sha256={good}"), other.as_bytes())
        .problem(401, "bad-signature");
    let service = &scene.service;
    service
        .ask("POST", "/v1/hooks/hub", &[("X-GitHub-Event", "push")], body.as_bytes())
        .problem(401, "bad-signature");
    // Nothing is read before the signature is right.
    scene.github_signed("1", "push", "sha256=00", b"{").problem(401, "bad-signature");
    service.ask("POST", "/v1/hooks/none", &[], b"{}").problem(404, "no-such-hook");
    service.ask("POST", "/v1/hooks/..%2fhub", &[], b"{}").problem(404, "no-such-hook");
    service.ask("GET", "/v1/hooks/hub", &[], b"").problem(405, "no-such-method");
    scene.github_signed("1", "push", "sha256=00", &vec![b' '; 5 << 20]).problem(413, "too-large");
    assert!(scene.builds().is_empty());
    // The secret is read each time.
    std::fs::write(scene.configuration.path().join("secret"), "new\n").unwrap();
    let signature = format!("sha256={good}");
    scene.github_signed("1", "push", &signature, body.as_bytes()).problem(401, "bad-signature");
    std::fs::write(scene.configuration.path().join("secret"), format!("new\n{SECRET}\n")).unwrap();
    built(&scene.github_signed("1", "push", &signature, body.as_bytes()));
    std::fs::remove_file(scene.configuration.path().join("secret")).unwrap();
    scene.github_signed("2", "push", &signature, body.as_bytes()).problem(500, "internal");
    let log = service.log();
    assert!(log.contains("bad-signature") && !log.contains(&good), "{log}");
}
