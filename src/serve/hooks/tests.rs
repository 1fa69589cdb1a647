use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::serve::sign;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const BEFORE: &str = "89abcdef0123456789abcdef0123456701234567";
const NOTHING: &str = "0000000000000000000000000000000000000000";
const NOW: i64 = 1_800_000_000;

fn read(provider: Provider, event: &str, body: &Value) -> Result<Event, PayloadError> {
    let mut headers = HeaderMap::new();
    for name in ["x-github-event", "x-gitea-event"] {
        headers.insert(name, event.parse().unwrap());
    }
    let body = body.to_string();
    Message { headers: &headers, body: body.as_bytes(), now: NOW }.read(provider)
}

#[track_caller]
fn push(event: Result<Event, PayloadError>) -> Push {
    match event.unwrap() {
        Event::Push(push) => *push,
        Event::Ignored(reason) => panic!("{reason}"),
    }
}

#[track_caller]
fn ignored(event: Result<Event, PayloadError>) -> String {
    match event.unwrap() {
        Event::Ignored(reason) => reason,
        Event::Push(push) => panic!("{push:?}"),
    }
}

fn github() -> Value {
    json!({
        "ref": "refs/heads/main", "before": BEFORE, "after": COMMIT, "created": false, "deleted": false,
        "forced": false, "compare": "https://github.com/shop/app/compare/89…01",
        "repository": {"id": 1, "full_name": "shop/app", "clone_url": "https://evil.example/x.git", "pushed_at": NOW - 5},
        "pusher": {"name": "ada", "email": "ada@example.org"},
        "head_commit": {"id": COMMIT, "message": "Fix it\n\nLong story", "url": "https://github.com/shop/app/commit/01",
                        "author": {"name": "Ada", "email": "a@example.org", "username": "ada"}},
        "commits": [{"id": COMMIT, "message": "Fix it", "author": {"name": "Ada"},
                     "added": ["new"], "removed": [], "modified": ["app/a.js"]}],
    })
}

#[test]
fn github_tells_of_pushes() {
    let told = push(read(Provider::Github, "push", &github()));
    assert_eq!(told.repository, "shop/app");
    assert_eq!(told.reference, Reference::Branch("main".to_owned()));
    assert_eq!(told.commit, COMMIT);
    assert_eq!((told.author.as_deref(), told.message.as_deref()), (Some("Ada"), Some("Fix it")));
    assert_eq!(told.link.as_deref(), Some("https://github.com/shop/app/commit/01"));
    assert_eq!(told.paths.unwrap(), ["new", "app/a.js"]);
    let with = |field: &str, value: Value| {
        let mut body = github();
        body[field] = value;
        read(Provider::Github, "push", &body)
    };
    // What has changed is not all told.
    for (field, value) in [("forced", json!(true)), ("before", json!(NOTHING)), ("commits", json!([]))] {
        assert_eq!(push(with(field, value)).paths, None, "{field}");
    }
    assert!(ignored(with("deleted", json!(true))).contains("deleted"));
    assert!(ignored(with("ref", json!("refs/notes/x"))).contains("no branch"));
    assert!(ignored(with("ref", json!("refs/heads/a b"))).contains("no branch"));
    let tag = push(with("ref", json!("refs/tags/v1")));
    assert_eq!((tag.reference, tag.paths), (Reference::Tag("v1".to_owned()), None));
    let mut tag = github();
    tag["after"] = json!(BEFORE);
    assert_eq!(push(read(Provider::Github, "push", &tag)).commit, COMMIT, "the commit, not the tag");
    let mut odd = github();
    odd["head_commit"]["url"] = json!("javascript:alert(1)");
    odd["head_commit"]["message"] = json!("x".repeat(9999));
    let odd = push(read(Provider::Github, "push", &odd));
    assert_eq!((odd.link, odd.message.unwrap().len()), (None, 200));
    assert!(ignored(read(Provider::Github, "ping", &json!({"zen": "…"}))).contains("`ping`"));
    let mut old = github();
    old["repository"]["pushed_at"] = json!(NOW - 40 * 86_400);
    assert!(matches!(read(Provider::Github, "push", &old), Err(PayloadError::Old(_))));
    let mut wrong = github();
    wrong["head_commit"] = Value::Null;
    wrong["after"] = json!("main; rm -rf /");
    assert!(matches!(read(Provider::Github, "push", &wrong), Err(PayloadError::Commit(_))));
    let headers = [("x-github-event".parse().unwrap(), "push".parse().unwrap())].into_iter().collect();
    let form = Message { headers: &headers, body: b"payload=%7B%7D", now: NOW };
    assert_eq!(form.read(Provider::Github), Err(PayloadError::Form));
}

#[test]
fn gitlab_tells_of_pushes() {
    let body = json!({
        "object_kind": "push", "event_name": "push", "before": BEFORE, "after": COMMIT, "ref": "refs/heads/main",
        "checkout_sha": COMMIT, "user_name": "Ada", "project_id": 15,
        "project": {"path_with_namespace": "tools/runner", "git_http_url": "https://evil.example/x.git"},
        "commits": [{"id": COMMIT, "message": "Fix\n", "title": "Fix", "url": "https://gitlab.example.com/c/1",
                     "author": {"name": "Grace"}, "added": [], "modified": ["a"], "removed": ["b"]}],
        "total_commits_count": 1,
    });
    let told = push(read(Provider::Gitlab, "", &body));
    assert_eq!((told.repository.as_str(), told.commit.as_str()), ("tools/runner", COMMIT));
    assert_eq!((told.author.as_deref(), told.message.as_deref()), (Some("Grace"), Some("Fix")));
    assert_eq!(told.paths.unwrap(), ["b", "a"]);
    let with = |changes: Value| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(Provider::Gitlab, "", &body)
    };
    assert_eq!(push(with(json!({"total_commits_count": 30}))).paths, None);
    assert_eq!(push(with(json!({"commits": []}))).author.as_deref(), Some("Ada"));
    let tag = json!({"object_kind": "tag_push", "ref": "refs/tags/v1", "after": BEFORE});
    let tag = push(with(tag));
    assert_eq!((tag.reference, tag.commit.as_str()), (Reference::Tag("v1".to_owned()), COMMIT));
    let deleted = json!({"after": NOTHING, "checkout_sha": null});
    assert!(ignored(with(deleted)).contains("deleted"));
    assert!(ignored(with(json!({"object_kind": "merge_request"}))).contains("merge_request"));
}

