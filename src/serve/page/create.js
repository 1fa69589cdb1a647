// Asking for a build.

import { ask } from "./api.js";
import { announce, h, setText } from "./dom.js";
import { status } from "./status.js";
import { archiveOf } from "./tar.js";
import { visible } from "./text.js";

const SAMPLE = "FROM scratch\nCOPY Dockerfile /\n";

function field(label, input, note) {
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input,
    note ? h("p", { class: "muted", id: `${input.id}-note` }, note) : null);
}

function input(id, attributes) {
  return h("input", { id, name: id, autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-note`, ...attributes });
}

function area(id, rows, attributes) {
  return h("textarea", { id, name: id, rows, autocomplete: "off", spellcheck: "false", class: "code", "aria-describedby": `${id}-note`, ...attributes });
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line !== "");

/** `NAME=VALUE` lines as an object. */
function pairs(text) {
  const all = lines(text).map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`write NAME=VALUE, not \`${visible(line)}\``);
    return [line.slice(0, at), line.slice(at + 1)];
  });
  return Object.fromEntries(all);
}

/** JSON for a header: those take no other characters than ASCII's. */
function ascii(value) {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (character) =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export class CreateView {
  title = "New build";
  keys = {};
  #signal;

  constructor(signal) {
    this.#signal = signal;
    const caller = status()?.caller;
    const f = this.fields = {
      url: input("url", { type: "url", placeholder: "https://git.example.com/shop/app.git" }),
      ref: input("ref", { placeholder: "the default branch" }),
      directory: input("directory", { placeholder: "the whole repository" }),
      archive: input("archive", { type: "file", accept: ".tar,.tgz,.gz,.zst,.bz2,.xz,application/x-tar,application/gzip" }),
      dockerfile: input("dockerfile", { placeholder: "Dockerfile" }),
      text: area("text", 12),
      tags: area("tags", 2, { required: true, placeholder: "registry.example.com/shop/app:1" }),
      project: input("project", { list: "projects", placeholder: caller ? visible(caller.project) : "" }),
      target: input("target", { placeholder: "the last stage" }),
      platforms: input("platforms", { placeholder: "the service's own" }),
      args: area("args", 3, { placeholder: "NAME=VALUE" }),
      reason: input("reason", {}),
      timeout: input("timeout", { placeholder: "the service's usual one" }),
      priority: input("priority", { type: "number", placeholder: "0" }),
      cache: h("input", { type: "checkbox", id: "no-cache", name: "no-cache" }),
    };
    f.text.value = SAMPLE;
    const groups = {
      git: h("div", { class: "group" }, field("Address of the repository", f.url, "HTTP or HTTPS, without a login."),
        h("div", { class: "pair" }, field("Branch or tag", f.ref), field("Directory", f.directory))),
      archive: h("div", { class: "group" }, field("Archive", f.archive, "A tar, plain or compressed with gzip, zstd, bzip2 or xz.")),
      text: h("div", { class: "group" }, field("Dockerfile", f.text, "It is also the only file that COPY can name.")),
    };
    const path = field("Dockerfile", f.dockerfile, "Its path in the context.");
    const kinds = [["git", "A git repository"], ["archive", "An archive"], ["text", "Only a Dockerfile"]];
    const choose = (kind) => {
      this.kind = kind;
      for (const [name, group] of Object.entries(groups)) group.hidden = name !== kind;
      path.hidden = kind === "text";
      f.url.required = kind === "git";
      f.archive.required = kind === "archive";
      f.text.required = kind === "text";
    };
    const choices = kinds.map(([kind, text]) => h("label", { class: "choice" }, h("input", {
      type: "radio", name: "kind", value: kind, checked: kind === "git", onchange: () => choose(kind),
    }), text));
    this.problem = h("p", { class: "notice bad", role: "alert", hidden: true });
    this.button = h("button", { type: "submit", class: "primary" }, "Start the build");
    this.element = h("form", { class: "create", novalidate: false, onsubmit: (event) => this.#submit(event) },
      h("h1", {}, "New build"),
      h("fieldset", {}, h("legend", {}, "Context"), h("div", { class: "choices" }, choices), groups.git, groups.archive, groups.text, path),
      field("Names", f.tags, "The image is pushed under these, one in each line."),
      h("details", {}, h("summary", {}, "More"),
        h("div", { class: "pair" }, field("Project", f.project), field("Reason", f.reason, "Shown with the build.")),
        h("div", { class: "pair" }, field("Target stage", f.target), field("Platforms", f.platforms, "Like linux/amd64,linux/arm64.")),
        h("div", { class: "pair" }, field("Time limit", f.timeout, "Like 30m."), field("Priority", f.priority, "Higher ones begin first.")),
        field("Build arguments", f.args, "One in each line. They are kept and shown: no place for secrets."),
        h("label", { class: "choice" }, f.cache, "Do every step anew, without caches")),
      h("datalist", { id: "projects" }, (status()?.projects ?? []).map((project) => h("option", { value: project }))),
      this.problem, h("div", { class: "actions" }, this.button));
    choose("git");
  }

  #request() {
    const f = this.fields;
    const request = { tags: lines(f.tags.value) };
    if (this.kind === "git") {
      request.context = { git: { url: f.url.value.trim() } };
      if (f.ref.value.trim()) request.context.git.ref = f.ref.value.trim();
      if (f.directory.value.trim()) request.context.git.directory = f.directory.value.trim();
    }
    if (this.kind === "text") request.dockerfile_text = f.text.value;
    else if (f.dockerfile.value.trim()) request.dockerfile = f.dockerfile.value.trim();
    for (const name of ["project", "target", "reason", "timeout"]) {
      if (f[name].value.trim()) request[name] = f[name].value.trim();
    }
    const platforms = f.platforms.value.split(",").map((text) => text.trim()).filter((text) => text);
    if (platforms.length > 0) request.platforms = platforms;
    if (f.args.value.trim()) request.build_args = pairs(f.args.value);
    if (f.priority.value) request.priority = Number(f.priority.value);
    if (f.cache.checked) request.no_cache = true;
    return request;
  }

  async #submit(event) {
    event.preventDefault();
    this.problem.hidden = true;
    this.button.disabled = true;
    setText(this.button, this.kind === "archive" ? "Sending…" : "Starting…");
    try {
      const request = this.#request();
      const body = { git: () => JSON.stringify(request), archive: () => this.fields.archive.files[0],
        text: () => archiveOf("Dockerfile", request.dockerfile_text) }[this.kind]();
      const headers = this.kind === "git" ? { "Content-Type": "application/json" }
        : { "Content-Type": "application/x-tar", "Cooper-Build": ascii(request) };
      const response = await ask("v1/builds", { method: "POST", headers, body, signal: this.#signal });
      const build = await response.json();
      announce(response.status === 200 ? "The same build waits or runs already" : "The build was started");
      location.hash = `#/builds/${build.id}`;
    } catch (error) {
      if (this.#signal.aborted) return;
      this.problem.hidden = false;
      setText(this.problem, error.message);
    } finally {
      this.button.disabled = false;
      setText(this.button, "Start the build");
    }
  }
}
