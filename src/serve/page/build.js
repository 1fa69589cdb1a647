// One build: what came of it, its log, where the time went, its layers, and what was asked for.

import { Refused, ask, get, patience, pause } from "./api.js";
import { confirmed } from "./dialogs.js";
import { announce, h, setAttribute, setChildren, setText } from "./dom.js";
import { DetailsView } from "./details.js";
import { age, count, duration, running } from "./format.js";
import { LayersView } from "./layers.js";
import { LogView } from "./log.js";
import { Model } from "./model.js";
import { badge, copy, copyButton, imageName, stateOf, stateWord, timeAgo } from "./parts.js";
import { now, onStatus, status } from "./status.js";
import { follow } from "./stream.js";
import { visible } from "./text.js";
import { TimelineView } from "./timeline.js";
import { why } from "./builds.js";

const TABS = [["log", "Log"], ["timeline", "Timeline"], ["layers", "Layers"], ["details", "Details"]];
const ENDS = ["succeeded", "failed", "cancelled"];

export class BuildView {
  title = "Build";
  #id;
  #tab;
  #signal;
  #build = null;
  #model = new Model();
  #isDue = false;
  #isAsking = false;
  #badge = badge();
  #asked = timeAgo();
  #timeline;
  #layers = new LayersView();
  #details = new DetailsView();

