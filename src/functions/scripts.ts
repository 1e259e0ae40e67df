/**
 * The scripts this process runs: their URL, text, syntax tree and source map, by V8's script id.
 *
 * Only the debugger knows them. Enabling it lists every script, and hashes the text of each the first time (25 ms in a small process), so
 * it is enabled for a moment only, when a function of an unknown script is met. Most programs never need it: the entry script
 * and the modules made by this package are files, and a file is recognised by the function's text standing where V8 says it does.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { inspectorSession, post } from "./inspect.ts";
import { parse } from "./parser.ts";

/** One script. What is read from it is read once, on first use. */
export class Script {
  /** A URL (`file:`, `node:`), or a name like `[eval]`. */
  readonly url: string;
  readonly text: string;
  readonly sourceMapUrl: string;
  /** Where the text begins in V8's count: a wrapper in front of the first line shifts its columns. */
  readonly startLine: number;
  readonly startColumn: number;
  private lineStarts: number[] | undefined;
  private program: { readonly tree: any } | undefined;

  constructor(url: string, text: string, sourceMapUrl: string, startLine = 0, startColumn = 0) {
    this.url = url;
    this.text = text;
    this.sourceMapUrl = sourceMapUrl;
    this.startLine = startLine;
    this.startColumn = startColumn;
  }

  /** The syntax tree, or null when the parser does not accept the text. */
  get tree(): any {
    this.program ??= { tree: parseScript(this.text) };
    return this.program.tree;
  }

  /** Offset in `text` of a position as V8 counts. */
  offsetOf(line: number, column: number): number {
    this.lineStarts ??= startsOfLines(this.text);
    const row = line - this.startLine;
    return (this.lineStarts[row] ?? this.text.length) + column - (row === 0 ? this.startColumn : 0);
  }

  /** Line and column (from zero, within `text`) of an offset. */
  positionOf(offset: number): { line: number; column: number } {
    this.lineStarts ??= startsOfLines(this.text);
    let low = 0;
    let high = this.lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lineStarts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: offset - this.lineStarts[low] };
  }

  /** Where `text` of a function begins whose location V8 gives: V8 points into the function (its parameters, a class's constructor). */
  startOf(functionText: string, line: number, column: number): number {
    return this.text.lastIndexOf(functionText, this.offsetOf(line, column));
  }
}

const scripts = new Map<string, Script>();
/** Files that functions are likely to come from, tried before the debugger is asked. */
const candidates = new Map<string, Script | null>();
let entryNoted = false;

/** Notes a file as a script of this process. */
export function noteScriptFile(path: string): void {
  if (!candidates.has(path)) candidates.set(path, null);
}

/** The script a function is in, if it was met before or is a file noted here: `functionText` stands at that position of it. */
export function knownScript(scriptId: string, functionText: string, line: number, column: number): Script | undefined {
  let script = scripts.get(scriptId);
  if (script === undefined) {
    script = candidateFor(functionText, line, column);
    if (script !== undefined) scripts.set(scriptId, script);
  }
  return script;
}

/** The script of that id. */
export function scriptOf(scriptId: string): Script {
  if (!scripts.has(scriptId)) listScripts();
  const found = scripts.get(scriptId);
  if (found === undefined) throw new Error(`Cannot find the source of a function: there is no script ${scriptId}`);
  return found;
}

/** Asks the debugger for all scripts now, so that the first capture does not have to. Costs some 25 ms the first time. */
export function listScripts(): void {
  const parsed: { scriptId: string; url: string; sourceMapURL?: string; startLine: number; startColumn: number }[] = [];
  const note = (message: { params: any }): void => {
    if (!scripts.has(message.params.scriptId)) parsed.push(message.params);
  };
  const session = inspectorSession();
  session.on("Debugger.scriptParsed", note);
  try {
    post("Debugger.enable");
    for (const { scriptId, url, sourceMapURL = "", startLine, startColumn } of parsed) {
      scripts.set(
        scriptId,
        url.startsWith("node:") ? new Script(url, "", "") : new LazyScript(scriptId, url, sourceMapURL, startLine, startColumn),
      );
    }
  } finally {
    post("Debugger.disable");
    session.off("Debugger.scriptParsed", note);
  }
}

/** A script whose text is asked for when it is needed; most never are. */
class LazyScript extends Script {
  constructor(scriptId: string, url: string, sourceMapUrl: string, startLine: number, startColumn: number) {
    super(url, "", sourceMapUrl, startLine, startColumn);
    let text: string | undefined;
    Object.defineProperty(this, "text", { get: () => (text ??= sourceOf(scriptId)) });
  }
}

function sourceOf(scriptId: string): string {
  post("Debugger.enable", { maxScriptsCacheSize: 0 });
  try {
    return post<{ scriptSource: string }>("Debugger.getScriptSource", { scriptId }).scriptSource;
  } finally {
    post("Debugger.disable");
  }
}

function candidateFor(functionText: string, line: number, column: number): Script | undefined {
  if (!entryNoted) {
    entryNoted = true;
    if (process.argv[1] !== undefined) noteScriptFile(process.argv[1]);
  }
  for (const [path, loaded] of candidates) {
    const script = loaded ?? readScript(path);
    if (script === undefined) candidates.delete(path);
    else {
      candidates.set(path, script);
      const start = script.startOf(functionText, line, column);
      const offset = script.offsetOf(line, column);
      if (start >= 0 && start <= offset && offset < start + functionText.length) return script;
    }
  }
  return undefined;
}

function readScript(path: string): Script | undefined {
  try {
    const text = readFileSync(path, "utf8");
    const mapped = text.slice(text.lastIndexOf("\n//# sourceMappingURL=")).match(/^\n\/\/# sourceMappingURL=(\S+)/);
    return new Script(pathToFileURL(path).href, text, mapped?.[1] ?? "");
  } catch {
    return undefined;
  }
}

/** The syntax tree of a module or script, or null when the parser accepts it as neither. */
export function parseScript(text: string): any {
  const options = {
    ecmaVersion: "latest",
    allowReturnOutsideFunction: true,
    allowAwaitOutsideFunction: true,
    allowHashBang: true,
  } as const;
  for (const sourceType of ["module", "script"] as const) {
    try {
      return parse(text, { ...options, sourceType, checkPrivateFields: false });
    } catch {
      // The other goal may accept it.
    }
  }
  return null;
}

function startsOfLines(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** The user's file a script is, as a URL that specifiers can be resolved against. */
export function baseUrlOf(script: Script): string {
  let base = bases.get(script.url);
  if (base === undefined) {
    base = baseOf(script.url);
    bases.set(script.url, base);
  }
  return base;
}

const bases = new Map<string, string>();

function baseOf(url: string): string {
  if (url.startsWith("file:") || url.startsWith("node:") || url.startsWith("data:")) return url.split("?")[0];
  if (url.startsWith("/") || /^[A-Za-z]:[\\/]/.test(url)) return pathToFileURL(url).href;
  return new URL("[eval]", pathToFileURL(`${process.cwd()}/`)).href;
}

/** The path of the file a URL names, or undefined. */
export function pathOfUrl(url: string): string | undefined {
  return url.startsWith("file:") ? fileURLToPath(url) : undefined;
}
