// What asks before something is done, and the list of keys.

import { h } from "./dom.js";

function dialog(title, ...children) {
  const element = h("dialog", { "aria-labelledby": "dialog-title" }, h("h2", { id: "dialog-title" }, title), ...children);
  const before = document.activeElement;
  element.addEventListener("close", () => {
    element.remove();
    if (before?.isConnected) before.focus();
  });
  document.body.append(element);
  element.showModal();
  return element;
}

export function isDialogOpen() {
  return document.querySelector("dialog[open]") !== null;
}

/** Whether somebody means it. */
export function confirmed(title, text, yes, no) {
  if (isDialogOpen()) return Promise.resolve(false);
  return new Promise((resolve) => {
    let answer = false;
    const close = (value) => () => {
      answer = value;
      element.close();
    };
    const element = dialog(title, h("p", {}, text), h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", id: "confirm", onclick: close(true) }, yes),
      h("button", { type: "button", onclick: close(false) }, no)));
    element.addEventListener("close", () => resolve(answer));
  });
}

const KEYS = [
  ["Everywhere", [["?", "this list"], ["b", "builds"], ["a", "a new build"], ["t", "colours: system, light, dark"]]],
  ["Builds", [["j / k", "next, previous build"], ["Enter", "open it"], ["s", "filter by state"], ["o", "older builds"]]],
  ["One build", [["1 – 4", "log, timeline, layers, details"], ["c", "cancel"], ["r", "rebuild"], ["y", "copy the digest"]]],
  ["Log", [["/", "search"], ["n / N", "next, previous hit"], ["] / [", "next, previous step"], ["Enter", "fold or unfold a step"],
    ["e", "fold or unfold all"], ["f", "follow or not"]]],
];

const OFF = "cooper-keys-off";

export function areKeysOn() {
  return localStorage.getItem(OFF) === null;
}

export function showKeys() {
  if (isDialogOpen()) return;
  const element = dialog("Keys",
    h("div", { class: "keys" }, KEYS.map(([title, keys]) => h("section", {}, h("h3", {}, title),
      h("dl", {}, keys.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]))))),
    h("label", { class: "choice" }, h("input", {
      type: "checkbox", checked: areKeysOn(), onchange: (event) => {
        if (event.target.checked) localStorage.removeItem(OFF);
        else localStorage.setItem(OFF, "1");
      },
    }), "Single keys do these things"),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => element.close() }, "Close")));
}
