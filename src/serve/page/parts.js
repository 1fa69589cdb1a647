// Small pieces that several views show.

import { announce, h, setAttribute, setText, svg } from "./dom.js";
import { age, image, moment } from "./format.js";
import { now } from "./status.js";
import { visible } from "./text.js";

const WORDS = {
  queued: "Queued", running: "Running", succeeded: "Succeeded", failed: "Failed", cancelled: "Cancelled",
  cancelling: "Cancelling", cached: "Cached", done: "Done", stopped: "Stopped",
};

const RING = "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5z";

const DRAWINGS = {
  queued: [RING, "M8 4.5V8l2.25 1.5"],
  running: ["M8 1.75A6.25 6.25 0 1 1 1.75 8"],
  cancelling: ["M8 1.75A6.25 6.25 0 1 1 1.75 8", "M6 6l4 4M10 6l-4 4"],
  succeeded: [RING, "M5 8.25l2.1 2.1L11 6.2"],
  done: ["M3.5 8.5l3 3 6-7"],
  cached: ["M9 1.75L3.75 9H8l-1 5.25L12.25 7H8z"],
  failed: [RING, "M5.75 5.75l4.5 4.5M10.25 5.75l-4.5 4.5"],
  cancelled: [RING, "M4 4l8 8"],
  colours: [RING, "M8 1.75v12.5M8 4.75l4-.75M8 8l6-1M8 11l5-1"],
  stopped: [RING, "M4.75 8h6.5"],
};

export function stateWord(state) {
  return WORDS[state] ?? visible(state);
}

/** Where the service is, as `cooper remote` wants it. */
export function address() {
  return `${location.origin}${location.pathname}`.replace(/\/$/, "");
}

/** What a record's state is shown as. */
export function stateOf(build) {
  return build.is_cancelling && build.state === "running" ? "cancelling" : build.state;
}

export function icon(state) {
  return svg(`icon icon-${state in DRAWINGS ? state : "queued"}`, ...(DRAWINGS[state] ?? DRAWINGS.queued));
}

/** Symbol and word of a state, which changes in place. */
export function badge() {
  const element = h("span", { class: "badge" });
  let shown = null;
  return {
    element,
    show(state) {
      if (state === shown) return;
      shown = state;
      element.dataset.state = state;
      element.replaceChildren(icon(state), h("span", {}, stateWord(state)));
    },
  };
}

/** A time, as how long ago it is; kept right by `tick`. */
export function timeAgo() {
  const element = h("time", { class: "number" });
  let at = null;
  const tick = () => {
    if (at !== null) setText(element, age(now() - at));
  };
  return {
    element,
    tick,
    show(text) {
      at = Date.parse(text);
      setAttribute(element, "datetime", text);
      setAttribute(element, "title", moment(text));
      tick();
    },
  };
}

/** An image's name, the last part of which counts most. */
export function imageName(name) {
  const parts = image(visible(name));
  return [h("span", { class: "place" }, parts.place), h("bdi", { class: "name" }, parts.name)];
}

/** How much of something: a bar beside its text, which says the same. */
export function share(part, whole, className = "") {
  const fill = h("span", { class: `fill ${className}` });
  fill.style.width = `${whole > 0 ? Math.min(100, (part / whole) * 100) : 0}%`;
  return h("span", { class: "share", "aria-hidden": "true" }, fill);
}

/** Copies a text, also where the page came without TLS and the clipboard is closed to it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "unseen", readonly: true, "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    const focused = document.activeElement;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

export function copyButton(what, text, label = "Copy") {
  const button = h("button", { type: "button", class: "small", "aria-label": label === "Copy" ? `Copy ${what}` : null }, label);
  button.addEventListener("click", async () => {
    const copied = await copy(text);
    setText(button, copied ? "Copied" : "Copy it yourself");
    announce(copied ? `Copied ${what}` : "It cannot be copied from here");
    setTimeout(() => setText(button, label), 1500);
  });
  return button;
}
