//! GitLab, Gitea, and anybody else.

use serde_json::{Value, json};

use super::{BEFORE, SECRET, Scene, TOKEN, built, eventually, hex, hmac, ignored, now};

#[test]
fn gitlab_is_understood_with_both_kinds_of_tokens() {
    let scene = Scene::start(&[]);
    let service = &scene.service;
    let commit = scene.copy.commit("first");
    let body = json!({
        "object_kind": "push", "event_name": "push", "before": BEFORE, "after": commit, "ref": "refs/heads/main",
        "ref_protected": true, "checkout_sha": commit, "message": null, "user_id": 4, "user_name": "Ada",
        "user_username": "ada", "project_id": 15,
        "project": {"id": 15, "name": "App", "web_url": "http://gitlab.example/shop/app",
                    "git_http_url": "http://gitlab.example/shop/app.git", "path_with_namespace": "Shop/App",
                    "default_branch": "main"},
        "commits": [{"id": commit, "message": "Fix it\n", "title": "Fix it", "timestamp": "2026-11-22T14:00:00+00:00",
                     "url": format!("http://gitlab.example/shop/app/-/commit/{commit}"),
                     "author": {"name": "Ada", "email": "ada@example.org"},
                     "added": [], "modified": ["file"], "removed": []}],
        "total_commits_count": 1,
    })
    .to_string();
    let plain = |token: &str, key: &str| {
        let headers = [
            ("X-Gitlab-Event", "Push Hook".to_owned()),
            ("X-Gitlab-Token", token.to_owned()),
            ("Idempotency-Key", key.to_owned()),
        ];
        scene.hook("lab", &headers, body.as_bytes())
    };
    plain("other", "k1").problem(401, "bad-signature");
    plain("", "k1").problem(401, "bad-signature");
    scene.hook("lab", &[], body.as_bytes()).problem(401, "bad-signature");
    let answer = plain(SECRET, "k1");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = built(&answer);
    let build = service.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(
        (&build["state"], &build["origin"]["author"]),
        (&json!("succeeded"), &json!("Ada")),
        "{build:#}"
    );
    assert_eq!(built(&plain(SECRET, "k1")), id);
    let path = format!("/api/v4/projects/shop%2Fapp/statuses/{commit}");
    let status = eventually(service, || {
        let last = scene.receiver.received(&path).pop()?;
        let status: Value = serde_json::from_slice(&last.body).unwrap();
        assert_eq!(last.headers["private-token"], TOKEN);
        (status["state"] == "success").then_some(status)
    });
    assert_eq!((&status["name"], &status["ref"]), (&json!("images"), &json!("main")));
    // The signing token.
    let headers = Scene::standard("k2", now(), body.as_bytes());
    assert_eq!(built(&scene.hook("lab", &headers, body.as_bytes())), id);
    let old = Scene::standard("k3", now() - 600, body.as_bytes());
    scene.hook("lab", &old, body.as_bytes()).problem(401, "bad-signature");
    let deleted =
        json!({"object_kind": "push", "ref": "refs/heads/main", "before": commit, "after": "0".repeat(40),
                         "checkout_sha": null, "project": {"path_with_namespace": "shop/app"}, "commits": []})
        .to_string();
    let headers = [("X-Gitlab-Token", SECRET.to_owned())];
    ignored(&scene.hook("lab", &headers, deleted.as_bytes()), "deleted");
    ignored(&scene.hook("lab", &headers, b"{\"object_kind\": \"merge_request\"}"), "merge_request");
}

#[test]
fn gitea_is_understood() {
    let scene = Scene::start(&[]);
    let service = &scene.service;
    // A build that fails, of which the commit is told.
    scene.copy.write("Dockerfile", "FROM scratch\nCOPY none /\n");
    let commit = scene.copy.commit("first");
    let told = json!({"id": commit, "message": "Webhooks Yay!", "url": "http://localhost:3000/shop/app/commit/1",
                      "author": {"name": "Gitea", "email": "someone@gitea.io", "username": "gitea"},
                      "committer": {"name": "Gitea", "email": "someone@gitea.io", "username": "gitea"},
                      "timestamp": "2017-03-13T13:52:11-04:00", "added": [], "removed": [], "modified": ["file"]});
    let body = json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": commit, "compare_url": "http://localhost:3000/c",
        "commits": [told], "total_commits": 1, "head_commit": told,
        "repository": {"id": 140, "owner": {"id": 1, "login": "shop"}, "name": "app", "full_name": "shop/app"},
        "pusher": {"id": 1, "login": "gitea"}, "sender": {"id": 1, "login": "gitea"},
    })
    .to_string();
    let send = |signature: &str| {
        let headers = [
            ("X-Gitea-Event", "push".to_owned()),
            ("X-Gitea-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473".to_owned()),
            ("X-Gitea-Signature", signature.to_owned()),
        ];
        scene.hook("tea", &headers, body.as_bytes())
    };
    send("").problem(401, "bad-signature");
    send(&hex(&hmac(b"other", body.as_bytes()))).problem(401, "bad-signature");
    let signature = hex(&hmac(SECRET.as_bytes(), body.as_bytes()));
    let id = built(&send(&signature));
    assert_eq!(service.wait_for(&id, &["succeeded", "failed"])["state"], "failed");
    assert_eq!(built(&send(&signature)), id);
    let path = format!("/api/v1/repos/shop/app/statuses/{commit}");
    let status = eventually(service, || {
        let last = scene.receiver.received(&path).pop()?;
        assert_eq!(last.headers["authorization"], format!("token {TOKEN}"));
        let status: Value = serde_json::from_slice(&last.body).unwrap();
        (status["state"] == "failure").then_some(status)
    });
    assert_eq!(status["context"], "cooper");
    assert!(status["description"].as_str().unwrap().contains("none"), "{status}");
}

#[test]
fn anybody_may_sign_as_standard_webhooks_says() {
    let scene = Scene::start(&[]);
    let commit = scene.copy.commit("first");
    let body = json!({"type": "push", "timestamp": "2026-11-22T14:00:00Z",
                      "data": {"repository": "shop/app", "ref": "refs/tags/v2", "commit": commit, "message": "Hand made"}})
    .to_string();
    let body = body.as_bytes();
    let good = Scene::standard("msg_1", now(), body);
    for (index, value) in [(0, "msg_2"), (1, "1"), (1, "soon"), (2, "v1,AAAA"), (2, "v2,x"), (2, "")] {
        let mut wrong = good.clone();
        wrong[index].1 = value.to_owned();
        scene.hook("other", &wrong, body).problem(401, "bad-signature");
    }
    for missing in 0..3 {
        let mut wrong = good.clone();
        wrong.remove(missing);
        scene.hook("other", &wrong, body).problem(401, "bad-signature");
    }
    scene.hook("other", &Scene::standard("msg_1", now() - 400, body), body).problem(401, "bad-signature");
    let id = built(&scene.hook("other", &good, body));
    assert_eq!(built(&scene.hook("other", &good, body)), id, "the same message is known");
    let build = scene.service.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&build["state"], &build["origin"]["message"]), (&json!("succeeded"), &json!("Hand made")));
    assert!(scene.service.registry.manifest("app", "v2").is_some());
    let ping = b"{\"type\": \"ping\"}";
    ignored(&scene.hook("other", &Scene::standard("msg_3", now(), ping), ping), "`ping`");
    let wrong = b"{\"type\": \"push\", \"data\": {\"repo\": 1}}";
    scene.hook("other", &Scene::standard("msg_4", now(), wrong), wrong).problem(400, "bad-payload");
}
