//! The form that starts builds.

use serde_json::{Value, json};

use super::{Browser, Service, Stage, context};
use crate::support::{Repositories, WebServer};

/// The record of the build that the page has come to, when it has ended.
#[track_caller]
fn ended(service: &Service, browser: &mut Browser) -> Value {
    let hash = browser.until("location.hash.startsWith('#/builds/') && location.hash");
    let build = hash.as_str().unwrap().trim_start_matches("#/builds/").to_owned();
    service.wait_for(&build, &["succeeded", "failed"])
}

#[test]
fn builds_are_started_from_git_and_from_archives() {
    let repositories = Repositories::new();
    let copy = repositories.create("app");
    copy.write("sub/other", "FROM scratch\nARG A\nLABEL a=$A\nCOPY file /\n").write("sub/file", "one");
    copy.commit("first");
    let server = WebServer::git(None, repositories.path(), None);
    let service = Service::start(&["--source-reach", "public,127.0.0.1"]);
    let host = service.registry.host();
    let mut browser = Browser::start();
    let new = format!("http://{}/#/new", service.address);
    browser.go(&new);
    for (field, text) in [
        ("url", format!("{}/app.git", server.url())),
        ("ref", "main".to_owned()),
        ("directory", "sub".to_owned()),
        ("dockerfile", "other".to_owned()),
        ("tags", format!("{host}/git:1\n  {host}/git:2\n")),
    ] {
        browser.click(&format!("#{field}"));
        browser.write(&text);
    }
    browser.click("summary");
    browser.click("#args");
    browser.write("A=b=c\n");
    browser.click("#project");
    browser.write("shop");
    browser.screenshot("new-filled");
    browser.click("button[type=submit]");
    let build = ended(&service, &mut browser);
    assert_eq!(build["state"], "succeeded", "{build:#}");
    let wanted = json!({"tags": [format!("{host}/git:1"), format!("{host}/git:2")], "project": "shop",
        "context": {"git": {"url": format!("{}/app.git", server.url()), "ref": "main", "directory": "sub"}},
        "dockerfile": "other", "build_args": {"A": "b=c"}});
    assert_eq!(build["request"], wanted);
    browser.see("also");

    browser.press("a");
    browser.click("input[value=archive]");
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("context.tar");
    let files = context(&[("Dockerfile", b"FROM scratch\nCOPY . /\n"), ("a", &vec![7; 300_000])]);
    std::fs::write(&archive, &files).unwrap();
    browser.choose("#archive", &archive);
    browser.click("#tags");
    browser.write(&format!("{host}/archive:1"));
    browser.click("summary");
    browser.click("#reason");
    browser.write("größer – 大");
    browser.click("button[type=submit]");
    let build = ended(&service, &mut browser);
    assert_eq!(
        (&build["state"], &build["upload"]["size"]),
        (&json!("succeeded"), &json!(files.len())),
        "{build:#}"
    );
    assert_eq!(build["request"]["reason"], "größer – 大");

    // What is refused is said where it was asked for.
    browser.press("a");
    browser.click("#url");
    browser.write("https://me:secret@git.example.com/app.git");
    browser.click("#tags");
    browser.write(&format!("{host}/git:1"));
    browser.click("button[type=submit]");
    browser.see("without a login");
    browser.screenshot("new-refused");
    assert_eq!(browser.eval("document.querySelector('#url').value.includes('secret')"), json!(true));
    let origin = format!("http://{}/", service.address);
    browser.is_sound(&origin);
}

#[test]
fn a_dockerfile_alone_is_enough() {
    let mut stage = Stage::new();
    stage.go("#/new");
    stage.browser.click("input[value=text]");
    stage.browser.click("#tags");
    let name = format!("{}/alone:1", stage.service.registry.host());
    stage.browser.write(&name);
    stage.browser.click("button[type=submit]");
    let build = ended(&stage.service, &mut stage.browser);
    assert_eq!(build["state"], "succeeded", "{build:#}");
    assert!(stage.service.registry.manifest("alone", "1").is_some());
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}