  constructor(id, tab, signal) {
    this.#id = id;
    this.#tab = TABS.some(([name]) => name === tab) ? tab : "log";
    this.#signal = signal;
    this.#timeline = new TimelineView((section) => this.#jump(section));
    this.log = new LogView(this.#model, true);
    this.name = h("h1", { class: "build-name" }, h("span", { class: "muted code" }, id));
    this.facts = h("ul", { class: "summary" });
    this.links = h("p", { class: "muted relations", hidden: true });
    this.digest = h("p", { class: "digest", hidden: true });
    this.error = h("section", { class: "error-box", "aria-label": "Error", hidden: true });
    this.actions = h("div", { class: "actions" });
    this.cancelButton = h("button", { type: "button", class: "danger", hidden: true, "aria-keyshortcuts": "c" }, "Cancel");
    this.rebuildButton = h("button", { type: "button", hidden: true, "aria-keyshortcuts": "r" }, "Rebuild");
    this.saveButton = h("button", { type: "button" }, "Save log");
    this.cancelButton.addEventListener("click", () => this.#cancel());
    this.rebuildButton.addEventListener("click", () => this.#rebuild());
    this.saveButton.addEventListener("click", () => this.#save());
    this.actions.append(this.cancelButton, this.rebuildButton, this.saveButton);
    this.refusal = h("p", { class: "notice bad", role: "alert", hidden: true });
    this.panels = {
      log: this.log.element, timeline: this.#timeline.element, layers: this.#layers.element, details: this.#details.element,
    };
    this.tabs = this.#makeTabs();
    this.body = h("div", { class: "build-body" });
    for (const [name] of TABS) {
      const panel = h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, class: `tabpanel tabpanel-${name}` },
        this.panels[name]);
      this.body.append(panel);
    }
    this.element = h("div", { class: "build" },
      h("div", { class: "build-head" },
        h("div", { class: "build-title" }, this.#badge.element, this.name, this.actions),
        this.facts, this.digest, this.links, this.refusal, this.error),
      this.tabs, this.body);
    this.#showTab();
    signal.addEventListener("abort", onStatus(() => this.#told()));
    this.#read();
    this.#follow();
  }

  #makeTabs() {
    const list = h("div", { role: "tablist", class: "tabs", "aria-label": "Parts of this build" },
      TABS.map(([name, text], index) => h("button", {
        type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, "aria-keyshortcuts": String(index + 1),
        onclick: () => this.#choose(name),
      }, text)));
    list.addEventListener("keydown", (event) => {
      const at = TABS.findIndex(([name]) => name === this.#tab);
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const name = TABS[(next + TABS.length) % TABS.length][0];
      this.#choose(name);
      document.getElementById(`tab-${name}`).focus();
    });
    return list;
  }

  #choose(name) {
    this.#tab = name;
    // The address can be passed on; the way back leads to where one came from.
    history.replaceState(null, "", `#/builds/${this.#id}${name === "log" ? "" : `/${name}`}`);
    this.#showTab();
  }

  #showTab() {
    TABS.forEach(([name], index) => {
      const isChosen = name === this.#tab;
      const tab = this.tabs.children[index];
      setAttribute(tab, "aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      this.body.children[index].hidden = !isChosen;
    });
    this.element.dataset.tab = this.#tab;
    this.#draw();
  }

  #jump(section) {
    this.#choose("log");
    this.log.show(section);
  }

  /** The record, as it is now. */
  async #read() {
    if (this.#isAsking || this.#signal.aborted) return;
    this.#isAsking = true;
    try {
      this.#show(await get(`v1/builds/${this.#id}`, { signal: this.#signal }));
    } catch (error) {
      if (error instanceof Refused && error.status === 404) this.#missing(error.message);
      else if (error instanceof Refused && error.status !== 401) this.#fail(error.message);
    } finally {
      this.#isAsking = false;
    }
  }

  #told() {
    const build = this.#build;
    // Of a build that has ended only who was told of it goes on to change.
    const isSettled = build && ENDS.includes(build.state) && !build.origin && !(build.notify?.length > 0);
    if (isSettled) this.#showActions(build);
    else this.#read();
  }

  async #follow() {
    for (let failures = 0; !this.#signal.aborted; failures += 1) {
      try {
        const build = await follow(this.#id, {
          signal: this.#signal,
          take: (events) => {
            this.#model.take(events);
            this.#draw();
          },
          restart: () => this.#restart(),
        });
        if (!build) return;
        this.#model.close();
        this.log.close();
        this.#show(build);
        // The whole record has more than the stream's, like who was told of the end.
        this.#read();
        return;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof Refused)) throw error;
        if (error.status === 401) return;
        if (error.status === 404) {
          this.#missing(error.message);
          return;
        }
        this.#fail(error.message);
        await pause(patience(failures), this.#signal);
      }
    }
  }

  #restart() {
    this.#model.reset();
    this.log.reset();
    this.#draw();
  }

  #missing(text) {
    this.element.replaceChildren(h("div", { class: "notice" }, h("h1", {}, "No such build"),
      h("p", {}, `${text}, or it is not this token's to see.`), h("p", {}, h("a", { href: "#/" }, "Show all builds"))));
  }

  #fail(text) {
    this.refusal.hidden = false;
    setText(this.refusal, text);
  }

  #show(build) {
    const before = this.#build?.state;
    this.#build = build;
    const first = build.request.tags[0] ?? build.id;
    this.title = visible(first);
    document.title = `${stateWord(stateOf(build))}: ${this.title} – Cooper`;
    if (before && before !== build.state) announce(`${this.title} ${stateWord(build.state).toLowerCase()}`);
    this.#badge.show(stateOf(build));
    if (this.name.dataset.name !== first) {
      this.name.dataset.name = first;
      this.name.replaceChildren(...imageName(first));
    }
    this.#showFacts(build);
    this.#showDigest(build);
    this.#showRelations(build);
    this.#showError(build);
    this.#showActions(build);
    if (build.state === "queued") this.log.explain("It waits for its turn.");
    else if (build.state === "running") this.log.explain("Nothing was said yet.");
    this.#draw();
  }

  #showActions(build) {
    const mayWrite = status() !== null && !status().caller.read_only;
    const hasEnded = ENDS.includes(build.state);
    this.cancelButton.hidden = !mayWrite || hasEnded;
    this.cancelButton.disabled = build.is_cancelling;
    this.rebuildButton.hidden = !mayWrite || !hasEnded;
  }

  #showFacts(build) {
    const fact = (label, value) => h("li", {}, h("span", { class: "muted" }, `${label} `), value);
    this.time = h("span", { class: "number" });
    const items = [
      fact("by", h("bdi", {}, visible(build.by))),
      fact("project", h("bdi", {}, visible(build.project))),
      fact("asked", this.#asked.element),
      fact(build.state === "queued" ? "turn" : ENDS.includes(build.state) ? "took" : "for", this.time),
    ];
    this.#asked.show(build.created_at);
    if (build.cache?.steps > 0) items.push(fact("cache", h("span", { class: "number" }, `${build.cache.hits} of ${count(build.cache.steps, "step", "steps")}`)));
    if (build.attempts > 1) items.push(fact("attempt", h("span", { class: "number" }, String(build.attempts))));
    if (build.requests > 1) items.push(fact("requests", h("span", { class: "number" }, String(build.requests))));
    if (build.request.tags.length > 1) items.push(fact("also", build.request.tags.slice(1).map(visible).join(", ")));
    if (build.cluster) items.push(fact("cluster", h("bdi", {}, visible(build.cluster))));
    const reason = why(build);
    if (reason) items.push(fact("why", h("bdi", {}, reason)));
    this.facts.replaceChildren(...items);
    this.tick();
  }

  #showDigest(build) {
    const digest = build.result?.digest;
    this.digest.hidden = !digest;
    if (!digest || this.digest.dataset.digest === digest) return;
    this.digest.dataset.digest = digest;
    const images = [...new Set(build.result.images.map((name) => `${name.replace(/:[^:/]*$/, "")}@${digest}`))];
    this.digest.replaceChildren(h("span", { class: "muted" }, "Digest "), h("code", { id: "digest" }, visible(digest)), " ",
      copyButton("the digest", digest),
      images.length > 0 ? copyButton("the image with its digest", images[0], "Copy image@digest") : "");
  }

  #showRelations(build) {
    const link = (text, id) => [text, h("a", { href: `#/builds/${id}`, class: "code" }, id)];
    const parts = [];
    if (build.rebuild_of) parts.push(link("Rebuild of ", build.rebuild_of));
    if (build.superseded_by) parts.push(link("Superseded by ", build.superseded_by));
    if (this.again) parts.push(link("Built again as ", this.again));
    const deployments = (build.deployments ?? []).map((one) => `${visible(one.target)}: ${visible(one.state)}`);
    if (deployments.length > 0) parts.push([`Deploys ${deployments.join(", ")}`]);
    this.links.hidden = parts.length === 0;
    setChildren(this.links, parts.flatMap((part, index) => (index > 0 ? [" · ", ...part] : part)));
  }

  #showError(build) {
    const text = build.error;
    this.error.hidden = !text;
    if (!text) return;
    const shown = visible(text);
    if (this.error.dataset.text === shown) return;
    this.error.dataset.text = shown;
    this.error.dataset.state = build.state;
    this.error.replaceChildren(h("pre", { tabindex: "0" }, shown));
  }

  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.element.isConnected) return;
      const hasEnded = this.#build !== null && ENDS.includes(this.#build.state);
      if (this.#tab === "log") this.log.refresh();
      if (this.#tab === "timeline") this.#timeline.show(this.#model, hasEnded ? null : this.#elapsed());
      if (this.#tab === "layers") this.#layers.show(this.#model, hasEnded);
      if (this.#tab === "details" && this.#build) this.#details.show(this.#build);
    });
  }

  /** How long the attempt has been running, at least as long as its events tell. */
  #elapsed() {
    const started = this.#build?.started_at;
    return Math.max(this.#model.at, started ? now() - Date.parse(started) : 0);
  }

  tick() {
    this.#asked.tick();
    const build = this.#build;
    if (!build) return;
    const started = build.started_at && Date.parse(build.started_at);
    if (build.state === "queued") {
      const start = build.queue?.expected_start;
      const soon = start ? Date.parse(start) - now() : null;
      const when = soon === null ? "" : soon < 2000 ? ", begins soon" : `, begins ${age(-soon)}`;
      setText(this.time, build.queue ? `${build.queue.position}${when}` : "waits");
    } else if (build.ended_at) setText(this.time, started ? duration(Date.parse(build.ended_at) - started) : "–");
    else setText(this.time, started ? running(now() - started) : "–");
    if (!ENDS.includes(build.state) && this.#tab === "timeline") this.#draw();
  }

  async #cancel() {
    if (this.cancelButton.hidden || this.cancelButton.disabled) return;
    const others = this.#build.requests > 1 ? ` ${this.#build.requests} requests wait for it.` : "";
    if (!(await confirmed("Cancel this build?", `${this.title} will not be pushed.${others}`, "Cancel the build", "Let it go on"))) return;
    await this.#act(async () => {
      const build = await get(`v1/builds/${this.#id}`, { method: "DELETE" });
      announce("The build is being cancelled");
      this.#show(build);
    });
  }

  async #rebuild() {
    if (this.rebuildButton.hidden) return;
    const text = "The same request and context are built again, as a new build, and pushed under the same names.";
    if (!(await confirmed("Build this again?", text, "Rebuild", "No"))) return;
    await this.#act(async () => {
      const build = await get(`v1/builds/${this.#id}/rebuild`, { method: "POST" });
      announce("A new build was asked for");
      location.hash = `#/builds/${build.id}`;
    });
  }

  async #save() {
    await this.#act(async () => {
      const response = await ask(`v1/builds/${this.#id}/logs`);
      const address = URL.createObjectURL(await response.blob());
      h("a", { href: address, download: `${this.#id}.log` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    });
  }

  async #act(action) {
    this.refusal.hidden = true;
    try {
      await action();
    } catch (error) {
      this.#fail(error.message);
    }
  }

  keys = {
    "/": () => {
      this.#choose("log");
      this.log.search();
    },
    n: () => this.log.nextHit(1),
    N: () => this.log.nextHit(-1),
    "]": () => this.log.step(1),
    "[": () => this.log.step(-1),
    f: () => this.log.toggleFollowing(),
    e: () => this.log.foldAll(),
    c: () => this.#cancel(),
    r: () => this.#rebuild(),
    y: async () => {
      const digest = this.#build?.result?.digest;
      announce(digest && (await copy(digest)) ? "Copied the digest" : "There is no digest to copy");
    },
    1: () => this.#choose("log"),
    2: () => this.#choose("timeline"),
    3: () => this.#choose("layers"),
    4: () => this.#choose("details"),
  };
}
