// Asking the service, with the token that was typed in.

import { visible } from "./text.js";

const KEY = "cooper-token";

/** What the page is told: `token-wanted` when a token is missing or wrong, `lost` and `found` of the connection. */
export const news = new EventTarget();

let isLost = false;

function tell(name) {
  news.dispatchEvent(new Event(name));
}

function reached() {
  if (isLost) {
    isLost = false;
    tell("found");
  }
}

/** The connection broke off, or cannot be made. */
export function lost() {
  if (!isLost) {
    isLost = true;
    tell("lost");
  }
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

/** The service has answered, and refused: RFC 9457. */
export class Refused extends Error {
  constructor(status, problem) {
    super(visible(problem?.detail ?? `the service answered with the status ${status}`));
    this.status = status;
    this.kind = String(problem?.type ?? "").replace("urn:cooper:problem:", "");
  }
}

/** Nothing can be asked now. */
export class Unreachable extends Error {}

/** An answer that is no refusal. */
export async function ask(path, { headers, ...options } = {}) {
  const sent = new Headers(headers);
  const token = sessionStorage.getItem(KEY);
  if (token !== null) sent.set("Authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers: sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("the service cannot be reached", { cause: error });
  }
  if (response.status === 502 || response.status === 503 || response.status === 504) {
    throw new Unreachable("the service is not ready");
  }
  reached();
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy's words are not for this page.
  }
  if (response.status === 401) tell("token-wanted");
  throw new Refused(response.status, problem);
}

export async function get(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("the answer broke off", { cause: error });
  }
}

/** Waits; ends at once when `signal` says so, or the document tells of `event`. */
export function pause(milliseconds, signal, event) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      if (event) document.removeEventListener(event, done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
    if (event) document.addEventListener(event, done);
  });
}

/** A signal that also ends what nobody looks at any more; `done` is to be called when it is of no use. */
export function whileSeen(signal) {
  const ending = new AbortController();
  const done = () => {
    document.removeEventListener("visibilitychange", check);
    signal.removeEventListener("abort", check);
  };
  const check = () => {
    if (!signal.aborted && !document.hidden) return;
    done();
    ending.abort();
  };
  document.addEventListener("visibilitychange", check);
  signal.addEventListener("abort", check);
  check();
  return { signal: ending.signal, done };
}

/** How long to wait after so many failures in a row. */
export function patience(failures) {
  return Math.min(10_000, 500 * 2 ** Math.min(failures, 6));
}
