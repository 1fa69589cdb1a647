// What runs and what waits, and how much of the budget that takes.

import { Keyed, h, setAttribute, setText } from "./dom.js";
import { age, bytes, bytesOf, cpus, running } from "./format.js";
import { imageName, stateOf, stateWord, icon } from "./parts.js";
import { now } from "./status.js";
import { visible } from "./text.js";

/** So many that wait are shown at first. */
const FEW = 5;

function meter(label) {
  const value = h("span", { class: "number meter-value" });
  const fill = h("span", { class: "fill" });
  const bar = h("span", { class: "share", role: "meter", "aria-label": label, "aria-valuemin": "0" }, fill);
  return {
    element: h("div", { class: "meter" }, h("span", { class: "meter-label" }, label), value, bar),
    show(used, whole, text) {
      setText(value, text);
      setAttribute(bar, "aria-valuemax", whole);
      setAttribute(bar, "aria-valuenow", Math.min(used, whole));
      setAttribute(bar, "aria-valuetext", text);
      const percent = whole > 0 ? Math.min(100, (used / whole) * 100) : 0;
      fill.style.width = `${percent}%`;
      setAttribute(fill, "data-full", percent > 95 ? "" : null);
    },
  };
}

function number(label) {
  const value = h("span", { class: "number meter-value" });
  return {
    element: h("div", { class: "meter" }, h("span", { class: "meter-label" }, label), value),
    show: (text) => setText(value, text),
  };
}

export class QueueView {
  #isWhole = false;
  #last = null;
  #cpu = meter("Processors");
  #memory = meter("Memory");
  #running = number("Running");
  #waiting = number("Waiting");

  constructor() {
    const body = h("tbody", { role: "rowgroup" });
    this.#rows = new Keyed(body, (row) => this.#make(row));
    this.table = h("table", { class: "turns", role: "table" },
      h("caption", { class: "unseen" }, "Builds that run, and those that wait in the order of their turns"),
      h("thead", { class: "unseen", role: "rowgroup" }, h("tr", { role: "row" },
        ["Turn", "Image", "Project", "Takes", "When"].map((text) => h("th", { scope: "col", role: "columnheader" }, text)))),
      body);
    this.more = h("button", { type: "button", class: "small" });
    this.more.addEventListener("click", () => {
      this.#isWhole = !this.#isWhole;
      this.show(this.#last);
    });
    this.element = h("section", { class: "queue", "aria-labelledby": "queue-heading" },
      h("h2", { id: "queue-heading" }, "Queue"),
      h("div", { class: "meters" }, this.#cpu.element, this.#memory.element, this.#running.element, this.#waiting.element),
      this.table, this.more);
  }

  #rows;

  show(status) {
    this.#last = status;
    const { budget, used } = status;
    this.#cpu.show(used.millicpus, budget.millicpus, `${cpus(used.millicpus)} of ${cpus(budget.millicpus)}`);
    this.#memory.show(used.memory, budget.memory, bytesOf(used.memory, budget.memory));
    this.#running.show(status.running_count.toLocaleString("en"));
    this.#waiting.show(status.waiting_count.toLocaleString("en"));
    const all = [...status.running, ...status.waiting];
    const few = status.running.length + FEW;
    const shown = this.#isWhole ? all : all.slice(0, few);
    this.#rows.show(shown, (build) => build.id);
    this.table.hidden = all.length === 0;
    this.more.hidden = all.length <= few;
    setText(this.more, this.#isWhole ? "Show fewer" : `Show ${all.length - few} more that wait`);
    const unseen = status.waiting_count - status.waiting.length;
    if (this.#isWhole && unseen > 0) setText(this.more, `Show fewer (${unseen} more wait)`);
  }

  tick() {
    if (this.#last) this.show(this.#last);
  }

  #make() {
    const turn = h("td", { role: "cell", class: "turn number" });
    const link = h("a", {});
    const project = h("td", { role: "cell", class: "muted project" });
    const takes = h("td", { role: "cell", class: "muted number takes" });
    const when = h("td", { role: "cell", class: "number when" });
    let state = null;
    let tags = null;
    return {
      element: h("tr", { role: "row" }, turn, h("td", { role: "cell", class: "image" }, link), project, takes, when),
      show(build) {
        const shown = stateOf(build);
        const position = build.queue?.position;
        if (build.state !== "queued" && shown !== state) {
          turn.replaceChildren(icon(shown), h("span", { class: "unseen" }, stateWord(shown)));
        } else if (build.state === "queued") setText(turn, position ? String(position) : "");
        state = shown;
        const name = build.request.tags[0] ?? build.id;
        if (name !== tags) link.replaceChildren(...imageName(name));
        tags = name;
        setAttribute(link, "href", `#/builds/${build.id}`);
        setText(project, visible(build.project));
        setText(takes, `${cpus(build.need.millicpus)} CPU · ${bytes(build.need.memory)}`);
        if (build.state !== "queued") setText(when, `for ${running(now() - Date.parse(build.started_at))}`);
        else if (build.queue?.expected_start) {
          const soon = Date.parse(build.queue.expected_start) - now();
          setText(when, soon < 2000 ? "begins soon" : `begins ${age(-soon)}`);
        } else setText(when, "waits");
      },
    };
  }
}
