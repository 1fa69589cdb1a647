// What a build says, as server-sent events. `EventSource` cannot send a token, so this reads them itself.

import { Refused, Unreachable, ask, lost, patience, pause, whileSeen } from "./api.js";

/** Takes a stream apart: pieces of text in, `{event, data}` out. */
class Frames {
  last = null;
  #rest = "";
  #event = "";
  #data = null;
  #id = null;

  take(text) {
    const found = [];
    const all = this.#rest + text;
    let from = 0;
    for (let end = all.indexOf("\n"); end >= 0; end = all.indexOf("\n", from)) {
      const line = all.slice(from, end);
      from = end + 1;
      if (line === "") {
        if (this.#id !== null) this.last = this.#id;
        if (this.#data !== null) found.push({ event: this.#event, data: this.#data });
        this.#event = "";
        this.#data = null;
        this.#id = null;
      } else if (line.startsWith("data: ")) this.#data = this.#data === null ? line.slice(6) : `${this.#data}\n${line.slice(6)}`;
      else if (line.startsWith("id: ")) this.#id = line.slice(4);
      else if (line.startsWith("event: ")) this.#event = line.slice(7);
    }
    this.#rest = all.slice(from);
    return found;
  }

  /** What was half received comes again. */
  reset() {
    this.#rest = this.#event = "";
    this.#data = this.#id = null;
  }
}

/**
 * Reads a build's events to its end, and takes them up where they broke off. `take` gets lists of events; `restart` is
 * called when all comes again from the beginning. Gives the build's last record.
 */
export async function follow(id, { signal, take, restart }) {
  let frames = new Frames();
  let failures = 0;
  while (!signal.aborted) {
    // Browsers have few connections for one service: a tab that is not seen needs none.
    while (document.hidden && !signal.aborted) await pause(60_000, signal, "visibilitychange");
    const seen = whileSeen(signal);
    const before = frames.last;
    try {
      const ended = await once(id, frames, seen.signal, take);
      if (ended) return ended;
    } catch (error) {
      if (signal.aborted) return null;
      if (error instanceof Refused) {
        if (error.kind !== "bad-event-id") throw error;
        frames = new Frames();
        restart();
      } else if (error instanceof Unreachable && !seen.signal.aborted) lost();
      else if (!seen.signal.aborted) throw error;
    } finally {
      seen.done();
    }
    failures = frames.last === before ? failures + 1 : 0;
    frames.reset();
    if (!document.hidden) await pause(patience(failures), signal);
  }
  return null;
}

async function once(id, frames, signal, take) {
  const headers = frames.last === null ? {} : { "Last-Event-ID": frames.last };
  const response = await ask(`v1/builds/${id}/events`, { headers, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  while (true) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw new Unreachable("the events broke off", { cause: error });
    }
    if (part.done) return null;
    const found = frames.take(part.value);
    const events = [];
    for (const { event, data } of found) {
      if (event === "end") {
        take(events);
        return JSON.parse(data);
      }
      try {
        events.push(JSON.parse(data));
      } catch {
        // One that was cut because it was too long.
      }
    }
    if (events.length > 0) take(events);
  }
}
