// A context of one file, as a tar: POSIX.1-1988 headers.

const BLOCK = 512;

/** An archive with this file, as bytes. */
export function archiveOf(name, text) {
  const content = new TextEncoder().encode(text);
  const padded = Math.ceil(content.length / BLOCK) * BLOCK;
  // Two empty blocks end an archive.
  const archive = new Uint8Array(BLOCK + padded + 2 * BLOCK);
  const put = (at, value) => archive.set(new TextEncoder().encode(value), at);
  const octal = (value, digits) => `${value.toString(8).padStart(digits, "0")}\0`;
  put(0, name);
  put(100, octal(0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(content.length, 11));
  put(136, octal(0, 11));
  put(148, "        ");
  put(156, "0");
  put(257, "ustar\u000000");
  const sum = archive.subarray(0, BLOCK).reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  archive.set(content, BLOCK);
  return archive;
}
