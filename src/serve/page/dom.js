// Making and changing elements. Texts become text nodes; nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on…` are listeners, `undefined`, `null` and `false` leave an attribute out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing of 16 by 16, for the eye only. */
export function svg(className, ...paths) {
  const element = document.createElementNS(SVG, "svg");
  element.setAttribute("viewBox", "0 0 16 16");
  element.setAttribute("class", className);
  element.setAttribute("aria-hidden", "true");
  for (const data of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    element.append(path);
  }
  return element;
}

/** Changes a text only if it is another one, so that nothing flickers and selections stay. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The same for an attribute; `null` takes it away. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, String(value));
  }
}

/** Replaces what is in an element, unless it is just that already. */
export function setChildren(element, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  const now = [...element.childNodes];
  if (now.length !== wanted.length || now.some((node, index) => node !== wanted[index])) {
    element.replaceChildren(...wanted);
  }
}

/**
 * Children that stand for items. An item that stays keeps its element, and so its focus; `make` gives
 * `{element, show(item)}`.
 */
export class Keyed {
  #parent;
  #make;
  #known = new Map();

  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  show(items, key) {
    const names = new Set(items.map(key));
    // First, so that what stays need not be moved, which would take the focus from it.
    for (const [name, child] of this.#known) {
      if (names.has(name)) continue;
      child.element.remove();
      this.#known.delete(name);
    }
    let at = this.#parent.firstElementChild;
    for (const item of items) {
      const name = key(item);
      let child = this.#known.get(name);
      if (!child) this.#known.set(name, (child = this.#make(item)));
      child.show(item);
      if (child.element === at) at = at.nextElementSibling;
      else this.#parent.insertBefore(child.element, at);
    }
  }
}

/** Something that is heard by those who do not see it. */
export function announce(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  // The same text twice is said twice only if the element was empty in between.
  setTimeout(() => { live.textContent = text; }, 50);
}
