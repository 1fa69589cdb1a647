// The log: sections that fold, only as many rows in the document as are seen, so that it stays quick however long it is.

import { announce, h, setAttribute, setText } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { icon, stateWord } from "./parts.js";
import { Search } from "./search.js";
import { PLAIN, look, pieces, visible } from "./text.js";

/** How far beyond both edges of what is seen rows are drawn, in pixels. */
const MARGIN = 600;

/** How near to the end counts as at the end, in pixels. */
const NEAR = 6;

export class LogView {
  #model;
  /** Where each section begins, in pixels. */
  #offsets = [];
  #total = 0;
  #shown = new Map();
  #isDue = false;
  #lastTop = 0;
  /** Heights of a line, and of a head, which fingers must be able to hit. */
  #line = 20;
  #headHeight = 24;
  #isFollowing;
  #search;

  constructor(model, isFollowing) {
    this.#model = model;
    this.#isFollowing = isFollowing;
    this.spacer = h("div", { class: "log-spacer" });
    this.rows = h("div", { class: "log-rows" });
    this.pinned = h("div", { class: "log-pinned", "aria-hidden": "true" });
    this.scroller = h("div", { class: "log-scroll", tabindex: "0", role: "region", "aria-label": "Log" },
      this.pinned, this.spacer, this.rows);
    this.empty = h("p", { class: "log-empty" }, "Nothing was said yet.");
    this.followButton = h("button", { type: "button", "aria-keyshortcuts": "f" }, "Follow");
    this.foldButton = h("button", { type: "button", "aria-keyshortcuts": "e" }, "Fold all");
    this.lines = h("span", { class: "muted number log-count" });
    this.#search = new Search(model, {
      reveal: (section, line) => this.#reveal(section, line),
      changed: () => this.refresh(),
    });
    this.element = h("div", { class: "log" },
      h("div", { class: "log-bar" }, this.#search.element, this.lines, this.foldButton, this.followButton),
      h("div", { class: "log-body" }, this.scroller, this.empty));
    this.followButton.addEventListener("click", () => this.follow(!this.#isFollowing));
    this.foldButton.addEventListener("click", () => this.foldAll());
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.rows.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.#measure()).observe(this.scroller);
    this.#showFollowing();
  }

  /** The build has said more, or something else is to be seen. */
  refresh() {
    if (this.#isDue) return;
    this.#isDue = true;
    // Also in a tab that is not seen, where nothing is drawn.
    const draw = () => {
      if (!this.#isDue) return;
      this.#isDue = false;
      this.#draw();
    };
    requestAnimationFrame(draw);
    setTimeout(draw, 250);
  }

  follow(isFollowing) {
    this.#isFollowing = isFollowing;
    this.#showFollowing();
    if (isFollowing) this.#toEnd();
  }

  toggleFollowing() {
    this.follow(!this.#isFollowing);
    announce(this.#isFollowing ? "The log is followed" : "The log is not followed any more");
  }

  /** What is shown as long as nothing was said. */
  explain(text) {
    setText(this.empty, text);
  }

  /** Nothing more will come. */
  close() {
    this.followButton.hidden = true;
    this.explain("This build has said nothing.");
    this.refresh();
  }

  foldAll() {
    const sections = this.#model.sections.filter((section) => section.hasHead && section.lines.length > 0);
    const isOpen = !sections.some((section) => section.isOpen);
    for (const section of sections) section.isOpen = isOpen;
    announce(isOpen ? "All steps unfolded" : "All steps folded");
    this.refresh();
  }

  /** All comes again from the beginning. */
  reset() {
    this.#search.again();
    this.refresh();
  }

  search() {
    this.#search.focus();
  }

  nextHit(by) {
    this.#search.move(by);
  }

  /** Brings a section to the top. */
  show(section) {
    this.follow(false);
    section.isOpen = true;
    this.#layOut();
    this.scroller.scrollTop = this.#topOf(section, -1);
    this.#draw();
    this.#shown.get(`${section.key}:-1`)?.element.firstElementChild.focus({ preventScroll: true });
  }

  /** Goes to the section before or behind the one that is at the top. */
  step(by) {
    const { scrollTop } = this.scroller;
    const heads = this.#model.sections.filter((section) => section.hasHead);
    // Near the end nothing can be brought to the top: then the one that has the focus counts.
    const focused = document.activeElement?.closest("[data-head]")?.dataset.head;
    const from = heads.findIndex((section) => section.key === focused);
    const tops = heads.map((section) => this.#topOf(section, -1));
    const at = from >= 0 ? from + by
      : by > 0 ? tops.findIndex((top) => top > scrollTop + 1) : tops.findLastIndex((top) => top < scrollTop - 1);
    if (heads[at]) this.show(heads[at]);
  }

  #showFollowing() {
    setAttribute(this.followButton, "aria-pressed", String(this.#isFollowing));
  }

  #measure() {
    const style = getComputedStyle(this.scroller);
    this.#line = parseFloat(style.lineHeight) || this.#line;
    this.#headHeight = parseFloat(style.getPropertyValue("--head")) || this.#headHeight;
    this.scroller.style.setProperty("--view", `${this.scroller.clientWidth}px`);
    this.refresh();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (scrollTop < this.#lastTop - 1 && !isAtEnd && this.#isFollowing) {
      this.#isFollowing = false;
      this.#showFollowing();
    } else if (isAtEnd && scrollTop > this.#lastTop && !this.#isFollowing && !this.followButton.hidden) {
      this.#isFollowing = true;
      this.#showFollowing();
    }
    this.#lastTop = scrollTop;
    this.#draw();
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#lastTop = this.scroller.scrollTop;
  }

  #clicked(event) {
    const key = event.target.closest("[data-head]")?.dataset.head;
    const section = key && this.#model.sections.find((one) => one.key === key);
    if (!section || section.lines.length === 0) return;
    section.isOpen = !section.isOpen;
    this.#draw();
  }

  #reveal(section, line) {
    this.#isFollowing = false;
    this.#showFollowing();
    if (line >= 0) section.isOpen = true;
    this.#layOut();
    const top = this.#topOf(section, line);
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop + 2 * this.#line || top > scrollTop + clientHeight - 2 * this.#line) {
      this.scroller.scrollTop = Math.max(0, top - clientHeight / 3);
    }
    this.#draw();
  }

  #headOf(section) {
    return section.hasHead ? this.#headHeight : 0;
  }

  #topOf(section, line) {
    const at = this.#model.sections.indexOf(section);
    return this.#offsets[at] + (line < 0 ? 0 : this.#headOf(section) + line * this.#line);
  }

  #heightOf(section) {
    return this.#headOf(section) + (section.isOpen ? section.lines.length * this.#line : 0);
  }

  #layOut() {
    const { sections } = this.#model;
    this.#offsets.length = sections.length;
    let total = 0;
    for (let at = 0; at < sections.length; at += 1) {
      this.#offsets[at] = total;
      total += this.#heightOf(sections[at]);
    }
    this.#total = total;
    this.spacer.style.height = `${total}px`;
  }

  /** The section that is there. */
  #sectionAt(top) {
    let low = 0;
    let high = this.#offsets.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#offsets[middle] <= top) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #draw() {
    if (!this.element.isConnected || this.scroller.clientHeight === 0) return;
    this.#search.update();
    this.#layOut();
    if (this.#isFollowing) this.#toEnd();
    const { sections, lineCount } = this.#model;
    this.empty.hidden = this.#total > 0;
    setText(this.lines, lineCount > 0 ? count(lineCount, "line", "lines") : "");
    const isAnyOpen = sections.some((section) => section.hasHead && section.isOpen && section.lines.length > 0);
    setText(this.foldButton, isAnyOpen ? "Fold all" : "Unfold all");
    this.foldButton.hidden = !sections.some((section) => section.hasHead && section.lines.length > 0);
    const { scrollTop, clientHeight } = this.scroller;
    const [first, last] = [scrollTop - MARGIN, scrollTop + clientHeight + MARGIN];
    const drawn = new Map();
    const wanted = [];
    let begin = 0;
    for (let at = this.#total > 0 ? this.#sectionAt(first) : 0; at < sections.length && this.#offsets[at] < last; at += 1) {
      const section = sections[at];
      const lines = section.isOpen ? section.lines.length : 0;
      const top = this.#offsets[at] + this.#headOf(section);
      let line = section.hasHead && top > first ? -1 : Math.max(0, Math.floor((first - top) / this.#line));
      if (wanted.length === 0) begin = line < 0 ? this.#offsets[at] : top + line * this.#line;
      for (; line < lines && top + line * this.#line < last; line += 1) {
        const key = `${section.key}:${line}`;
        const stamp = this.#stamp(section, line);
        let known = this.#shown.get(key);
        if (known?.stamp !== stamp) {
          const element = line < 0 ? this.#head(section, known?.element) : this.#row(section, line);
          known = { element, stamp };
        }
        drawn.set(key, known);
        wanted.push(known.element);
      }
    }
    const focused = this.rows.contains(document.activeElement);
    this.rows.style.top = `${begin}px`;
    this.#place(wanted);
    this.#shown = drawn;
    // A head that has gone out of sight takes the focus with it; the keys that scroll must go on to work.
    if (focused && !this.rows.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
    this.#pin(scrollTop);
  }

  /** Puts rows in their order, and moves only what has to be. */
  #place(wanted) {
    const kept = new Set(wanted);
    for (const element of [...this.rows.children]) {
      if (!kept.has(element)) element.remove();
    }
    let at = this.rows.firstElementChild;
    for (const element of wanted) {
      if (element === at) at = at.nextElementSibling;
      else this.rows.insertBefore(element, at);
    }
  }

  /** What decides how a row looks. */
  #stamp(section, line) {
    const search = this.#search.stamp(section, line);
    if (line >= 0) return search;
    const { progress } = section;
    return `${section.state} ${section.isOpen} ${section.lines.length} ${progress?.done}/${progress?.total} ${search}`;
  }

  #head(section, before) {
    const hasLines = section.lines.length > 0;
    const element = before ?? h("div", { class: "log-head", "data-head": section.key, "data-kind": section.kind });
    element.dataset.state = section.state;
    const { progress } = section;
    const facts = [];
    if (section.state === "running") {
      if (progress) facts.push(progress.total ? `${bytes(progress.done)} of ${bytes(progress.total)}` : bytes(progress.done));
    } else {
      if (progress?.done > 0) facts.push(bytes(progress.done));
      facts.push(section.state === "done" ? duration(section.duration) : stateWord(section.state));
    }
    if (hasLines && !section.isOpen) facts.unshift(count(section.lines.length, "line", "lines"));
    // What cannot be folded is nothing to press.
    let row = element.firstElementChild;
    if (!row || hasLines !== (row.localName === "button")) {
      row = hasLines ? h("button", { type: "button", class: "log-row" }) : h("div", { class: "log-row", tabindex: "-1" });
      element.replaceChildren(row);
    }
    row.replaceChildren(
      h("span", { class: "fold", "aria-hidden": "true" }, hasLines ? (section.isOpen ? "▾" : "▸") : ""),
      icon(section.state),
      h("span", { class: "log-name" }, this.#marked([[visible(section.name), PLAIN]], section, -1)),
      h("span", { class: "log-facts number" }, facts.join(" · ")));
    setAttribute(row, "aria-expanded", hasLines ? String(section.isOpen) : null);
    setAttribute(row, "title", visible(section.name));
    return element;
  }

  #row(section, line) {
    const parts = pieces(section.lines[line], section.pens.get(line) ?? PLAIN);
    const text = h("span", { class: "log-text" }, this.#marked(parts, section, line));
    if (!section.hasHead) return h("div", { class: `log-line log-${section.state}` }, text);
    return h("div", { class: "log-line" }, h("span", { class: "log-number", "data-number": line + 1 }), text);
  }

  /** Pieces as elements, with what was searched for marked. */
  #marked(parts, section, line) {
    const hits = this.#search.hits(section, line);
    const made = [];
    let at = 0;
    for (const [text, pen] of parts) {
      let from = 0;
      const put = (end, isHit) => {
        if (end <= from) return;
        const part = text.slice(from, end);
        from = end;
        if (pen === PLAIN && !isHit) {
          made.push(document.createTextNode(part));
          return;
        }
        const element = h(isHit ? "mark" : "span", {}, part);
        if (isHit && isHit.isCurrent) element.classList.add("current");
        look(element, pen);
        made.push(element);
      };
      for (const hit of hits) {
        if (hit.end <= at || hit.begin >= at + text.length) continue;
        put(Math.max(0, hit.begin - at), null);
        put(Math.min(text.length, hit.end - at), hit);
      }
      put(text.length, null);
      at += text.length;
    }
    return made;
  }

  /** The head of what is at the top, when it has gone out of sight. */
  #pin(top) {
    const at = this.#total > 0 ? this.#sectionAt(top) : -1;
    const section = this.#model.sections[at];
    const isNeeded = section?.hasHead && top > this.#offsets[at];
    this.pinned.hidden = !isNeeded;
    if (isNeeded) setText(this.pinned, visible(section.name));
  }
}
