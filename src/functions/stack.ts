/**
 * Stack traces as the user's program would show them: frames of generated modules become the user's file, line and column, and
 * frames of the runtime around them are left out.
 */
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { fileURLToPath } from "node:url";

/** `at name (place)`, `at async name (place)` or `at place`, with the place's line and column. */
const frame = /^(\s+at (?:async )?)(?:(.*?) \()?((?:file:\/\/)?[^()\s][^()]*?):(\d+):(\d+)\)?$/;
const generated = /[\\/][0-9a-f]{32}\.mjs$/;

const maps = new Map<string, SourceMap | null>();
const mapsMax = 200;

/**
 * Maps the frames of `stack` that lie in generated modules. Frames after the last of them belong to the runtime that called the function, and
 * are dropped; without such a frame the stack stays as it is.
 */
export function mapStack(stack: string): string {
  const lines = stack.split("\n");
  let last = -1;
  const mapped = lines.map((line, at) => {
    const user = mapFrame(line);
    if (user === undefined) return line;
    last = at;
    return user;
  });
  return last < 0 ? stack : mapped.filter((line, at) => at <= last || !/^\s+at /.test(line)).join("\n");
}

function mapFrame(line: string): string | undefined {
  const match = frame.exec(line);
  if (match === null || !generated.test(match[3])) return undefined;
  const [, prefix, name, place, lineNumber, column] = match;
  const path = place.startsWith("file:") ? fileURLToPath(place) : place;
  const original = mapFor(path)?.findEntry(Number(lineNumber) - 1, Number(column) - 1) as
    | {
        originalSource?: string;
        originalLine?: number;
        originalColumn?: number;
        generatedLine?: number;
        generatedColumn?: number;
      }
    | undefined;
  if (original?.originalSource === undefined || original.generatedLine !== Number(lineNumber) - 1) return undefined;
  const beyond = isVerbatim(path) ? Number(column) - 1 - (original.generatedColumn ?? 0) : 0;
  const source = original.originalSource.startsWith("file:") ? fileURLToPath(original.originalSource) : original.originalSource;
  const where = `${source}:${(original.originalLine ?? 0) + 1}:${(original.originalColumn ?? 0) + 1 + beyond}`;
  return name === undefined || /^\$f\d+$/.test(name) ? `${prefix}${where}` : `${prefix}${cleanName(name)} (${where})`;
}

/** `Object.load` where the function was the value of a property only to get its name. */
function cleanName(name: string): string {
  return name.replace(/^Object\./, "").replace(/^\$shoal\.|^Module\./, "");
}

/** Maps of text that no compiler changed have one segment a line and count columns on from there. */
function isVerbatim(path: string): boolean {
  return verbatim.has(path);
}
const verbatim = new Set<string>();

function mapFor(path: string): SourceMap | null {
  let map = maps.get(path);
  if (map === undefined) {
    if (maps.size >= mapsMax) maps.clear();
    map = readMap(path);
    maps.set(path, map);
  }
  return map;
}

function readMap(path: string): SourceMap | null {
  try {
    const payload = JSON.parse(readFileSync(`${path}.map`, "utf8"));
    if (payload.x_verbatim) verbatim.add(path);
    return new SourceMap(payload);
  } catch {
    return null;
  }
}
