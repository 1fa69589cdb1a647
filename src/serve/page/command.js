// The command lines that do the same as a request.

import { quoted } from "./text.js";

/** The address of a git context for `cooper build`, with what is wanted of it. */
function gitAddress(git) {
  const query = new URLSearchParams();
  if (git.commit) {
    query.append("commit", git.commit);
    query.append("fetch-by-commit", "true");
  }
  if (git.ref) query.append("ref", git.ref);
  if (git.directory) query.append("subdir", git.directory);
  return query.size > 0 ? `${git.url}?${query}` : git.url;
}

function context(request) {
  if (request.context?.git) return gitAddress(request.context.git);
  return request.context?.artifact ?? ".";
}

/** Pairs of an option and its value, or options alone. */
function image(request) {
  const options = (request.tags ?? []).map((tag) => ["-t", tag]);
  if (request.dockerfile_text !== undefined && request.dockerfile_text !== null) options.push(["-f", "Dockerfile"]);
  else if (request.dockerfile) options.push(["-f", request.dockerfile]);
  for (const [name, value] of Object.entries(request.build_args ?? {})) options.push(["--build-arg", `${name}=${value}`]);
  for (const [name, value] of Object.entries(request.labels ?? {})) options.push(["--label", `${name}=${value}`]);
  if (request.target) options.push([`--target=${request.target}`]);
  for (const platform of request.platforms ?? []) options.push(["--platform", platform]);
  for (const cache of request.cache_from ?? []) options.push(["--cache-from", cache]);
  for (const cache of request.cache_to ?? []) options.push(["--cache-to", cache]);
  if (request.no_cache) options.push(["--no-cache"]);
  return options;
}

function line(words, options, last) {
  const parts = [words.join(" "), ...options.map((option) => option.map(quoted).join(" ")), quoted(last)];
  return parts.join(parts.join(" ").length > 80 ? " \\\n  " : " ");
}

/** Where you are. */
export function localCommand(request) {
  return line(["cooper", "build", "--push"], image(request), context(request));
}

/** Through this service. */
export function remoteCommand(request, remote) {
  const options = [["--remote", remote], ...image(request)];
  for (const name of ["project", "timeout", "memory", "cpus"]) {
    if (request[name]) options.push([`--${name}`, String(request[name])]);
  }
  if (request.priority) options.push([`--priority=${request.priority}`]);
  return line(["cooper", "remote", "build"], options, context(request));
}
