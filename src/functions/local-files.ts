/**
 * Finds the user's own files that an import leads to: the file, what it imports in turn, and the `package.json` that says how each is read.
 * Installed packages end the search, as every node has its own.
 *
 * Seen are static imports, re-exports, literal `require` and `import()`, and `new URL("...", import.meta.url)`.
 */
import { readFileSync, statSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isInstalled, isSelfUrl } from "./by-reference.ts";
import { ownPackage } from "./places.ts";
import { resolveImport, resolveRequire } from "./resolve-specifier.ts";
import { parseScript } from "./scripts.ts";

export interface LocalFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface LocalFiles {
  /** The directory that all of them are below. */
  readonly root: string;
  readonly files: readonly LocalFile[];
  /** Packages of the user's own, as in a workspace: name, and directory below the root. */
  readonly links: readonly (readonly [name: string, directory: string])[];
}

/** Bytes and number of the files that travel for one import. Without a bound an import into a data directory would fill the head. At it: an error that names the largest. */
export const localBytesMax = 64 * 1024 * 1024;
export const localFilesMax = 5_000;

/** The limits were exceeded. */
export class TooManyFiles extends Error {}

/** What is reachable from `roots`; `anchor` is a directory that must be within the result's root. */
export function collectLocalFiles(roots: Iterable<string>, anchor: string | null): LocalFiles {
  const collection = new Collection();
  for (const path of roots) collection.add(path);
  return collection.finish(anchor);
}

/** True for a file that a node cannot be expected to have: neither built in, nor installed, nor of this package. */
export function isOwnFile(url: string): boolean {
  return url.startsWith("file:") && !isInstalled(url) && !isSelfUrl(url) && !url.startsWith(ownFilesUrl());
}

function ownFilesUrl(): string {
  return pathToFileURL(join(ownPackage(), "dist/")).href;
}

class Collection {
  private readonly files = new Map<string, LocalFile>();
  private readonly links = new Map<string, string>();
  private bytes = 0;

  add(path: string): void {
    // Grows while it is walked.
    const queue = [path];
    for (const next of queue) {
      const file = this.read(next);
      if (file === null) continue;
      const manifest = nearestManifest(dirname(next));
      if (manifest !== null) this.read(manifest);
      for (const specifier of specifiersOf(next, file.bytes)) {
        const found = this.resolve(specifier, pathToFileURL(next).href);
        if (found !== null) queue.push(found);
      }
    }
  }

  finish(anchor: string | null): LocalFiles {
    const directories = [...this.files.keys()].map(dirname);
    for (const home of this.links.values()) directories.push(home);
    if (anchor !== null) directories.push(anchor);
    const root = commonDirectory(directories);
    const links = [...this.links].map(([name, home]) => [name, relative(root, home)] as const);
    return { root, files: [...this.files.values()], links };
  }

  /** Null for a file that is known, or cannot be read: importing it fails there as it would here. */
  private read(path: string): LocalFile | null {
    if (this.files.has(path)) return null;
    let file: LocalFile;
    try {
      const { size } = statSync(path);
      if (this.bytes + size > localBytesMax) throw this.tooMany({ path, size });
      file = { path, bytes: readFileSync(path) };
    } catch (error) {
      if (error instanceof TooManyFiles) throw error;
      return null;
    }
    this.files.set(path, file);
    this.bytes += file.bytes.length;
    if (this.files.size > localFilesMax) throw this.tooMany({ path, size: file.bytes.length });
    return file;
  }

  private tooMany(last: { path: string; size: number }): TooManyFiles {
    let largest = last;
    for (const { path, bytes } of this.files.values()) if (bytes.length > largest.size) largest = { path, size: bytes.length };
    return new TooManyFiles(
      `the files it imports are more than ${localBytesMax / 1024 / 1024} MiB or ${localFilesMax} files, the largest ${largest.path} of ${largest.size} bytes; give large files by runtimeEnv.workingDir, or read them where every node has them`,
    );
  }

  private resolve({ text, required }: Specifier, base: string): string | null {
    const url = required ? resolveRequire(text, base) : resolveImport(text, base);
    if (url === undefined || !isOwnFile(url)) return null;
    const path = fileURLToPath(url.split("?")[0]);
    if (/^[\w@]/.test(text) && !text.startsWith("file:")) this.noteLink(text, path);
    return path;
  }

  /** A package that is installed by a link into the user's own files. */
  private noteLink(specifier: string, path: string): void {
    const name = /^(@[^/]+\/)?[^/]+/.exec(specifier)![0];
    if (this.links.has(name)) return;
    for (let directory = dirname(path); directory !== dirname(directory); directory = dirname(directory)) {
      const manifest = join(directory, "package.json");
      if (nameIn(manifest) !== name) continue;
      this.links.set(name, directory);
      this.read(manifest);
      return;
    }
  }
}

interface Specifier {
  readonly text: string;
  readonly required: boolean;
}

function specifiersOf(path: string, bytes: Uint8Array): Specifier[] {
  const kind = /\.([cm]?)(js|ts)$/.exec(path)?.[2];
  if (kind === undefined) return [];
  const tree = parseScript(kind === "ts" ? stripTypes(textOf(bytes)) : textOf(bytes));
  const found: Specifier[] = [];
  if (tree !== null) walk(tree, found);
  return found;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** As Node does it that runs TypeScript. Older ones do not import such files, so nobody needs what they import. */
function stripTypes(text: string): string {
  const { stripTypeScriptTypes } = nodeModule as { stripTypeScriptTypes?: (text: string) => string };
  try {
    return stripTypeScriptTypes?.(text) ?? "";
  } catch {
    return "";
  }
}

function walk(node: any, found: Specifier[]): void {
  const specifier = specifierIn(node);
  if (specifier !== null) found.push(specifier);
  for (const key in node) {
    const part = node[key];
    if (typeof part !== "object" || part === null) continue;
    if (Array.isArray(part)) {
      for (const child of part) if (typeof child?.type === "string") walk(child, found);
    } else if (typeof part.type === "string") walk(part, found);
  }
}

function specifierIn(node: any): Specifier | null {
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportNamedDeclaration":
    case "ExportAllDeclaration":
    case "ImportExpression":
      return literal(node.source, false);
    case "CallExpression":
      return node.callee.name === "require" || (node.callee.property?.name === "resolve" && node.callee.object.name === "require")
        ? literal(node.arguments[0], true)
        : null;
    case "NewExpression":
      return node.callee.name === "URL" && node.arguments[1]?.object?.type === "MetaProperty"
        ? literal(node.arguments[0], false)
        : null;
    default:
      return null;
  }
}

function literal(node: any, required: boolean): Specifier | null {
  return typeof node?.value === "string" ? { text: node.value, required } : null;
}

function nearestManifest(directory: string): string | null {
  for (let at = directory; ; at = dirname(at)) {
    const path = join(at, "package.json");
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) return path;
    if (at === dirname(at)) return null;
  }
}

function nameIn(manifest: string): unknown {
  try {
    return JSON.parse(readFileSync(manifest, "utf8")).name;
  } catch {
    return undefined;
  }
}

function commonDirectory(directories: readonly string[]): string {
  let common = directories[0];
  for (const directory of directories) {
    while (directory !== common && !directory.startsWith(common.endsWith("/") ? common : `${common}/`)) common = dirname(common);
  }
  return common;
}
