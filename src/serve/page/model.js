// What a build has said, put in order: sections with lines, from the events of `--progress json`.

import { PLAIN, penAfter, stripped } from "./text.js";

/** Longer lines are shown and searched up to here; the log that is saved has them whole. */
const MAX_LINE = 10_000;

/**
 * A part of the log. Activities (`pull`, `step`, `push`, …) have a head that folds them; texts (`note`, `warning`,
 * `error`, `attempt`) have none. Times are milliseconds since the attempt began.
 */
class Section {
  lines = [];
  /** How the lines look at their beginnings that do not look plain there. */
  pens = new Map();
  #pen = PLAIN;
  isOpen = true;
  ended = null;
  duration = null;
  progress = null;

  constructor(key, kind, name, attempt, began) {
    this.key = key;
    this.kind = kind;
    this.name = name;
    this.attempt = attempt;
    this.began = began;
    this.hasHead = kind !== "text";
    this.state = "running";
  }

  add(line) {
    const kept = line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)} … (${line.length - MAX_LINE} more)` : line;
    if (this.#pen !== PLAIN) this.pens.set(this.lines.length, this.#pen);
    this.#pen = penAfter(kept, this.#pen);
    this.lines.push(kept);
  }

  plain(line) {
    return stripped(this.lines[line]);
  }
}

export class Model {
  sections = [];
  attempt = 0;
  /** Those of the last attempt: `{platform, digest, layers}`. */
  images = [];
  finished = null;
  /** Of the last event. */
  at = 0;
  lineCount = 0;
  #activities = new Map();

  /** All comes again from the beginning. */
  reset() {
    this.sections.length = 0;
    this.attempt = this.at = this.lineCount = 0;
    this.images = [];
    this.finished = null;
    this.#activities.clear();
  }

  take(events) {
    for (const event of events) this.#take(event);
  }

  #take(event) {
    if (Number.isFinite(event.at_ms) && event.at_ms > 0) this.at = event.at_ms;
    switch (event.event) {
      case "started":
        this.#begin();
        break;
      case "begun": {
        const key = `${this.attempt}-${event.id}`;
        const section = new Section(key, String(event.activity), String(event.name), this.attempt, event.at_ms);
        this.#activities.set(event.id, section);
        this.sections.push(section);
        break;
      }
      case "progress": {
        const section = this.#activities.get(event.id);
        if (section) section.progress = { done: event.done, total: event.total };
        break;
      }
      case "output": {
        const section = this.#activities.get(event.id);
        if (section) this.#add(section, String(event.line));
        break;
      }
      case "ended": {
        const section = this.#activities.get(event.id);
        if (section) {
          section.state = String(event.outcome);
          section.ended = event.at_ms;
          section.duration = event.duration_ms;
        }
        break;
      }
      case "explained":
        this.#text("note", `${event.name}: ${String(event.answer).replaceAll("-", " ")}`);
        break;
      case "note":
      case "warning":
      case "error":
        this.#text(event.event, String(event.text));
        break;
      case "image":
        if (Array.isArray(event.layers)) this.images.push(event);
        break;
      case "finished":
        this.finished = event;
        break;
      default:
        // Of a later version.
    }
  }

  /** An attempt begins; what an earlier one had begun will not end any more. */
  #begin() {
    for (const section of this.#activities.values()) {
      if (section.state === "running") section.state = "stopped";
    }
    this.#activities.clear();
    this.images = [];
    this.finished = null;
    this.at = 0;
    this.attempt += 1;
    if (this.attempt > 1) this.#text("attempt", `Attempt ${this.attempt}`);
  }

  #text(state, text) {
    let section = this.sections.at(-1);
    if (section?.hasHead !== false || section.state !== state) {
      section = new Section(`text-${this.sections.length}`, "text", "", this.attempt, this.at);
      section.state = state;
      this.sections.push(section);
    }
    for (const line of text.split("\n")) this.#add(section, line);
  }

  #add(section, line) {
    section.add(line);
    this.lineCount += 1;
  }

  /** What takes time, of the last attempt. */
  activities() {
    return this.sections.filter((section) => section.hasHead && section.attempt === this.attempt);
  }

  /** Nothing more comes: what has not ended was stopped. */
  close() {
    for (const section of this.sections) {
      if (section.hasHead && section.state === "running") section.state = "stopped";
    }
  }
}
