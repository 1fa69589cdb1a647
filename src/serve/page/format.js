// Numbers and times as people read them.

const two = (number) => String(number).padStart(2, "0");

/** Milliseconds: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 04 min`. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined || !Number.isFinite(milliseconds)) return "–";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** Whole seconds of something that goes on. */
export function running(milliseconds) {
  const whole = Math.max(0, Math.floor(milliseconds / 1000));
  return whole < 60 ? `${whole} s` : duration(whole * 1000);
}

export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `1.5 of 6.0 GiB`. */
export function bytesOf(part, whole) {
  const [first, second] = [bytes(part), bytes(whole)];
  const [number, unit] = first.split(" ");
  return `${second.endsWith(` ${unit}`) || part === 0 ? number : first} of ${second}`;
}

export function cpus(millicpus) {
  return String(Math.round(millicpus / 10) / 100);
}

/** How long ago, or how soon. */
export function age(milliseconds) {
  const seconds = Math.round(Math.abs(milliseconds) / 1000);
  const text = seconds < 60 ? `${seconds} s`
    : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86400)} d`;
  if (milliseconds < 0) return `in ${text}`;
  return seconds < 3 ? "now" : `${text} ago`;
}

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function moment(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? String(text) : date.toLocaleString("en-GB", {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
}

/** `registry/team/app:1` as where it is and what it is. */
export function image(name) {
  const slash = name.lastIndexOf("/");
  return { place: name.slice(0, slash + 1), name: name.slice(slash + 1) };
}
