// Where the time went: one bar for each activity, and what its result was.

import { Keyed, h, setAttribute, setText } from "./dom.js";
import { bytes, duration } from "./format.js";
import { badge } from "./parts.js";
import { visible } from "./text.js";

/** Most rows; who has more looks into the log. */
const MAX_ROWS = 500;

export class TimelineView {
  #rows;
  #end = 1;

  /** `jump` is called with the section that somebody wants to see in the log. */
  constructor(jump) {
    this.summary = h("p", { class: "muted" });
    const body = h("tbody", { role: "rowgroup" });
    this.table = h("table", { class: "timeline", role: "table" },
      h("caption", { class: "unseen" }, "Steps and other activities in the order in which they began"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        ...["Activity", "Result", "Begins", "Takes"].map((text, index) =>
          h("th", { scope: "col", role: "columnheader", class: index > 1 ? "number" : null }, text)),
        h("th", { scope: "col", role: "columnheader" }, h("span", { class: "unseen" }, "Over time"), this.#axis()))),
      body);
    this.element = h("div", { class: "panel" }, this.summary, this.table);
    this.#rows = new Keyed(body, (section) => this.#make(section, jump));
  }

  #axis() {
    this.marks = [0, 1, 2, 3, 4].map(() => h("span"));
    return h("span", { class: "axis number", "aria-hidden": "true" }, this.marks);
  }

  /** `now` is how long the build has been running, in milliseconds, if it runs. */
  show(model, now) {
    const all = model.activities();
    const ends = all.map((section) => section.ended ?? now ?? model.at);
    this.#end = Math.max(1, ...ends);
    this.marks.forEach((mark, index) => {
      setText(mark, duration((this.#end * index) / (this.marks.length - 1)));
    });
    const steps = all.filter((section) => section.kind === "step");
    const cached = steps.filter((section) => section.state === "cached").length;
    const rest = all.length > MAX_ROWS ? ` The first ${MAX_ROWS} of ${all.length} are shown.` : "";
    setText(this.summary, all.length === 0 ? "Nothing has begun yet."
      : `${steps.length} ${steps.length === 1 ? "step" : "steps"}, ${cached} from the cache, ${duration(this.#end)} in all.${rest}`);
    this.table.hidden = all.length === 0;
    this.now = now ?? model.at;
    this.#rows.show(all.slice(0, MAX_ROWS), (section) => section.key);
  }

  #make(section, jump) {
    const state = badge();
    const name = h("button", { type: "button", class: "link", title: visible(section.name) }, visible(section.name));
    name.addEventListener("click", () => jump(section));
    const begins = h("td", { class: "number", role: "cell", "data-label": "begins" }, duration(section.began));
    const takes = h("td", { class: "number", role: "cell", "data-label": "takes" });
    const bar = h("span", { class: "bar" });
    const element = h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader" }, name),
      h("td", { role: "cell" }, state.element), begins, takes,
      h("td", { role: "cell", class: "track", "aria-hidden": "true" }, bar));
    return {
      element,
      show: (now) => {
        state.show(now.state);
        const end = now.ended ?? this.now;
        const took = now.duration ?? Math.max(0, end - now.began);
        const size = now.progress?.done > 0 ? ` · ${bytes(now.progress.done)}` : "";
        setText(takes, duration(took));
        setAttribute(takes, "title", `${duration(took)}${size}`);
        bar.dataset.state = now.state;
        bar.style.left = `${(now.began / this.#end) * 100}%`;
        bar.style.width = `${(took / this.#end) * 100}%`;
      },
    };
  }
}