#[test]
fn gitea_tells_of_pushes() {
    let body = json!({
        "ref": "refs/heads/develop", "before": BEFORE, "after": COMMIT, "total_commits": 1,
        "repository": {"full_name": "gitea/webhooks"},
        "commits": [{"id": COMMIT, "message": "Webhooks Yay!", "url": "http://localhost:3000/c",
                     "author": {"name": "Gitea", "username": "gitea"}, "added": [], "removed": [], "modified": ["x"]}],
        "head_commit": {"id": COMMIT, "message": "Webhooks Yay!", "author": {"name": "Gitea"}},
    });
    let told = push(read(Provider::Gitea, "push", &body));
    assert_eq!((told.repository.as_str(), told.author.as_deref()), ("gitea/webhooks", Some("Gitea")));
    assert_eq!(told.paths.unwrap(), ["x"]);
    let mut more = body.clone();
    more["total_commits"] = json!(9);
    assert_eq!(push(read(Provider::Gitea, "push", &more)).paths, None);
    let mut deleted = body.clone();
    deleted["after"] = json!(NOTHING);
    assert!(ignored(read(Provider::Gitea, "push", &deleted)).contains("deleted"));
    assert!(ignored(read(Provider::Gitea, "create", &body)).contains("`create`"));
}

#[test]
fn anybody_tells_of_pushes() {
    let data = json!({"repository": "a/b", "ref": "refs/heads/x", "commit": COMMIT, "paths": ["p"], "message": "m\nn"});
    let told = push(read(Provider::Generic, "", &json!({"type": "push", "data": data})));
    assert_eq!((told.paths.unwrap(), told.message.as_deref()), (vec!["p".to_owned()], Some("m")));
    let mut unknown = data.clone();
    unknown["branch"] = json!("x");
    let error = read(Provider::Generic, "", &json!({"type": "push", "data": unknown})).unwrap_err();
    assert!(error.to_string().contains("unknown field `branch`"), "{error}");
    assert!(ignored(read(Provider::Generic, "", &json!({"type": "ping"}))).contains("`ping`"));
    for body in [json!({}), json!([]), json!({"type": "push"}), json!({"type": "push", "data": 1})] {
        assert!(matches!(read(Provider::Generic, "", &body), Err(PayloadError::Json(_))), "{body}");
    }
}

#[test]
fn only_who_knows_the_secret_is_believed() {
    let secrets = [Secret::new("whsec_c2VjcmV0IG9mIGEgdGVzdA=="), Secret::new("second")];
    let body = b"{}";
    let verify = |provider: Provider, headers: &[(&'static str, String)]| {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Message { headers: &headers, body, now: NOW }.verify(provider, &secrets)
    };
    let standard = |time: i64, signed_at: i64, key: usize| {
        let signature = sign::standard(&secrets[key..=key], "msg_1", signed_at, body);
        [
            ("webhook-id", "msg_1".to_owned()),
            ("webhook-timestamp", time.to_string()),
            ("webhook-signature", signature),
        ]
    };
    for provider in [Provider::Generic, Provider::Gitlab] {
        for key in [0, 1] {
            assert_eq!(verify(provider, &standard(NOW - 299, NOW - 299, key)), Ok(()));
        }
        assert_eq!(verify(provider, &standard(NOW - 301, NOW - 301, 0)), Err(Refusal::Time));
        assert_eq!(verify(provider, &standard(NOW + 301, NOW + 301, 0)), Err(Refusal::Time));
        let wrong = Err(Refusal::Wrong("webhook-signature"));
        assert_eq!(verify(provider, &standard(NOW, NOW - 1, 0)), wrong);
    }
    assert_eq!(verify(Provider::Generic, &[]), Err(Refusal::Missing("webhook-id")));
    assert_eq!(verify(Provider::Gitlab, &[]), Err(Refusal::Missing("X-Gitlab-Token")));
    assert_eq!(verify(Provider::Gitlab, &[("x-gitlab-token", "second".to_owned())]), Ok(()));
    for token in ["", "secon", "second2", "SECOND"] {
        let refused = verify(Provider::Gitlab, &[("x-gitlab-token", token.to_owned())]);
        assert_eq!(refused, Err(Refusal::Wrong("X-Gitlab-Token")), "{token}");
    }
    for (provider, header) in
        [(Provider::Github, "x-hub-signature-256"), (Provider::Gitea, "x-gitea-signature")]
    {
        assert!(matches!(verify(provider, &[]), Err(Refusal::Missing(_))));
        for text in ["", "sha256=", "sha256=zz", "sha1=00"] {
            assert!(matches!(verify(provider, &[(header, text.to_owned())]), Err(Refusal::Wrong(_))));
        }
    }
}
