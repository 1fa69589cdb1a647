//! Without a mouse.

use serde_json::json;

use super::{SLOW, Stage};

/// Presses a key until the focus is on what the selector names.
#[track_caller]
fn reach(stage: &mut Stage, key: &str, selector: &str) {
    for _ in 0..60 {
        if stage.browser.eval(&format!("document.activeElement.matches({})", json!(selector))) == json!(true)
        {
            let outline = stage.browser.eval(
                "(() => { const one = document.activeElement;
                   return [one, ...['::before', '::after']].some((of) => {
                       const style = typeof of === 'string' ? getComputedStyle(one, of) : getComputedStyle(one);
                       return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; }); })()",
            );
            assert_eq!(outline, json!(true), "the focus on {selector} is not seen");
            return;
        }
        stage.browser.press(key);
    }
    panic!("{key} does not lead to {selector}");
}

#[test]
fn everything_can_be_done_by_keys() {
    let mut stage = Stage::new();
    stage.go("#/");
    stage.browser.see("There are no builds yet");
    // Over what is the same on every page.
    reach(&mut stage, "Tab", ".skip");
    stage.browser.press("Enter");
    stage.browser.until("document.activeElement.id === 'main'");
    stage.browser.press("?");
    stage.browser.see("next, previous build");
    stage.browser.press("Escape");
    stage.browser.until("document.querySelector('dialog') === null");

    stage.browser.press("a");
    stage.browser.until("document.querySelector('form.create') !== null");
    reach(&mut stage, "Tab", "input[name=kind]");
    stage.browser.press("ArrowDown");
    stage.browser.press("ArrowDown");
    stage.browser.until("document.querySelector('input[value=text]').checked");
    reach(&mut stage, "Tab", "#text");
    stage.browser.eval("document.getElementById('text').select()");
    stage.browser.write(&format!("FROM {}\n{SLOW}", stage.base));
    reach(&mut stage, "Tab", "#tags");
    stage.browser.write(&format!("{}/keys:1", stage.service.registry.host()));
    reach(&mut stage, "Tab", "button[type=submit]");
    stage.browser.press("Enter");
    stage.browser.see("line 2");

    // Search, hits, folding, the parts of a build.
    stage.browser.press("/");
    stage.browser.write("begun");
    stage.browser.until("document.querySelector('.hits').textContent.includes('of')");
    stage.browser.press("Escape");
    reach(&mut stage, "Tab", ".log-head button[aria-expanded=true]");
    stage.browser.press("Enter");
    stage.browser.until("document.querySelector('.log-head button[aria-expanded=false]') !== null");
    stage.browser.press("Enter");
    stage.browser.until("document.activeElement.matches('.log-head button[aria-expanded=true]')");
    reach(&mut stage, "Shift+Tab", "[role=tab][aria-selected=true]");
    stage.browser.press("ArrowRight");
    stage.browser.until(
        "document.activeElement.id === 'tab-timeline' && !document.getElementById('panel-timeline').hidden",
    );

    stage.browser.press("c");
    stage.browser.see("will not be pushed");
    reach(&mut stage, "Tab", "#confirm");
    stage.browser.press("Enter");
    stage.browser.until("document.querySelector('.badge').textContent === 'Cancelled'");
    // Who cannot see it is told.
    stage.browser.until("document.getElementById('live').textContent.includes('cancelled')");
    stage.browser.press("r");
    reach(&mut stage, "Tab", "#confirm");
    stage.browser.press("Enter");
    stage.browser.see("Rebuild of");
    let again = stage.browser.eval("location.hash.slice(9, 33)").as_str().unwrap().to_owned();
    stage.service.wait_for(&again, &["running"]);
    stage.service.ask("DELETE", &format!("/v1/builds/{again}"), &[], b"");
    stage.service.wait_for(&again, &["cancelled"]);

    stage.browser.press("b");
    stage.browser.until("document.querySelectorAll('.row-link').length === 2");
    stage.browser.press("j");
    stage.browser.press("j");
    reach(&mut stage, "j", "tr:last-child .row-link");
    stage.browser.screenshot("keyboard-focus");
    stage.browser.press("Enter");
    stage.browser.until("document.querySelector('.build-name') !== null");
    // Keys can be switched off, for those whose voice types them.
    stage.browser.press("?");
    stage.browser.until("document.activeElement.closest('dialog') !== null");
    reach(&mut stage, "Tab", "dialog input[type=checkbox]");
    stage.browser.press(" ");
    stage.browser.press("Escape");
    stage.browser.press("b");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(stage.browser.eval("location.hash").as_str().unwrap().starts_with("#/builds/"));
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}
