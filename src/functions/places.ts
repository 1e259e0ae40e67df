/**
 * Where on this node is what a module refers to by its place on another: files of installed packages, this package, and the file whose
 * `import()` and `require` a function uses.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isInstalled, isSelfUrl } from "./by-reference.ts";
import { preferredPackages, resolveImport } from "./resolve-specifier.ts";

/** This package's own entries travel as their name: every node has them in a place of its own. */
const selfScheme = "shoal:";

/** How an import is written into a module. */
export function portableUrl(url: string): string {
  return isSelfUrl(url) ? selfScheme + basename(new URL(url).pathname) : url;
}

let home: string | null = null;

/** The directory of this package. */
export function ownPackage(): string {
  if (home === null) {
    home = dirname(fileURLToPath(import.meta.url));
    while (!existsSync(join(home, "package.json")) && home !== dirname(home)) home = dirname(home);
  }
  return home;
}

/** The `node_modules` in which packages are looked for, in order: the runtime env's, those where the importing files were, the working directory's, this package's. */
export function packageDirectories(original: string | null): string[] {
  const found = new Set<string>();
  const preferred = preferredPackages();
  if (preferred !== null && existsSync(preferred)) found.add(preferred);
  for (const start of [original, process.cwd(), ownPackage()]) if (start !== null) addAbove(start, found);
  return [...found];
}

function addAbove(start: string, found: Set<string>): void {
  for (let directory = start; ; directory = dirname(directory)) {
    const packages = basename(directory) === "node_modules" ? directory : join(directory, "node_modules");
    if (existsSync(packages)) found.add(packages);
    if (directory === dirname(directory)) return;
  }
}

/** The URL to import here for `url`, which was resolved by the process that captured. Throws when it is not on this node. */
export function locateImport(url: string): string {
  if (url.startsWith(selfScheme)) return pathToFileURL(join(ownPackage(), "dist", url.slice(selfScheme.length))).href;
  if (!url.startsWith("file:")) return url;
  const { search } = new URL(url);
  const path = fileURLToPath(url);
  const here = locateFile(path);
  return here === path ? url : pathToFileURL(here).href + search;
}

/** The path here of a file of an installed package; the path itself when it is there. */
export function locateFile(path: string): string {
  if (existsSync(path)) return path;
  if (!isInstalled(path)) throw new Error(`Cannot import ${path} as there is no such file on this node`);
  const inPackages = path.slice(path.lastIndexOf("node_modules") + "node_modules/".length);
  const searched = packageDirectories(null);
  for (const directory of searched) {
    const here = join(directory, inPackages);
    if (existsSync(here)) return here;
  }
  const name = /^(@[^/]+\/)?[^/]+/.exec(inPackages)?.[0] ?? inPackages;
  const other = searched.find((directory) => existsSync(join(directory, name)));
  throw new Error(
    other === undefined
      ? `Cannot import ${path} as package '${name}' is not on this node: name it in runtimeEnv.npm, or install it in ${process.cwd()}`
      : `Cannot import ${path} as package '${name}' of this node, in ${join(other, name)}, has no such file: install the same version`,
  );
}

/** The file in whose place `import()` and `require` are resolved: the user's own when its directory is here, else one in the working directory. */
export function locateBase(base: string): string {
  if (!base.startsWith("file:") || existsSync(dirname(fileURLToPath(base)))) return base;
  return pathToFileURL(join(process.cwd(), basename(fileURLToPath(base)))).href;
}

/** What `import(specifier)` in `base` means here. A package that is not beside the file may be beside the worker. */
export function resolveHere(specifier: string, base: string): string {
  const here = locateBase(base);
  for (const from of [
    here,
    pathToFileURL(join(process.cwd(), "any.js")).href,
    pathToFileURL(join(ownPackage(), "any.js")).href,
  ]) {
    const url = resolveImport(specifier, from);
    if (url !== undefined) return url;
    if (/^\.{0,2}\//.test(specifier)) break; // a file, which is where it is or nowhere
  }
  return specifier;
}

/** `require` as in `base`. */
export function requireIn(base: string): NodeJS.Require {
  return createRequire(locateBase(base));
}
