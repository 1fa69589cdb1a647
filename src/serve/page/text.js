// Text that others have written: as text, with nothing hidden in it.

/** Characters that do something else than being seen: controls, and those that turn the direction of writing. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

/** The same text with what is not seen written out, like `⟨U+202E⟩`. Ends of lines and tabs stay. */
export function visible(text) {
  return String(text ?? "").replace(UNSEEN, (character) => {
    return `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** What terminals take for commands: colours, moves, titles. */
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[ -/]*[0-~])|\u009b[0-?]*[ -/]*[@-~]/g;

const COLOUR = /^\u001b\[([0-9;:]*)m$/;

/** What a line looks like at its beginning: nothing special. */
export const PLAIN = Object.freeze({});

/** A line without commands to terminals, and what is left of it when a program has written over it. */
export function stripped(line) {
  let text = line.includes("\u001b") || line.includes("\u009b") ? line.replace(ESCAPES, "") : line;
  if (text.includes("\r")) {
    const parts = text.split("\r").filter((part) => part !== "");
    text = parts.length > 0 ? parts[parts.length - 1] : "";
  }
  return visible(text);
}

/** How a line looks at its end that began with `pen`. */
export function penAfter(line, pen) {
  if (!line.includes("\u001b[")) return pen;
  for (const [command] of line.matchAll(ESCAPES)) {
    const colour = COLOUR.exec(command);
    if (colour) pen = changed(pen, colour[1]);
  }
  return pen;
}

/** The pieces of a line with how each looks: `[text, pen]`. */
export function pieces(line, pen) {
  const found = [];
  let from = 0;
  const add = (text) => {
    if (text !== "") found.push([text, pen]);
  };
  if (line.includes("\u001b") || line.includes("\u009b")) {
    for (const match of line.matchAll(ESCAPES)) {
      add(line.slice(from, match.index));
      from = match.index + match[0].length;
      const colour = COLOUR.exec(match[0]);
      if (colour) pen = changed(pen, colour[1]);
    }
  }
  add(line.slice(from));
  const all = found.map(([text]) => text).join("");
  if (all.includes("\r")) {
    // Written over: only the last version counts.
    const kept = all.replace(/\r+$/, "");
    let skip = kept.lastIndexOf("\r") + 1;
    let left = kept.length;
    const rest = [];
    for (const [text, look] of found) {
      const end = Math.min(text.length, left);
      if (skip < end) rest.push([text.slice(skip, end), look]);
      skip = Math.max(0, skip - text.length);
      left = Math.max(0, left - text.length);
    }
    return rest.map(([text, look]) => [visible(text), look]);
  }
  return found.map(([text, look]) => [visible(text), look]);
}

/** The pen after the numbers of one command, ECMA-48 SGR. */
function changed(pen, parameters) {
  const numbers = parameters.split(/[;:]/).map((part) => (part === "" ? 0 : Number(part)));
  let next = { ...pen };
  for (let at = 0; at < numbers.length; at += 1) {
    const number = numbers[at];
    if (number === 0) next = {};
    else if (number === 1) next.bold = true;
    else if (number === 2) next.dim = true;
    else if (number === 3) next.italic = true;
    else if (number === 4) next.underline = true;
    else if (number === 7) next.inverse = true;
    else if (number === 9) next.struck = true;
    else if (number === 22) delete next.bold, delete next.dim;
    else if (number === 23) delete next.italic;
    else if (number === 24) delete next.underline;
    else if (number === 27) delete next.inverse;
    else if (number === 29) delete next.struck;
    else if (number >= 30 && number <= 37) next.front = number - 30;
    else if (number >= 90 && number <= 97) next.front = number - 82;
    else if (number >= 40 && number <= 47) next.back = number - 40;
    else if (number >= 100 && number <= 107) next.back = number - 92;
    else if (number === 39) delete next.front;
    else if (number === 49) delete next.back;
    else if (number === 38 || number === 48) {
      const [colour, used] = extended(numbers.slice(at + 1));
      if (colour !== null) next[number === 38 ? "front" : "back"] = colour;
      at += used;
    }
  }
  return Object.keys(next).length === 0 ? PLAIN : next;
}

/** A colour of 256 as 0–15 or a text, or of all as a text; and how many numbers it takes. */
function extended([kind, ...values]) {
  const isByte = (value) => Number.isInteger(value) && value >= 0 && value <= 255;
  if (kind === 5 && isByte(values[0])) {
    const number = values[0];
    if (number < 16) return [number, 2];
    if (number >= 232) {
      const grey = 8 + (number - 232) * 10;
      return [`rgb(${grey} ${grey} ${grey})`, 2];
    }
    const level = (digit) => (digit === 0 ? 0 : 55 + digit * 40);
    const cube = number - 16;
    const [red, green, blue] = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level);
    return [`rgb(${red} ${green} ${blue})`, 2];
  }
  if (kind === 2 && values.slice(0, 3).length === 3 && values.slice(0, 3).every(isByte)) {
    return [`rgb(${values[0]} ${values[1]} ${values[2]})`, 4];
  }
  return [null, kind === 2 ? 4 : 2];
}

/** Gives an element the look of a pen. */
export function look(element, pen) {
  const names = ["bold", "dim", "italic", "underline", "struck", "inverse"].filter((name) => pen[name]);
  for (const name of names) element.classList.add(`pen-${name}`);
  for (const [side, property] of [["front", "color"], ["back", "backgroundColor"]]) {
    const colour = pen[side];
    if (typeof colour === "number") element.classList.add(`${side}-${colour}`);
    else if (colour) element.style[property] = colour;
  }
}

/** A word for a shell. What would act on a terminal when it is pasted is written with escapes. */
export function quoted(word) {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  if (word.search(UNSEEN) < 0) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/['\\]/g, "\\$&").replaceAll("\n", "\\n").replace(UNSEEN, (character) => {
    const code = character.codePointAt(0);
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return `$'${escaped}'`;
}
