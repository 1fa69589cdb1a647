//! What the page must not do, whatever others have written; and the token.

use cooper::layer::Digest;
use serde_json::json;

use super::{Browser, Service, Stage, id};

/// What would be script, markup or a trick elsewhere.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\"'>&lt;";

#[test]
fn answers_are_guarded() {
    let service = Service::start(&[]);
    let front = service.get("/");
    let head = front.head.to_lowercase();
    for part in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "content-type: text/html; charset=utf-8",
        "cache-control: no-cache",
    ] {
        assert!(head.contains(part), "{part} is not in {head}");
    }
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = service.ask("GET", "/", &[("If-None-Match", &tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let text = front.text();
    assert!(text.contains("openapi.json") && !text.contains("{VERSION}"), "{text}");
    assert!(!text.contains("style=") && !text.contains("onclick"), "{text}");
    let main = text.split('"').find(|part| part.ends_with("/main.js")).unwrap();
    let file = service.get(&format!("/{main}"));
    let head = file.head.to_lowercase();
    assert_eq!(file.status, 200);
    assert!(
        head.contains("immutable") && head.contains("text/javascript") && head.contains("nosniff"),
        "{head}"
    );
    service.get("/page/old/main.js").problem(404, "no-such-file");
    service.get(&format!("/{}", main.replace("main.js", "..%2fmod.rs"))).problem(404, "no-such-file");
}

#[test]
fn hostile_text_is_text() {
    let mut stage = Stage::new();
    let script = HOSTILE.replace('\'', "'\\''");
    let mut request =
        stage.request("hostile:1", &format!("RUN echo '{script}'; printf '\\033[31m<b>x</b>\\033[0m\\n'\n"));
    request["reason"] = json!(HOSTILE);
    request["labels"] = json!({"a<b>": HOSTILE});
    request["build_args"]["EVIL"] = json!(format!("{HOSTILE}\u{1b}[2J"));
    let fine = stage.built(&request);
    let mut request = stage.request("hostile:2", &format!("COPY '{}' /\n", HOSTILE.replace(['\'', '"'], "")));
    request["reason"] = json!(HOSTILE);
    let failed = stage.built(&request);
    assert_eq!(stage.service.show(&failed)["state"], "failed");
    let seen = "<script>alert(1)</script><img src=x onerror=alert(1)>⟨U+202E⟩";
    stage.go("#/");
    stage.browser.see(seen);
    stage.browser.screenshot("hostile-list");
    for (build, part) in
        [(&fine, ""), (&fine, "/timeline"), (&fine, "/layers"), (&fine, "/details"), (&failed, "")]
    {
        stage.go(&format!("#/builds/{build}{part}"));
        stage.browser.see(seen);
        if part.is_empty() && build == &fine {
            stage.browser.until("document.querySelector('.log-rows').textContent.includes('⟨U+202E⟩')");
        }
        stage.browser.screenshot(&format!(
            "hostile{}-{}",
            part.replace('/', "-"),
            if build == &fine { "fine" } else { "failed" }
        ));
        let made = stage
            .browser
            .eval("document.querySelectorAll('main script, main img, main b, body > script').length");
        assert_eq!(made, json!(0));
        assert_eq!(stage.browser.eval("document.body.textContent.includes('\u{202e}')"), json!(false));
    }
    // What is pasted into a terminal does nothing there.
    stage.go(&format!("#/builds/{fine}/details"));
    stage.browser.see("cooper build --push");
    let command = stage.browser.eval("document.querySelector('.command pre').textContent");
    assert!(
        command.as_str().unwrap().contains("\\u202e") && command.as_str().unwrap().contains("\\x1b[2J"),
        "{command}"
    );
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn a_token_is_asked_for_kept_in_the_tab_and_forgotten() {
    let service = Service::with_tokens(
        &[],
        Some(&json!({"tokens": [
            {"name": "look", "sha256": Digest::of("look-token").hex(), "projects": ["**"], "read_only": true},
            {"name": "work", "sha256": Digest::of("work-token").hex(), "projects": ["**"], "destinations": ["**"],
             "contexts": ["**"]},
        ]})),
    );
    let origin = format!("http://{}/", service.address);
    let mut browser = Browser::start();
    browser.go(&origin);
    browser.until("document.getElementById('token') !== null");
    browser.screenshot("token");
    browser.write("wrong-token");
    browser.press("Enter");
    browser.see("does not know the last token");
    browser.screenshot("token-wrong");
    browser.write("work-token");
    browser.press("Enter");
    browser.see("There are no builds yet");
    browser.see("work");
    let header = [("Authorization", "Bearer work-token")];
    let request = json!({"tags": [format!("{}/token:1", service.registry.host())], "dockerfile_text": "FROM scratch\nCOPY . /\n"});
    let headers = [header[0], ("Cooper-Build", &request.to_string())];
    let build = service.ask("POST", "/v1/builds?wait=60s", &headers, &super::context(&[])).ok();
    // The page hears of it by itself.
    browser.see("token:1");
    assert_eq!(
        browser.eval("[sessionStorage.length, document.cookie, JSON.stringify(localStorage)]"),
        json!([1, "", "{}"])
    );
    browser.leave();
    browser.go(&format!("{origin}#/builds/{}", id(&build)));
    browser.until("document.querySelector('.badge')?.textContent === 'Succeeded'");
    browser.until("!document.querySelector('button[aria-keyshortcuts=r]').hidden");
    // A token that is not good any more brings the form back.
    let path = service.directory.path().join("tokens.json");
    let only = json!({"tokens": [{"name": "look", "sha256": Digest::of("look-token").hex(), "projects": ["**"], "read_only": true}]});
    std::fs::write(&path, only.to_string()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    browser.eval("location.reload()");
    browser.until("document.getElementById('token') !== null");
    // Who may only look is offered nothing else.
    browser.write("look-token");
    browser.press("Enter");
    browser.until("document.querySelector('.badge')?.textContent === 'Succeeded'");
    browser.see("look (read only)");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(browser.eval("document.querySelector('button[aria-keyshortcuts=r]').hidden"), json!(true));
    assert_eq!(browser.eval("document.getElementById('nav-new').hidden"), json!(true));
    browser.click("#leave");
    browser.until("document.getElementById('token') !== null");
    assert_eq!(browser.eval("sessionStorage.length"), json!(0));
    assert!(!browser.requests().iter().any(|url| url.contains("-token")), "{:?}", browser.requests());
    browser.is_sound(&origin);
}
