//! Starting, watching, cancelling and rebuilding.

use rustix::process::Signal;

use super::{SLOW, Stage, id};

/// The build that the page shows.
fn shown(stage: &mut Stage) -> String {
    let hash = stage.browser.until("location.hash.startsWith('#/builds/') && location.hash");
    hash.as_str().unwrap()["#/builds/".len()..][..24].to_owned()
}

#[test]
fn a_build_is_started_watched_cancelled_and_rebuilt() {
    let mut stage = Stage::new();
    stage.go("#/new");
    stage.browser.click("input[value=text]");
    stage.browser.eval("document.getElementById('text').value = ''");
    stage.browser.click("#text");
    stage.browser.write(&format!("FROM {}\n{SLOW}", stage.base));
    stage.browser.click("#tags");
    stage.browser.write(&format!("{}/page:1", stage.service.registry.host()));
    stage.browser.click("summary");
    stage.browser.click("#reason");
    stage.browser.write("tried – from the page");
    stage.browser.click("button[type=submit]");
    let build = shown(&mut stage);
    let record = stage.service.show(&build);
    assert_eq!(record["request"]["reason"], "tried – from the page");

    // The log grows while it is looked at, and is followed.
    stage.browser.see("line 3");
    stage.browser.until("document.querySelector('.badge').textContent === 'Running'");
    stage
        .browser
        .until("[...document.querySelectorAll('.log-text')].some((one) => one.textContent === 'line 9')");
    stage.browser.screenshot("build-running");

    // The list shows it as well, and the queue what it takes.
    let waiting = id(&stage.service.build(&stage.request("waits:1", "RUN true\n"), "").ok());
    stage.browser.press("b");
    stage.browser.see("1 of 1");
    stage.browser.until("document.querySelectorAll('.turns tbody tr').length === 2");
    stage.browser.until("document.querySelector('.turns tbody tr:last-child .turn').textContent === '1'");
    stage.browser.screenshot("list-queue");

    stage.browser.click(&format!("a.row-link[href='#/builds/{build}']"));
    stage.browser.click("button.danger");
    stage.browser.see("will not be pushed");
    stage.browser.screenshot("build-cancel");
    stage.browser.click("#confirm");
    stage.browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    stage.browser.see("cancelled while it was running");
    assert_eq!(stage.service.wait_for(&build, &["cancelled"])["state"], "cancelled");
    stage.service.wait_for(&waiting, &["succeeded"]);

    stage.browser.click("button[aria-keyshortcuts=r]");
    stage.browser.click("#confirm");
    stage.browser.until(&format!("!location.hash.includes('{build}')"));
    let again = shown(&mut stage);
    stage.browser.see(&format!("Rebuild of {build}"));
    stage.browser.see("line 2");
    assert_eq!(stage.service.show(&again)["rebuild_of"], build.as_str());
    stage.service.ask("DELETE", &format!("/v1/builds/{again}"), &[], b"");
    stage.browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn what_was_built_is_shown_with_its_steps_and_layers() {
    let mut stage = Stage::new();
    let steps = "RUN echo one > /one; echo said\nRUN head -c 300000 /dev/urandom > /two\n";
    let mut request = stage.request("shown:1", steps);
    stage.built(&request);
    request["dockerfile_text"] =
        format!("{}RUN echo three\n", request["dockerfile_text"].as_str().unwrap()).into();
    request["labels"] = serde_json::json!({"title": "it's"});
    let build = stage.built(&request);
    let record = stage.service.show(&build);
    assert_eq!(record["cache"], serde_json::json!({"hits": 2, "steps": 3}), "{record:#}");
    stage.go("#/");
    stage.browser.until("document.querySelector('.builds td.cache')?.textContent === '2/3'");
    stage.go(&format!("#/builds/{build}"));
    let digest = record["result"]["digest"].as_str().unwrap();
    stage.browser.until(&format!("document.getElementById('digest')?.textContent === '{digest}'"));
    stage.browser.see("cache 2 of 3 steps");
    stage.browser.see("three");
    stage.browser.press("2");
    stage.browser.see("3 steps, 2 from the cache");
    stage.browser.until("document.querySelectorAll('.bar[data-state=cached]').length >= 2");
    stage.browser.screenshot("timeline");
    // A step of the timeline leads to its place in the log.
    stage.browser.eval("[...document.querySelectorAll('.timeline .link')].find((one) => one.textContent.includes('three')).click()");
    stage
        .browser
        .until("document.activeElement.closest('.log-head')?.textContent.includes('RUN echo three')");
    stage.browser.press("3");
    stage.browser.see("linux/");
    let first = stage.browser.eval("document.querySelector('.layers tbody tr').textContent");
    assert!(first.as_str().unwrap().contains("MiB") || first.as_str().unwrap().contains("KiB"), "{first}");
    let rows = stage.browser.eval("document.querySelectorAll('.layers tbody tr').length");
    let layers = record["result"]["images"][0].as_str().map(|_| {
        let manifest = stage.service.registry.manifest("shown", "1").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["layers"].as_array().unwrap().len()
    });
    assert_eq!(rows.as_u64(), layers.map(|count| count as u64));
    stage.browser.screenshot("layers");
    stage.browser.press("4");
    stage.browser.see("cooper build --push");
    let command = stage.browser.eval("document.querySelector('.command pre').textContent");
    assert!(command.as_str().unwrap().contains("--label 'title=it'\\''s'"), "{command}");
    stage.browser.screenshot("details");
    // The log can be kept.
    let directory = tempfile::tempdir().unwrap();
    stage.browser.download_to(directory.path());
    stage.browser.eval(
        "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Save log').click()",
    );
    let saved = directory.path().join(format!("{build}.log"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !std::fs::read_to_string(&saved).unwrap_or_default().contains("| three") {
        assert!(std::time::Instant::now() < deadline, "{saved:?} is not saved");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // A failed one shows its error as the build has printed it.
    let failed = stage.built(&stage.request("failed:1", "RUN echo so; exit 7\n"));
    stage.go(&format!("#/builds/{failed}"));
    stage.browser.until("document.querySelector('.badge').textContent === 'Failed'");
    let error = stage.service.show(&failed)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("exit 7") && error.contains("^^^"), "{error}");
    stage.browser.until(&format!(
        "document.querySelector('.error-box pre')?.textContent === {}",
        serde_json::json!(error)
    ));
    stage.browser.screenshot("build-failed");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn the_page_outlives_the_service() {
    let mut stage = Stage::new();
    // The next service must be where this one was.
    let address = stage.service.address.clone();
    let build = stage.begun(&stage.request("outlives:1", SLOW));
    stage.go(&format!("#/builds/{build}"));
    stage.browser.see("line 2");
    stage.service.signal(Signal::KILL);
    stage.browser.see("The service does not answer");
    stage.browser.screenshot("service-away");
    stage.service.arguments.extend(["--listen".to_owned(), address]);
    let Stage { service, mut browser, base } = stage;
    let service = service.again();
    browser.until("document.getElementById('banner').hidden");
    // The second attempt goes on in the same log.
    browser.see("Attempt 2");
    browser.until("[...document.querySelectorAll('.log-text')].some((one) => one.textContent === 'line 3')");
    service.ask("DELETE", &format!("/v1/builds/{build}"), &[], b"");
    browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    let mut stage = Stage { service, browser, base };
    stage.browser.press("b");
    stage.browser.until("document.querySelectorAll('.builds tbody tr').length === 1");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn builds_are_filtered_and_paged() {
    let mut stage = Stage::new();
    for number in 0..53 {
        let mut request = stage.service.request(&format!("many:{number}"), "FROM scratch\nCOPY . /\n");
        request["project"] = (if number == 0 { "first" } else { "rest" }).into();
        stage.service.build(&request, "").ok();
    }
    stage.service.wait_for(&id(&stage.service.get("/v1/builds?limit=1").ok()["builds"][0]), &["succeeded"]);
    stage.go("#/");
    stage.browser.until("document.querySelectorAll('.builds tbody tr').length === 50");
    stage.browser.click("#older");
    stage.browser.until("document.querySelectorAll('.builds tbody tr').length === 3");
    stage
        .browser
        .until("document.querySelector('.builds tbody tr:last-child').textContent.includes('many:0')");
    stage.browser.eval(
        "(() => { const one = document.getElementById('filter-project'); one.value = 'first';
        one.dispatchEvent(new Event('change')); })()",
    );
    stage.browser.until("document.querySelectorAll('.builds tbody tr').length === 1");
    stage.browser.eval(
        "(() => { const one = document.getElementById('filter-state'); one.value = 'failed';
        one.dispatchEvent(new Event('change')); })()",
    );
    stage.browser.see("No builds are like that");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

/// Browsers have six connections for a service without TLS.
#[test]
fn a_tab_that_is_not_seen_needs_no_connection() {
    let mut stage = Stage::new();
    let build = stage.begun(&stage.request("hidden:1", SLOW));
    stage.go(&format!("#/builds/{build}"));
    stage.browser.see("line 2");
    let streams = |stage: &Stage, count: usize| {
        let line = format!("cooper_event_streams {count}\n");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !stage.service.get("/metrics").text().contains(&line) {
            assert!(std::time::Instant::now() < deadline, "not {line}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    streams(&stage, 1);
    let turn = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }});
             document.dispatchEvent(new Event('visibilitychange'));"
        )
    };
    stage.browser.eval(&turn(true));
    streams(&stage, 0);
    stage.service.ask("DELETE", &format!("/v1/builds/{build}"), &[], b"");
    stage.service.wait_for(&build, &["cancelled"]);
    stage.browser.eval(&turn(false));
    stage.browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    assert_eq!(stage.browser.eval("document.getElementById('banner').hidden"), serde_json::json!(true));
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}
