//! The log: long ones, colours, searching, following.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Stage;

/// So many lines that a document with all of them would be slow.
const LINES: usize = 100_000;

#[test]
fn a_hundred_thousand_lines_stay_quick() {
    let mut stage = Stage::new();
    let step = format!(
        "RUN i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"line $i of a long log\"; done\nRUN echo last\n"
    );
    let build = stage.built(&stage.request("long:1", &step));
    let began = Instant::now();
    stage.go(&format!("#/builds/{build}"));
    stage
        .browser
        .until(&format!("document.querySelector('.log-count').textContent === '{} lines'", "100,002"));
    stage.browser.until("document.querySelector('.badge')?.textContent === 'Succeeded'");
    let loaded = began.elapsed();
    let rows = stage.browser.eval("document.querySelectorAll('.log-rows > *').length");
    assert!(rows.as_u64().unwrap() < 300, "{rows} rows are in the document");
    // The time that drawing takes after a jump, in the page's own clock.
    let drawn = stage.browser.eval(
        "(async () => { const scroll = document.querySelector('.log-scroll'); const times = [];
           for (let part = 1; part < 20; part += 1) {
               const began = performance.now();
               scroll.scrollTop = (scroll.scrollHeight * part) / 20;
               await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
               times.push(performance.now() - began);
           }
           return times.sort((one, other) => one - other)[9]; })()",
    );
    stage.browser.eval("document.querySelector('.log-scroll').scrollTop = 1_000_000");
    stage.browser.until(
        "[...document.querySelectorAll('.log-text')].some((one) => /^line 5\\d{4} of/.test(one.textContent))",
    );
    stage.browser.until("!document.querySelector('.log-pinned').hidden");
    stage.browser.screenshot("log-long");
    stage.browser.press("/");
    let began = Instant::now();
    stage.browser.write("line 77");
    stage.browser.until("document.querySelector('.hits').textContent === '1 of 1,111'");
    let searched = began.elapsed();
    stage.browser.press("Enter");
    stage.browser.until("document.querySelector('.hits').textContent === '2 of 1,111'");
    stage.browser.until(
        "document.querySelector('mark.current')?.closest('.log-text').textContent.startsWith('line 770 ')",
    );
    stage.browser.press("Shift+Enter");
    stage.browser.press("Shift+Enter");
    stage.browser.until("document.querySelector('.hits').textContent === '1,111 of 1,111'");
    stage.browser.screenshot("log-search");
    println!("{LINES} lines: shown after {loaded:?}, drawn in {drawn} ms (median), searched in {searched:?}");
    assert!(drawn.as_f64().unwrap() < 250.0, "{drawn} ms");
    assert!(
        loaded < Duration::from_secs(30) && searched < Duration::from_secs(10),
        "{loaded:?} {searched:?}"
    );
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn colours_are_shown_and_nothing_else_is_obeyed() {
    let mut stage = Stage::new();
    let step = r"RUN printf '\033[1;31mred\033[0m plain \033[38;5;208morange\033[38;2;1;2;3mtrue\n'; printf 'still\033[0m\n'; printf '\033]0;title\007\033[2Jcleared\033[1A\n'; printf '10%%\r50%%\r100%%\n'
";
    let build = stage.built(&stage.request("colours:1", step));
    stage.go(&format!("#/builds/{build}"));
    stage.browser.see("100%");
    let texts = stage
        .browser
        .eval("[...document.querySelectorAll('.log-number + .log-text')].map((one) => one.textContent)");
    assert_eq!(texts, json!(["red plain orangetrue", "still", "cleared", "100%"]));
    let looks = stage.browser.eval(
        "[...document.querySelectorAll('.log-number + .log-text > *')].map((one) =>
            `${one.textContent} ${one.className} ${one.style.color}`.trim().replace(/\\s+/g, ' '))",
    );
    assert_eq!(
        looks,
        json!(["red pen-bold front-1", "orange rgb(255, 135, 0)", "true rgb(1, 2, 3)", "still rgb(1, 2, 3)"])
    );
    stage.browser.screenshot("log-colours");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}

#[test]
fn following_stops_when_somebody_looks_at_what_was() {
    let mut stage = Stage::new();
    let quick = "RUN i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo early $i; done; echo begun; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done\n";
    let build = stage.begun(&stage.request("follow:1", quick));
    stage.go(&format!("#/builds/{build}"));
    let follow = "document.querySelector('button[aria-keyshortcuts=f]').getAttribute('aria-pressed')";
    stage
        .browser
        .until("[...document.querySelectorAll('.log-text')].some((one) => one.textContent === 'line 5')");
    let is_at_end = "(() => { const one = document.querySelector('.log-scroll');
        return one.scrollHeight - one.scrollTop - one.clientHeight < 30; })()";
    stage.browser.until(is_at_end);
    assert_eq!(stage.browser.eval(follow), "true");
    stage.browser.wheel(".log-scroll", -600);
    stage.browser.until(&format!("{follow} === 'false'"));
    let before = stage.browser.eval("document.querySelector('.log-scroll').scrollTop");
    let count = stage.browser.eval("document.querySelector('.log-count').textContent");
    stage.browser.until(&format!("document.querySelector('.log-count').textContent !== {count}"));
    std::thread::sleep(Duration::from_millis(500));
    let after = stage.browser.eval("document.querySelector('.log-scroll').scrollTop");
    assert_eq!(before, after, "what is looked at does not move");
    stage.browser.press("f");
    stage.browser.until(is_at_end);
    // Folded away, and found all the same.
    stage.browser.press("e");
    stage.browser.until("document.querySelectorAll('.log-number').length === 0");
    stage.browser.press("/");
    stage.browser.write("early 150");
    stage.browser.until("document.querySelector('mark.current')?.textContent === 'early 150'");
    stage.service.ask("DELETE", &format!("/v1/builds/{build}"), &[], b"");
    stage.browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    stage.browser.until("document.querySelector('button[aria-keyshortcuts=f]').hidden");
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}
