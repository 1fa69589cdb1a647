// What goes on in the service, kept up to date: one request waits at the service for the next change.

import { Refused, get, lost, patience, pause } from "./api.js";

/** At most so often, in milliseconds. */
const BETWEEN = 700;

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
}

async function loop(signal) {
  let failures = 0;
  let known = null;
  while (!signal.aborted) {
    if (document.hidden && known !== null) {
      await shown(signal);
      continue;
    }
    const query = known === null ? "" : `?wait=25s&after=${known}`;
    try {
      const found = await get(`v1/status${query}`, { signal });
      if (signal.aborted) return;
      current = found;
      skew = Date.parse(found.now) - Date.now();
      // A service that is about to end answers at once.
      known = found.is_stopping ? null : found.revision;
      failures = 0;
      for (const listener of listeners) listener(found);
      await pause(found.is_stopping ? 1000 : BETWEEN, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 401) return;
      // What has come back may be another service.
      known = null;
      lost();
      failures += 1;
      await pause(patience(failures), signal);
    }
  }
}

function shown(signal) {
  return new Promise((resolve) => {
    const done = () => {
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done, { once: true });
  });
}
