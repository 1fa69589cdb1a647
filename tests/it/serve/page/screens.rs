//! Every screen, light and dark, wide and narrow. They are kept in `target/screenshots`, to be looked at.

use serde_json::json;

use super::{SLOW, Stage, id};

/// Width and height of a small phone's window.
const PHONE: (u32, u32) = (360, 740);
const DESK: (u32, u32) = (1280, 860);

/// What is to be looked at: its name and its place.
fn screens(stage: &mut Stage) -> Vec<(&'static str, String)> {
    let long = "a-name-that-is-as-long-as-anybody-would-ever-want-one-to-be/and-then-some/more";
    let mut fine = stage.request(
        &format!("{long}:and-a-tag-that-goes-on-for-quite-a-while"),
        "RUN echo fine; echo more\nRUN head -c 900000 /dev/urandom > /big\n",
    );
    fine["reason"] =
        json!("because of a reason that does not fit into one line of a phone's window, or of two");
    fine["project"] = json!("a-project-with-a-long-name/of-two-parts");
    fine["build_args"]["LONG"] = json!("x".repeat(200));
    let fine = stage.built(&fine);
    let wide = format!("RUN echo {}; exit 3\n", "w".repeat(500));
    let failed = stage.built(&stage.request("failed:1", &wide));
    let running = stage.begun(&stage.request("running:1", SLOW));
    let queued = id(&stage.service.build(&stage.request("queued:1", "RUN true\n"), "").ok());
    let part = |build: &str, part: &str| format!("#/builds/{build}{part}");
    vec![
        ("list", "#/".to_owned()),
        ("none", "#/?state=cancelled".to_owned()),
        ("new", "#/new".to_owned()),
        ("nothing", "#/nothing".to_owned()),
        ("unknown", part("000000000000000000000000", "")),
        ("fine", part(&fine, "")),
        ("fine-timeline", part(&fine, "/timeline")),
        ("fine-layers", part(&fine, "/layers")),
        ("fine-details", part(&fine, "/details")),
        ("failed", part(&failed, "")),
        ("failed-timeline", part(&failed, "/timeline")),
        ("failed-layers", part(&failed, "/layers")),
        ("running", part(&running, "")),
        ("running-timeline", part(&running, "/timeline")),
        ("queued", part(&queued, "")),
    ]
}

/// The least contrast of what is written, WCAG 2: colours as they are computed, over the nearest background that is one.
const CONTRAST: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([red, green, blue]) => { const [r, g, b] = [red, green, blue].map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const poor = [];
    for (const one of document.body.querySelectorAll('*')) {
        if (one.closest('.unseen, .skip, svg, option, [hidden], :disabled') || !one.checkVisibility()) continue;
        if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '')) continue;
        let behind = one; let back = [0, 0, 0, 0];
        while (behind && back[3] < 255) { back = rgba(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
        const [front, ground] = [rgba(getComputedStyle(one).color), back].map(light);
        const ratio = (Math.max(front, ground) + 0.05) / (Math.min(front, ground) + 0.05);
        if (ratio < 4.5) poor.push(`${one.className || one.tagName} ${ratio.toFixed(2)} ${one.textContent.slice(0, 30)}`);
    }
    return poor; })()";

/// What those need who hear the page: names for what can be operated, headings in order, ids that are unique.
const SEMANTICS: &str = "(() => {
    const wrong = [];
    const named = (one) => one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length > 0
        || one.getAttribute('aria-labelledby') || one.title;
    for (const one of document.querySelectorAll('a, button, input, select, textarea, [role=tab], [role=tabpanel]')) {
        if (one.checkVisibility() && !named(one)) wrong.push(`no name: ${one.outerHTML.slice(0, 80)}`);
    }
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    for (const one of ids) if (ids.indexOf(one) !== ids.lastIndexOf(one)) wrong.push(`twice: ${one}`);
    for (const one of document.querySelectorAll('[aria-controls], [aria-labelledby], [aria-describedby], label[for]')) {
        for (const name of ['aria-controls', 'aria-labelledby', 'for']) {
            for (const id of (one.getAttribute(name) ?? '').split(' ').filter((part) => part)) {
                if (!document.getElementById(id)) wrong.push(`${name} of nothing: ${id}`);
            }
        }
    }
    if (document.querySelectorAll('main h1').length !== 1) wrong.push('not one h1');
    let level = 1;
    for (const one of document.querySelectorAll('main h1, main h2, main h3')) {
        if (!one.checkVisibility()) continue;
        const own = Number(one.tagName[1]);
        if (own > level + 1) wrong.push(`${one.tagName} behind H${level}`);
        level = own;
    }
    for (const one of document.querySelectorAll('button, select, input')) {
        // What is in a label is as large as that.
        const box = (one.closest('label') ?? one).getBoundingClientRect();
        const isSmall = box.height < 20 || box.width < 12;
        if (one.checkVisibility() && isSmall) wrong.push(`too small: ${one.outerHTML.slice(0, 80)}`);
    }
    return wrong; })()";

#[test]
fn every_screen_fits_and_can_be_read() {
    let mut stage = Stage::new();
    let screens = screens(&mut stage);
    let mut poor = Vec::new();
    for (name, place) in &screens {
        for is_dark in [false, true] {
            for ((width, height), window) in [(DESK, "desk"), (PHONE, "phone")] {
                stage.browser.size(width, height);
                stage.browser.dark(is_dark);
                stage.go(place);
                stage.browser.until(
                    "document.querySelector('.badge, .notice:not([hidden]), form.create') !== null
                     && document.querySelector('[aria-busy]') === null",
                );
                std::thread::sleep(std::time::Duration::from_millis(150));
                let shown = format!("{name}-{window}-{}", if is_dark { "dark" } else { "light" });
                stage.browser.screenshot(&shown);
                stage.browser.fits(&shown);
                for check in [CONTRAST, SEMANTICS] {
                    let found = stage.browser.eval(check);
                    poor.extend(found.as_array().unwrap().iter().map(|one| format!("{shown}: {one}")));
                }
            }
        }
    }
    assert_eq!(poor, Vec::<String>::new());
    // The switch is stronger than the system, and is kept.
    stage.browser.dark(false);
    stage.go("#/");
    let scheme = "getComputedStyle(document.documentElement).backgroundColor";
    let light = stage.browser.eval(scheme);
    stage.browser.click("#theme");
    stage.browser.click("#theme");
    stage.browser.until("document.documentElement.dataset.theme === 'dark'");
    let dark = stage.browser.eval(scheme);
    assert_ne!(light, dark);
    stage.go("#/");
    assert_eq!(stage.browser.eval(scheme), dark);
    let origin = stage.origin();
    stage.browser.is_sound(&origin);
}
