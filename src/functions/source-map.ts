/**
 * Source maps of generated modules: from a line of the module to the line the user wrote. A function's text was often made by a compiler
 * (tsx, vite), whose own map then gives the user's line for each place of the text.
 */
import { readFileSync } from "node:fs";
import { decodeMappings, encodeMappings, type Segment } from "./mappings.ts";
import { baseUrlOf, pathOfUrl, type Script } from "./scripts.ts";

interface Copied {
  line: number;
  readonly column: number;
  readonly script: Script;
  readonly start: number;
  readonly length: number;
}

/** Collects what text was copied where, and writes the map. */
export class SourceMapWriter {
  private readonly copies: Copied[] = [];

  /** `length` characters at `start` of the script stand at that line and column of the module (from zero). */
  copy(line: number, column: number, script: Script, start: number, length: number): void {
    this.copies.push({ line, column, script, start, length });
  }

  /** Lines were put in front. */
  shift(lines: number): void {
    for (const copied of this.copies) copied.line += lines;
  }

  toJson(file: string): string {
    const sources: string[] = [];
    const sourceIndex = new Map<string, number>();
    const lines: Segment[][] = [];
    let verbatim = true;
    for (const { line, column, script, start, length } of this.copies) {
      lines[line] ??= [];
      const segments = lines[line];
      verbatim &&= mapOf(script) === undefined;
      for (const { offset, source, sourceLine, sourceColumn } of originalsOf(script, start, length)) {
        let index = sourceIndex.get(source);
        if (index === undefined) {
          index = sources.length;
          sources.push(source);
          sourceIndex.set(source, index);
        }
        segments.push({ column: column + offset, source: index, sourceLine, sourceColumn });
      }
    }
    return JSON.stringify({ version: 3, file, sources, names: [], mappings: encodeMappings(lines), x_verbatim: verbatim });
  }
}

interface Original {
  readonly offset: number;
  readonly source: string;
  readonly sourceLine: number;
  readonly sourceColumn: number;
}

/** Where a piece of one line of a script comes from. */
function* originalsOf(script: Script, start: number, length: number): Generator<Original> {
  const { line, column } = script.positionOf(start);
  const map = mapOf(script);
  if (map === undefined) {
    yield { offset: 0, source: baseUrlOf(script), sourceLine: line, sourceColumn: column };
    return;
  }
  const segments = map.lines[line + script.startLine] ?? [];
  const shift = line === 0 ? script.startColumn : 0;
  let first = segments.findIndex((segment) => segment.column > column + shift);
  first = first < 0 ? segments.length : first;
  if (first > 0) first--;
  for (let at = first; at < segments.length; at++) {
    const { column: generated, source, sourceLine, sourceColumn } = segments[at];
    const offset = Math.max(0, generated - shift - column);
    if (offset >= length) return;
    yield { offset, source: map.sources[source], sourceLine, sourceColumn };
  }
}

interface ScriptMap {
  readonly sources: readonly string[];
  readonly lines: readonly (readonly Segment[])[];
}

const maps = new WeakMap<Script, ScriptMap | { readonly missing: true }>();

/** The source map a script names, decoded; undefined when there is none that can be read. */
function mapOf(script: Script): ScriptMap | undefined {
  let map = maps.get(script);
  if (map === undefined) {
    map = readMap(script) ?? { missing: true };
    maps.set(script, map);
  }
  return "missing" in map ? undefined : map;
}

function readMap(script: Script): ScriptMap | undefined {
  const { sourceMapUrl } = script;
  if (sourceMapUrl === "") return undefined;
  try {
    const base = baseUrlOf(script);
    const mapUrl = sourceMapUrl.startsWith("data:") ? base : new URL(sourceMapUrl, base).href;
    const json = sourceMapUrl.startsWith("data:") ? decodeDataUrl(sourceMapUrl) : readFileSync(pathOfUrl(mapUrl)!, "utf8");
    const { sources, sourceRoot = "", mappings } = JSON.parse(json);
    return { sources: sources.map((source: string) => locate(sourceRoot + source, mapUrl)), lines: decodeMappings(mappings) };
  } catch {
    return undefined;
  }
}

function locate(source: string, base: string): string {
  try {
    return new URL(source.startsWith("/") ? `file://${source}` : source, base).href;
  } catch {
    return source;
  }
}

function decodeDataUrl(url: string): string {
  const comma = url.indexOf(",");
  const data = url.slice(comma + 1);
  return url.slice(0, comma).endsWith(";base64") ? Buffer.from(data, "base64").toString("utf8") : decodeURIComponent(data);
}
