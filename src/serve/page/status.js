// What goes on in the service, kept up to date: one request waits at the service for the next change.

import { Refused, get, lost, patience, pause, whileSeen } from "./api.js";

/** At most so often, in milliseconds. */
const BETWEEN = 700;

/** So often when nobody looks. */
const UNSEEN = 15_000;

let current = null;
let skew = 0;
let listeners = new Set();
let running = null;

/** The last answer of `/v1/status`, if there was one. */
export function status() {
  return current;
}

/** Milliseconds since 1970 by the service's clock. */
export function now() {
  return Date.now() + skew;
}

/** Calls `listener` with every new status. Gives what ends that. */
export function onStatus(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Begins to look; again, if it looks already. */
export function watch() {
  running?.abort();
  running = new AbortController();
  loop(running.signal);
}

export function unwatch() {
  running?.abort();
  running = null;
  current = null;
}

async function loop(signal) {
  let failures = 0;
  let known = null;
  while (!signal.aborted) {
    const seen = whileSeen(signal);
    // A tab that is not seen asks now and then, and keeps no connection: browsers have few of them for one service.
    const query = known === null || document.hidden ? "" : `?wait=25s&after=${known}`;
    try {
      const found = await get(`v1/status${query}`, { signal: query === "" ? signal : seen.signal });
      if (signal.aborted) return;
      current = found;
      skew = Date.parse(found.now) - Date.now();
      // A service that is about to end answers at once.
      known = found.is_stopping ? null : found.revision;
      failures = 0;
      for (const listener of listeners) listener(found);
      if (document.hidden) await pause(UNSEEN, signal, "visibilitychange");
      else await pause(found.is_stopping ? 1000 : BETWEEN, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (seen.signal.aborted && error.name === "AbortError") continue;
      if (error instanceof Refused && error.status === 401) return;
      // What has come back may be another service.
      known = null;
      lost();
      failures += 1;
      await pause(patience(failures), signal);
    } finally {
      seen.done();
    }
  }
}
