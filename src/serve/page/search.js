// Searching a log: all lines, also those that are folded away or still to come.

import { announce, h, setText } from "./dom.js";

export class Search {
  #model;
  #listener;
  #wanted = "";
  /** Of each section: which lines have it (-1 is the head), and how many were looked at. */
  #found = new Map();
  #total = 0;
  /** The line that is shown. */
  #current = null;
  #version = 0;

  constructor(model, listener) {
    this.#model = model;
    this.#listener = listener;
    this.input = h("input", {
      type: "search", placeholder: "Search the log", "aria-label": "Search the log", autocomplete: "off",
      spellcheck: "false", "aria-keyshortcuts": "/",
    });
    this.count = h("output", { class: "number muted hits", "aria-live": "polite" });
    const before = h("button", { type: "button", "aria-label": "Previous hit", title: "Previous hit (N)" }, "↑");
    const next = h("button", { type: "button", "aria-label": "Next hit", title: "Next hit (n)" }, "↓");
    this.element = h("div", { class: "search", role: "search" }, this.input, this.count, before, next);
    before.addEventListener("click", () => this.move(-1));
    next.addEventListener("click", () => this.move(1));
    this.input.addEventListener("input", () => this.#begin(this.input.value));
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.move(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        this.input.value = "";
        this.#begin("");
        this.input.blur();
        event.stopPropagation();
      }
    });
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** Forgets what was found. */
  again() {
    this.#found = new Map();
    this.#total = 0;
    this.#current = null;
    this.#version += 1;
  }

  #begin(text) {
    this.#wanted = text.toLowerCase();
    this.again();
    this.update();
    if (this.#total > 0) this.move(1);
    this.#listener.changed();
  }

  /** Looks at what was not looked at yet. */
  update() {
    if (this.#wanted !== "") {
      for (const section of this.#model.sections) this.#look(section);
    }
    const text = this.#wanted === "" ? ""
      : this.#total === 0 ? "No hits"
      : this.#current === null ? `${this.#total.toLocaleString("en")}`
      : `${this.#ordinal().toLocaleString("en")} of ${this.#total.toLocaleString("en")}`;
    setText(this.count, text);
  }

  #look(section) {
    let found = this.#found.get(section);
    if (!found) {
      found = { lines: [], seen: 0 };
      this.#found.set(section, found);
      if (section.hasHead && section.name.toLowerCase().includes(this.#wanted)) {
        found.lines.push(-1);
        this.#total += 1;
      }
    }
    for (; found.seen < section.lines.length; found.seen += 1) {
      if (section.plain(found.seen).toLowerCase().includes(this.#wanted)) {
        found.lines.push(found.seen);
        this.#total += 1;
      }
    }
  }

  /** Which one the current hit is, from 1. */
  #ordinal() {
    let before = 0;
    for (const section of this.#model.sections) {
      if (section === this.#current.section) return before + this.#current.index + 1;
      before += this.#found.get(section)?.lines.length ?? 0;
    }
    return 0;
  }

  /** Goes to the next hit, or to the one before; behind the last one comes the first. */
  move(by) {
    if (this.#total === 0) return;
    const { sections } = this.#model;
    let at = this.#current ? sections.indexOf(this.#current.section) : by > 0 ? 0 : sections.length - 1;
    let index = this.#current ? this.#current.index + by : by > 0 ? 0 : Infinity;
    const linesAt = () => this.#found.get(sections[at])?.lines ?? [];
    if (index === Infinity) index = linesAt().length - 1;
    while (index < 0 || index >= linesAt().length) {
      at = (at + by + sections.length) % sections.length;
      index = by > 0 ? 0 : linesAt().length - 1;
    }
    this.#current = { section: sections[at], index };
    this.#version += 1;
    this.update();
    this.#listener.reveal(sections[at], linesAt()[index]);
    if (document.activeElement !== this.input) announce(`Hit ${this.count.textContent}`);
  }

  #currentLine() {
    return this.#current && this.#found.get(this.#current.section)?.lines[this.#current.index];
  }

  /** Changes when a row has to be drawn anew. */
  stamp(section, line) {
    if (this.#wanted === "") return "";
    const isCurrent = this.#current?.section === section && this.#currentLine() === line;
    return `${this.#wanted} ${isCurrent ? this.#version : ""}`;
  }

  /** Where it is in a line: `{begin, end, isCurrent}`. */
  hits(section, line) {
    if (this.#wanted === "") return [];
    const text = (line < 0 ? section.name : section.plain(line)).toLowerCase();
    const isCurrent = this.#current?.section === section && this.#currentLine() === line;
    const hits = [];
    for (let at = text.indexOf(this.#wanted); at >= 0; at = text.indexOf(this.#wanted, at + this.#wanted.length)) {
      hits.push({ begin: at, end: at + this.#wanted.length, isCurrent });
    }
    return hits;
  }
}
