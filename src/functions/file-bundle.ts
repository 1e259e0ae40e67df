/**
 * The user's own files as one entry of the session's code, named by their content, and what becomes of it on another node.
 *
 * Where each file is at its old path with the same content, as on the node it comes from or on a shared file system, it is used there. Else the
 * files are laid out below `code/files/` as they were, once a node. Around them are links to the directories in which packages are looked
 * for, each one level further out, so that Node's own search finds them in that order:
 *
 *     code/files/<hash>/2/node_modules -> /srv/app/node_modules             the worker's working directory
 *     code/files/<hash>/2/1/node_modules -> .../npm/<hash>/node_modules     runtimeEnv.npm
 *     code/files/<hash>/2/1/own/node_modules/shoal -> this package
 *     code/files/<hash>/2/1/own/lib/load.mjs
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { collectLocalFiles, type LocalFiles } from "./local-files.ts";
import { ownPackage, packageDirectories } from "./places.ts";
import type { CodeStore } from "./types.ts";

/** Loaded when it is needed: most processes never do. */
const zlib = (): typeof import("node:zlib") => createRequire(import.meta.url)("node:zlib");

interface Manifest {
  readonly root: string;
  /** Path below the root, bytes, hash. */
  readonly files: readonly (readonly [path: string, bytes: number, hash: string])[];
  readonly links: LocalFiles["links"];
}

/** Bundles that came from another node, by what they stand for there: captured again here they travel on as they are. */
const foreign = new Map<string, string>();
const collected = new WeakMap<CodeStore, Map<string, string>>();
const keyLength = 32;

/**
 * Key of the bundle of what `paths` lead to, stored in `code`. `url` is what a module names: the one file, or the file whose imports these are
 * (`anchor` is then its directory). Throws TooManyFiles.
 */
export function bundleFor(url: string, paths: Iterable<string>, anchor: string | null, code: CodeStore): string {
  const known = foreign.get(url);
  if (known !== undefined) return known;
  let byContent = collected.get(code);
  if (byContent === undefined) {
    byContent = new Map();
    collected.set(code, byContent);
  }
  const name = [url, ...[...paths].sort()].join("\n");
  let key = byContent.get(name);
  if (key === undefined) {
    key = store(collectLocalFiles(paths, anchor), code);
    byContent.set(name, key);
  }
  return key;
}

/** The same files have the same key, in whatever order they were found. */
function store({ root, files, links }: LocalFiles, code: CodeStore): string {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const manifest: Manifest = {
    root,
    files: sorted.map(({ path, bytes }) => [relative(root, path).split(sep).join("/"), bytes.length, hashOf(bytes)]),
    links,
  };
  const header = Buffer.from(JSON.stringify(manifest));
  const key = hashOf(header);
  if (!code.has(key, ".files")) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(header.length);
    const packed = zlib().gzipSync(Buffer.concat([length, header, ...sorted.map(({ bytes }) => bytes)]), { level: 1 });
    code.write(key, { ".files": packed });
  }
  return key;
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, keyLength);
}

/** Where a bundle's files are for this process. */
export interface PlacedFiles {
  /** The path here of a file that had `path` where the bundle was made. */
  locate(path: string): string;
}

const placed = new WeakMap<CodeStore, Map<string, Promise<PlacedFiles>>>();

/** Makes sure that the files of a bundle are here. `url` is what the module that needs them calls them by. */
export function placeBundle(key: string, url: string, code: CodeStore): Promise<PlacedFiles> {
  let byKey = placed.get(code);
  if (byKey === undefined) {
    byKey = new Map();
    placed.set(code, byKey);
  }
  let placing = byKey.get(key);
  if (placing === undefined) {
    placing = code.fetch(key, ".files").then((path) => place(path, key));
    placing.catch(() => byKey.delete(key));
    byKey.set(key, placing);
  }
  return placing.then((files) => {
    if (files !== inPlace) foreign.set(url, key);
    return files;
  });
}

const inPlace: PlacedFiles = { locate: (path) => path };

function place(bundlePath: string, key: string): PlacedFiles {
  const { manifest, contents } = unpack(bundlePath);
  if (isInPlace(manifest)) return inPlace;
  const searched = packageDirectories(manifest.root);
  const name = hashOf(Buffer.from([key, ownPackage(), ...searched].join("\n")));
  const home = join(dirname(bundlePath), "files", name);
  const levels = searched.map((_, at) => String(searched.length - at));
  const own = join(home, ...levels, "own");
  if (!existsSync(own)) layOut(home, manifest, contents, searched);
  return {
    locate(path) {
      const below = relative(manifest.root, path);
      return below.startsWith("..") ? path : join(own, below);
    },
  };
}

function unpack(bundlePath: string): { manifest: Manifest; contents: readonly Buffer[] } {
  const bytes = zlib().gunzipSync(readFileSync(bundlePath));
  const length = bytes.readUInt32LE(0);
  const manifest = JSON.parse(bytes.toString("utf8", 4, 4 + length)) as Manifest;
  let at = 4 + length;
  const contents = manifest.files.map(([, size]) => {
    at += size;
    return bytes.subarray(at - size, at);
  });
  if (at !== bytes.length) throw new Error(`Cannot read ${bundlePath} as a bundle of files: it is cut off`);
  return { manifest, contents };
}

function isInPlace({ root, files }: Manifest): boolean {
  return files.every(([path, size, hash]) => {
    const here = join(root, path);
    return statSync(here, { throwIfNoEntry: false })?.size === size && hashOf(readFileSync(here)) === hash;
  });
}

/** Whole or not at all: several processes of a node may come at the same time, and the first to be ready wins. */
function layOut(home: string, { files, links }: Manifest, contents: readonly Buffer[], searched: readonly string[]): void {
  const unfinished = `${home}.${process.pid}`;
  rmSync(unfinished, { recursive: true, force: true });
  let directory = unfinished;
  for (let at = searched.length - 1; at >= 0; at--) {
    directory = join(directory, String(at + 1));
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    symlinkSync(searched[at], join(directory, "node_modules"));
  }
  const own = join(directory, "own");
  linkPackage(own, "shoal", ownPackage());
  for (const [name, below] of links) {
    const directory = dirname(join(own, "node_modules", name));
    if (name !== "shoal") linkPackage(own, name, relative(directory, join(own, below)));
  }
  files.forEach(([path], at) => {
    const target = join(own, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    writeFileSync(target, contents[at], { mode: 0o600 });
  });
  try {
    renameSync(unfinished, home);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    if (!existsSync(home)) throw error;
  }
}

function linkPackage(own: string, name: string, target: string): void {
  const link = join(own, "node_modules", name);
  mkdirSync(dirname(link), { recursive: true, mode: 0o700 });
  symlinkSync(target, link);
}
