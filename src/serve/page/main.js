// What is shown where, and what belongs to every view: the token, the connection, the keys, the colours.

import { forgetToken, hasToken, news } from "./api.js";
import { BuildView } from "./build.js";
import { BuildsView } from "./builds.js";
import { CreateView } from "./create.js";
import { areKeysOn, isDialogOpen, showKeys } from "./dialogs.js";
import { announce, h, setAttribute, setText } from "./dom.js";
import { icon } from "./parts.js";
import { onStatus, unwatch, watch } from "./status.js";
import { visible } from "./text.js";
import { tokenForm } from "./token.js";

const main = document.getElementById("main");
const themeButton = document.getElementById("theme");
let view = null;
let leaving = null;
let isFirst = true;

/** The view that the address names. */
function viewAt(hash, signal) {
  const [path, query] = hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.length === 0) return new BuildsView(new URLSearchParams(query ?? ""), signal);
  if (parts[0] === "new" && parts.length === 1) return new CreateView(signal);
  if (parts[0] === "builds" && /^[0-9a-f]{24}$/.test(parts[1] ?? "")) return new BuildView(parts[1], parts[2], signal);
  return {
    title: "Nothing here", keys: {},
    element: h("div", { class: "notice" }, h("h1", {}, "There is nothing here"), h("p", {}, h("a", { href: "#/" }, "Show all builds"))),
  };
}

function leave() {
  leaving?.abort();
  leaving = new AbortController();
}

function show() {
  leave();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  view = viewAt(location.hash, leaving.signal);
  document.title = `${view.title} – Cooper`;
  main.replaceChildren(view.element);
  const page = location.hash.startsWith("#/new") ? "new" : "builds";
  for (const link of document.querySelectorAll("[data-page]")) {
    setAttribute(link, "aria-current", link.dataset.page === page ? "page" : null);
  }
  // Who goes on by the keyboard goes on from what is new; at first the browser's own place is right.
  if (!isFirst) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  isFirst = false;
}

function askForToken() {
  if (main.querySelector("form.token")) return;
  leave();
  unwatch();
  view = { title: "Token", keys: {} };
  document.title = "Token – Cooper";
  main.replaceChildren(tokenForm(begin));
  main.querySelector("#token").focus();
  document.getElementById("leave").hidden = true;
  document.getElementById("nav-new").hidden = true;
  setText(document.getElementById("who"), "");
}

function begin() {
  watch();
  show();
}

onStatus((found) => {
  setText(document.getElementById("who"), found.caller.is_anonymous ? "" : `${visible(found.caller.name)}${found.caller.read_only ? " (read only)" : ""}`);
  setText(document.getElementById("version"), `Cooper ${visible(found.version)}`);
  document.getElementById("leave").hidden = !hasToken();
  document.getElementById("nav-new").hidden = found.caller.read_only;
  const banner = document.getElementById("banner");
  if (found.is_stopping) {
    banner.hidden = false;
    setText(banner, "The service is about to end. What runs goes on here when it has started again.");
  } else banner.hidden = true;
});

news.addEventListener("token-wanted", askForToken);
news.addEventListener("lost", () => {
  const banner = document.getElementById("banner");
  banner.hidden = false;
  setText(banner, "The service does not answer. Trying again; what is shown may be old.");
});
news.addEventListener("found", () => {
  document.getElementById("banner").hidden = true;
  announce("The service answers again");
});

const THEMES = ["system", "light", "dark"];

function theme() {
  return document.documentElement.dataset.theme ?? "system";
}

const themeText = h("span", {});
themeButton.append(icon("colours"), themeText);

function showTheme() {
  setText(themeText, `Colours: ${theme()}`);
  setAttribute(themeButton, "title", themeText.textContent);
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("cooper-theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("cooper-theme", next);
  }
  showTheme();
  announce(`Colours: ${next}`);
}

const keys = {
  "?": showKeys,
  b: () => { location.hash = "#/"; },
  a: () => {
    if (!document.getElementById("nav-new").hidden) location.hash = "#/new";
  },
  t: nextTheme,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isDialogOpen() || !areKeysOn()) return;
  const isTyping = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
  if (isTyping) return;
  const action = view?.keys[event.key] ?? keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
themeButton.addEventListener("click", nextTheme);
document.getElementById("help").addEventListener("click", showKeys);
document.getElementById("leave").addEventListener("click", () => {
  forgetToken();
  askForToken();
});
window.addEventListener("hashchange", () => {
  if (!main.querySelector("form.token")) show();
});
setInterval(() => view?.tick?.(), 1000);

showTheme();
begin();
