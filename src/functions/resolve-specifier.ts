/**
 * Resolves an import specifier as Node would for a given file. `import.meta.resolve` cannot: it resolves for the file it stands in.
 * Follows https://nodejs.org/api/esm.html#resolution-algorithm.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const importConditions = new Set(["node", "import", "default", "module-sync", "node-addons"]);

/** URL of what `import specifier` means in the file at `base`; undefined when it cannot be found. */
export function resolveImport(specifier: string, base: string): string | undefined {
  const url = resolveLink(specifier, base);
  if (url === undefined || !url.startsWith("file:")) return url;
  try {
    return pathToFileURL(realpathSync(fileURLToPath(url))).href + new URL(url).search;
  } catch {
    return url;
  }
}

function resolveLink(specifier: string, base: string): string | undefined {
  if (isBuiltin(specifier)) return specifier.startsWith("node:") ? specifier : `node:${specifier}`;
  if (/^(file|data|https?):/.test(specifier)) return specifier;
  if (/^\.{0,2}\//.test(specifier)) return resolveFile(specifier, base);
  if (!base.startsWith("file:")) return undefined;
  return specifier.startsWith("#") ? resolveInternal(specifier, base) : resolvePackage(specifier, base);
}

/** File of what `require(specifier)` means in the file at `base`, as a URL. */
export function resolveRequire(specifier: string, base: string): string | undefined {
  if (isBuiltin(specifier)) return resolveImport(specifier, base);
  if (!base.startsWith("file:")) return undefined;
  try {
    return pathToFileURL(createRequire(base).resolve(specifier)).href;
  } catch {
    return resolveFile(specifier, base);
  }
}

/** Bundlers write paths from their root (`/src/a.ts`), or after `/@fs`; compilers leave `.js` where the file is `.ts`. */
function resolveFile(specifier: string, base: string): string | undefined {
  const [bare] = specifier.split("?");
  for (const url of fileGuesses(bare, base)) {
    const path = fileURLToPath(url);
    for (const file of [
      path,
      path.replace(/\.([cm]?)js$/, ".$1ts"),
      `${path}.ts`,
      `${path}.js`,
      join(path, "index.ts"),
      join(path, "index.js"),
    ]) {
      if (isFile(file)) return pathToFileURL(file).href;
    }
  }
  return undefined;
}

function* fileGuesses(specifier: string, base: string): Generator<URL> {
  if (specifier.startsWith("/@fs/")) yield pathToFileURL(specifier.slice("/@fs".length));
  if (!base.startsWith("file:")) return;
  yield new URL(specifier, base);
  if (!specifier.startsWith("/")) return;
  for (let directory = dirname(fileURLToPath(base)); ; directory = dirname(directory)) {
    yield pathToFileURL(join(directory, specifier));
    if (directory === dirname(directory)) return;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

let preferred: string | null = null;

/** Packages in this `node_modules` go before those beside the importing file: what a runtime env installed. */
export function preferPackagesIn(nodeModules: string): void {
  preferred = nodeModules;
}

/** That `node_modules`, when there is one. */
export function preferredPackages(): string | null {
  return preferred;
}

function resolvePackage(specifier: string, base: string): string | undefined {
  const match = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(specifier);
  if (match === null) return undefined;
  const [, name, rest = ""] = match;
  if (preferred !== null) {
    const home = join(preferred, name);
    const manifest = readManifest(home);
    if (manifest !== undefined) return resolveInPackage(home, manifest, rest);
  }
  for (let directory = dirname(fileURLToPath(base)); ; directory = dirname(directory)) {
    const own = readManifest(directory);
    if (own?.name === name && own.exports !== undefined) return resolveExports(own, `.${rest}`, directory);
    const home = join(directory, "node_modules", name);
    const manifest = readManifest(home);
    if (manifest !== undefined || existsSync(home)) return resolveInPackage(home, manifest ?? {}, rest);
    if (directory === dirname(directory)) return undefined;
  }
}

function resolveInPackage(home: string, manifest: any, rest: string): string | undefined {
  if (manifest.exports !== undefined && manifest.exports !== null) return resolveExports(manifest, `.${rest}`, home);
  if (rest !== "") {
    const path = join(home, rest);
    return isFile(path) ? pathToFileURL(path).href : undefined;
  }
  const main = typeof manifest.main === "string" ? manifest.main : "index.js";
  for (const guess of [main, `${main}.js`, `${main}.json`, join(main, "index.js"), "index.js"]) {
    if (isFile(join(home, guess))) return pathToFileURL(join(home, guess)).href;
  }
  return undefined;
}

function resolveExports(manifest: any, subpath: string, home: string): string | undefined {
  const { exports } = manifest;
  const isMap = typeof exports === "object" && !Array.isArray(exports) && Object.keys(exports).some((key) => key.startsWith("."));
  return matchTarget(isMap ? exports : { ".": exports }, subpath, home);
}

function resolveInternal(specifier: string, base: string): string | undefined {
  for (let directory = dirname(fileURLToPath(base)); ; directory = dirname(directory)) {
    const manifest = readManifest(directory);
    if (manifest !== undefined)
      return manifest.imports === undefined ? undefined : matchTarget(manifest.imports, specifier, directory);
    if (directory === dirname(directory)) return undefined;
  }
}

/** Picks the entry of an `exports` or `imports` map for `key`; of patterns the one with the longest prefix. */
function matchTarget(map: Record<string, unknown>, key: string, home: string): string | undefined {
  if (key in map && !key.includes("*")) return target(map[key], "", home);
  let best: string | undefined;
  for (const pattern of Object.keys(map)) {
    const [prefix, suffix] = pattern.split("*");
    if (suffix === undefined || !key.startsWith(prefix) || !key.endsWith(suffix) || key.length < pattern.length) continue;
    if (best === undefined || prefix.length > best.indexOf("*")) best = pattern;
  }
  if (best === undefined) return undefined;
  const [prefix, suffix] = best.split("*");
  return target(map[best], key.slice(prefix.length, key.length - suffix.length), home);
}

function target(value: unknown, star: string, home: string): string | undefined {
  if (typeof value === "string") {
    const replaced = value.replaceAll("*", star);
    if (replaced.startsWith("./")) return pathToFileURL(join(home, replaced)).href;
    return resolveImport(replaced, pathToFileURL(join(home, "package.json")).href);
  }
  if (Array.isArray(value)) {
    for (const item of value) {
      const found = target(item, star, home);
      if (found !== undefined) return found;
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [condition, item] of Object.entries(value)) {
      if (!importConditions.has(condition)) continue;
      const found = target(item, star, home);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

const manifests = new Map<string, any>();

function readManifest(directory: string): any {
  if (manifests.has(directory)) return manifests.get(directory);
  let manifest: any;
  try {
    manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  } catch {
    manifest = undefined;
  }
  manifests.set(directory, manifest);
  return manifest;
}
