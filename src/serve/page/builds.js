// All builds, the latest first, with the queue above them.

import { Refused, get } from "./api.js";
import { Keyed, announce, h, setAttribute, setText } from "./dom.js";
import { duration, running } from "./format.js";
import { address, badge, imageName, share, stateOf, stateWord, timeAgo } from "./parts.js";
import { QueueView } from "./queue.js";
import { now, onStatus, status } from "./status.js";
import { visible } from "./text.js";

const PAGE = 50;
const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];

/** What led to a build, in a few words. */
export function why(build) {
  const { origin, request } = build;
  if (origin) {
    const ref = String(origin.ref ?? "").replace(/^refs\/(heads|tags)\//, "");
    const where = [origin.repository, ref, String(origin.commit ?? "").slice(0, 8)].filter((part) => part).join(" ");
    return visible([where, origin.message].filter((part) => part).join(": "));
  }
  if (request.reason) return visible(request.reason);
  const git = request.context?.git;
  if (git) return visible([git.url, git.ref, git.commit?.slice(0, 8)].filter((part) => part).join(" "));
  if (request.context?.artifact) return visible(request.context.artifact);
  return build.rebuild_of ? "rebuild" : "";
}

export class BuildsView {
  title = "Builds";
  #query;
  #isAsking = false;
  #isDirty = false;
  #states = new Map();
  #rows;
  #queue = new QueueView();
  #signal;
  #ticks = new Map();

  constructor(query, signal) {
    this.#query = query;
    this.#signal = signal;
    const body = h("tbody", { role: "rowgroup" });
    this.#rows = new Keyed(body, () => this.#make());
    this.table = h("table", { class: "builds", role: "table", "aria-busy": "true" },
      h("caption", { class: "unseen" }, "Builds, the latest first"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        [["State", "state"], ["Image", "image"], ["Project", "project"], ["Duration", "number duration"], ["Cache", "cache"],
          ["Asked", "number age"]].map(([text, name]) =>
          h("th", { scope: "col", role: "columnheader", class: name }, text)))),
      body);
    this.message = h("div", { class: "notice", hidden: true });
    this.error = h("p", { class: "notice bad", role: "alert", hidden: true });
    this.pager = h("nav", { class: "pager", "aria-label": "Pages" });
    this.element = h("div", {}, h("h1", { class: "unseen" }, "Builds"), this.#queue.element,
      h("section", { "aria-labelledby": "builds-heading" },
        h("div", { class: "bar" }, h("h2", { id: "builds-heading" }, "Builds"), this.#filters()),
        this.error, this.table, this.message, this.pager));
    this.#queue.element.hidden = status() === null;
    signal.addEventListener("abort", onStatus((found) => this.#told(found)));
    if (status()) this.#told(status());
    else this.#refresh();
  }

  #filters() {
    this.state = h("select", { id: "filter-state" }, h("option", { value: "" }, "All states"),
      STATES.map((state) => h("option", { value: state }, stateWord(state))));
    this.state.value = STATES.includes(this.#query.get("state")) ? this.#query.get("state") : "";
    this.project = h("select", { id: "filter-project" }, h("option", { value: "" }, "All projects"));
    const project = this.#query.get("project");
    if (project) {
      this.project.append(h("option", { value: project }, visible(project)));
      this.project.value = project;
    }
    for (const select of [this.state, this.project]) {
      select.addEventListener("change", () => {
        const query = new URLSearchParams();
        if (this.state.value) query.set("state", this.state.value);
        if (this.project.value) query.set("project", this.project.value);
        location.hash = query.size > 0 ? `#/?${query}` : "#/";
      });
    }
    return h("form", { class: "filters", role: "search", "aria-label": "Filter builds", onsubmit: (event) => event.preventDefault() },
      h("label", { for: "filter-state", class: "unseen" }, "State"), this.state,
      h("label", { for: "filter-project", class: "unseen" }, "Project"), this.project);
  }

  #told(found) {
    this.#queue.element.hidden = false;
    this.#queue.show(found);
    const known = new Set([...this.project.options].map((option) => option.value));
    for (const project of found.projects) {
      if (!known.has(project)) this.project.append(h("option", { value: project }, visible(project)));
    }
    this.#refresh();
  }

  async #refresh() {
    this.#isDirty = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      while (this.#isDirty && !this.#signal.aborted) {
        this.#isDirty = false;
        const query = new URLSearchParams({ limit: PAGE });
        for (const name of ["state", "project", "before"]) {
          if (this.#query.get(name)) query.set(name, this.#query.get(name));
        }
        this.#show(await get(`v1/builds?${query}`, { signal: this.#signal }));
      }
    } catch (error) {
      // Without a connection there is the banner, and the next status brings the next try.
      if (error instanceof Refused && error.status !== 401) {
        this.error.hidden = false;
        setText(this.error, error.message);
      }
    } finally {
      this.#isAsking = false;
    }
  }

  #show({ builds, next }) {
    this.error.hidden = true;
    this.#tell(builds);
    this.#ticks.clear();
    this.#rows.show(builds, (build) => build.id);
    this.table.hidden = builds.length === 0;
    setAttribute(this.table, "aria-busy", null);
    this.#showPages(builds, next);
    this.#showNothing(builds.length === 0);
  }

  /** Says aloud what has changed since the last time. */
  #tell(builds) {
    const changed = [];
    for (const build of builds) {
      const before = this.#states.get(build.id);
      if (before && before !== build.state) changed.push(`${visible(build.request.tags[0])} ${stateWord(build.state).toLowerCase()}`);
      this.#states.set(build.id, build.state);
    }
    if (changed.length > 0) announce(changed.length > 3 ? `${changed.length} builds have changed` : changed.join(". "));
  }

  #showPages(builds, next) {
    const query = new URLSearchParams(this.#query);
    const links = [];
    if (this.#query.get("before")) {
      query.delete("before");
      links.push(h("a", { href: query.size > 0 ? `#/?${query}` : "#/" }, "Latest"));
    }
    if (next && builds.length > 0) {
      query.set("before", builds.at(-1).id);
      links.push(h("a", { href: `#/?${query}`, id: "older" }, "Older"));
    }
    const text = links.map((link) => link.getAttribute("href")).join(" ");
    if (this.pager.dataset.links !== text) {
      this.pager.dataset.links = text;
      this.pager.replaceChildren(...links);
    }
  }

  #showNothing(isNothing) {
    this.message.hidden = !isNothing;
    if (!isNothing || this.message.firstChild) return;
    if (this.#query.size > 0) {
      this.message.append(h("p", {}, "No builds are like that."), h("p", {}, h("a", { href: "#/" }, "Show all builds")));
      return;
    }
    this.message.append(h("p", {}, "There are no builds yet."), h("p", {},
      h("a", { href: "#/new" }, "Start one here"), ", or from a directory with ",
      h("code", {}, `cooper remote build --remote ${address()} -t NAME .`)));
  }

  #make() {
    const state = badge();
    const name = h("span", { class: "image-name" });
    const link = h("a", { class: "row-link" }, name);
    const more = h("span", { class: "muted" });
    const about = h("div", { class: "muted about" });
    const project = h("td", { role: "cell", class: "project" });
    const time = h("td", { role: "cell", class: "number duration" });
    const cache = h("td", { role: "cell", class: "cache" });
    const begun = timeAgo();
    let shownTags = null;
    let shownCache = null;
    return {
      element: h("tr", { role: "row" },
        h("td", { role: "cell", class: "state" }, state.element),
        h("td", { role: "cell", class: "image" }, h("div", { class: "image-line" }, link, more), about),
        project, time, cache, h("td", { role: "cell", class: "number age" }, begun.element)),
      show: (build) => {
        state.show(stateOf(build));
        const tags = build.request.tags.join(" ");
        if (tags !== shownTags) {
          shownTags = tags;
          name.replaceChildren(...imageName(build.request.tags[0] ?? build.id));
          setAttribute(link, "title", build.request.tags.map(visible).join("\n"));
          setText(more, build.request.tags.length > 1 ? ` +${build.request.tags.length - 1}` : "");
        }
        setAttribute(link, "href", `#/builds/${build.id}`);
        const reason = why(build);
        const text = [`by ${visible(build.by)}`, reason].filter((part) => part).join(" · ");
        setText(about, text);
        setAttribute(about, "title", text);
        setText(project, visible(build.project));
        begun.show(build.created_at);
        const tick = () => {
          begun.tick();
          const started = build.started_at && Date.parse(build.started_at);
          if (build.state === "queued") setText(time, build.queue ? `#${build.queue.position} in turn` : "waits");
          else if (!started) setText(time, "–");
          else setText(time, build.ended_at ? duration(Date.parse(build.ended_at) - started) : running(now() - started));
        };
        tick();
        this.#ticks.set(build.id, tick);
        const hits = build.cache?.steps > 0 ? `${build.cache.hits}/${build.cache.steps}` : "";
        if (hits !== shownCache) {
          shownCache = hits;
          cache.replaceChildren(...(hits === "" ? [h("span", { class: "muted" }, "–")] : [
            h("span", { class: "number", title: `${build.cache.hits} of ${build.cache.steps} steps from the cache` }, hits),
            share(build.cache.hits, build.cache.steps, "cached")]));
        }
      },
    };
  }

  tick() {
    this.#queue.tick();
    for (const tick of this.#ticks.values()) tick();
  }

  /** Moves the focus to another build. */
  #move(by) {
    const links = [...this.table.querySelectorAll(".row-link")];
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by))]?.focus();
  }

  keys = {
    j: () => this.#move(1),
    k: () => this.#move(-1),
    s: () => this.state.focus(),
    o: () => document.getElementById("older")?.click(),
  };
}
