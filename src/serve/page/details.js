// What was asked for, by whom, and the command lines that do the same.

import { localCommand, remoteCommand } from "./command.js";
import { h } from "./dom.js";
import { bytes, cpus, duration, moment } from "./format.js";
import { address, copyButton } from "./parts.js";
import { visible } from "./text.js";

/** An address that others have written is a link only if it leads to a web server. */
function linked(text) {
  let url = null;
  try {
    url = new URL(text);
  } catch {
    // It is shown as text.
  }
  if (url?.protocol !== "https:" && url?.protocol !== "http:") return visible(text);
  return h("a", { href: url.href, rel: "noopener noreferrer", target: "_blank" }, visible(text));
}

/** Any value as something to look at. */
function shown(value) {
  if (value === null || value === undefined || value === "") return null;
  if (Array.isArray(value)) {
    if (value.length === 0) return null;
    return h("ul", {}, value.map((one) => h("li", {}, shown(one))));
  }
  if (typeof value === "object") {
    const entries = Object.entries(value).filter(([, one]) => one !== null && one !== undefined && one !== "");
    return entries.length === 0 ? null : h("dl", { class: "inner" }, facts(entries.map(([name, one]) => [visible(name), shown(one)])));
  }
  return typeof value === "string" && /^https?:/.test(value) ? linked(value) : visible(value);
}

function facts(entries) {
  return entries.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) =>
    [h("dt", {}, name), h("dd", {}, value)]);
}

function section(title, entries) {
  const found = facts(entries);
  return found.length === 0 ? null : h("section", {}, h("h2", {}, title), h("dl", { class: "facts" }, found));
}

function code(title, text, note) {
  return h("div", { class: "command" },
    h("div", { class: "bar" }, h("h3", {}, title), copyButton(title.toLowerCase(), text)),
    h("pre", { tabindex: "0" }, visible(text)),
    note ? h("p", { class: "muted" }, note) : null);
}

function time(text) {
  return text ? h("time", { datetime: text }, moment(text)) : null;
}

/** What the record has that this page does not know yet. */
const KNOWN = new Set(["id", "project", "state", "by", "priority", "timeout_seconds", "need", "request", "upload", "created_at",
  "started_at", "ended_at", "attempts", "requests", "rebuild_of", "superseded_by", "is_cancelling", "result", "error",
  "exit_code", "cache", "cluster", "queue", "links", "origin", "deployments", "notify", "deliveries"]);

export class DetailsView {
  #shown = null;

  constructor() {
    this.element = h("div", { class: "panel details" });
  }

  show(build) {
    const key = JSON.stringify({ ...build, queue: null });
    if (key === this.#shown) return;
    this.#shown = key;
    const { request } = build;
    const upload = build.upload ? [h("span", {}, `an archive of ${bytes(build.upload.size)}, `),
      h("code", {}, visible(build.upload.digest))] : null;
    const dockerfile = request.dockerfile_text ?? null;
    const local = request.context ? null : "In the directory with the files that were sent.";
    const others = Object.entries(build).filter(([name]) => !KNOWN.has(name)).map(([name, value]) => [visible(name), shown(value)]);
    this.element.replaceChildren(...[
      h("section", {}, h("h2", {}, "The same from a command line"),
        code("On your machine", localCommand(request), local),
        code("Through this service", remoteCommand(request, address()), "With its token in COOPER_TOKEN.")),
      section("Request", [
        ["Names", shown(request.tags)], ["Context", upload ?? shown(request.context)],
        ["Dockerfile", dockerfile === null ? shown(request.dockerfile ?? "Dockerfile") : "with the request, see below"],
        ["Target", shown(request.target)], ["Platforms", shown(request.platforms)], ["Build arguments", shown(request.build_args)],
        ["Labels", shown(request.labels)], ["Cache from", shown(request.cache_from)], ["Cache to", shown(request.cache_to)],
        ["Without cache", request.no_cache ? "yes" : null], ["Deploys to", shown(request.set_image)],
        ["Supersedes", shown(request.supersede)], ["Reason", shown(request.reason)],
      ]),
      section("Asked for", [
        ["By", visible(build.by)], ["Project", visible(build.project)], ["Asked", time(build.created_at)],
        ["Begun", time(build.started_at)], ["Ended", time(build.ended_at)], ["Attempts", shown(build.attempts)],
        ["Requests", build.requests > 1 ? `${build.requests}, which are the same` : null], ["Priority", shown(build.priority || null)],
        ["Counted with", `${cpus(build.need.millicpus)} CPU, ${bytes(build.need.memory)} of memory`],
        ["Time limit", duration(build.timeout_seconds * 1000)], ["Exit code", shown(build.exit_code)], ["Build", h("code", {}, build.id)],
      ]),
      section("Origin", Object.entries(build.origin ?? {}).map(([name, value]) => [visible(name), shown(value)])),
      section("Deployments", (build.deployments ?? []).map((one) => [visible(one.target), shown([one.state, one.message].filter((text) => text).join(": "))])),
      section("Told", [["Addresses", shown(build.notify)], ["Deliveries", shown(build.deliveries)]]),
      section("More", others),
      dockerfile === null ? null : h("section", {}, h("h2", {}, "Dockerfile"), code("As it came with the request", dockerfile)),
    ].filter((part) => part));
  }
}
