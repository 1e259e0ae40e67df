/**
 * Writes the module of a capture. It is plain code that can be read in `code/`:
 *
 *     import * as $import0 from "node:fs";
 *     export const dependencies = [];
 *     export default ($shoal) => {
 *     let limit = 3, helper;
 *     const $f0 = ({ ["load"]: (async (path) => helper(path, limit)) })["load"];
 *     const $f1 = (function helper(path, limit) { ... });
 *     return {
 *     bind($v, $d) { helper = $f1; },
 *     ...
 *
 * Functions are there before their variables have values, so they may refer to each other in any way. A class is evaluated by `define`, after
 * `bind`, since its heritage and static members need values; `late` sets what in turn needs the class.
 */
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Reference } from "./by-reference.ts";
import { computedNames } from "./class-parts.ts";
import type { FreeVariable, FunctionText } from "./free-variables.ts";
import type { Graph } from "./graph.ts";
import { literalOf } from "./literals.ts";
import { isOwnFile } from "./local-files.ts";
import { baseName, type Cell, type Init, type Overlay } from "./module-plan.ts";
import type { FunctionNode } from "./nodes.ts";
import { portableUrl } from "./places.ts";
import { resolveImport, resolveRequire } from "./resolve-specifier.ts";
import { baseUrlOf, pathOfUrl } from "./scripts.ts";
import { isOwn } from "./shared-variables.ts";
import { SourceMapWriter } from "./source-map.ts";
import { standardGlobals } from "./standard-globals.ts";

export interface Emitted {
  /** Names of the program's variables in the module. */
  readonly cellNames: ReadonlyMap<Cell, string>;
  readonly text: string;
  readonly map: SourceMapWriter;
}

const reservedWords =
  `arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for
  function if implements import in instanceof interface let new null package private protected public return static super switch this
  throw true try typeof var void while with yield`.split(/\s+/);

/** A change to a function's text. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export function emit(graph: Graph): Emitted {
  return new Emitter(graph).emit();
}

class Emitter {
  private readonly graph: Graph;
  private readonly lines: string[] = [];
  private line = "";
  private readonly map = new SourceMapWriter();
  private readonly imports = new Map<string, string>();
  /** URLs that are looked up on the node where the module is loaded, with the name of their namespace. */
  private readonly located = new Map<string, string>();
  /** The user's own files that it needs: what names them, and the paths it leads to. */
  private readonly ownFiles = new Map<string, Set<string>>();
  private readonly notes = new Map<string, string>();
  private readonly loaders = new Map<string, string>();
  private readonly cellNames = new Map<Cell, string>();

  constructor(graph: Graph) {
    this.graph = graph;
  }

  emit(): Emitted {
    const { graph } = this;
    this.nameCells();
    const body = this.part(() => this.emitBody());
    const where =
      graph.nodes.length > 0 && graph.nodes[0].text ? (pathOfUrl(graph.nodes[0].script.url) ?? graph.nodes[0].script.url) : "";
    this.newLine(
      `// ${graph.sent.noun} ${graph.sent.name.replaceAll(/[^\w$ .-]/g, "?")}${where && ` of ${where.replaceAll(/[\r\n]/g, "?")}`}`,
    );
    for (const [url, name] of this.imports) this.newLine(`import * as ${name} from ${JSON.stringify(url)};`);
    const dependencies = graph.dependencies.map(({ key, isCyclic, whileDefined }) => ({ key, isCyclic, whileDefined }));
    this.newLine(`export const dependencies = ${JSON.stringify(dependencies)};`);
    if (this.located.size > 0) this.newLine(`export const imports = ${JSON.stringify([...this.located.keys()])};`);
    const bundles = [...this.ownFiles].map(([url, paths]) => [url, graph.bundleOf(url, paths)]);
    if (bundles.length > 0) this.newLine(`export const files = ${JSON.stringify(bundles)};`);
    const namespaces = this.located.size > 0 ? `, [${[...this.located.values()].join(", ")}]` : "";
    this.newLine(`export default ($shoal${namespaces}) => {`);
    for (const [code, name] of this.loaders) this.newLine(`const ${name} = ${code};`);
    this.map.shift(this.lines.length);
    this.lines.push(...body);
    this.newLine("};");
    return { text: `${this.lines.join("\n")}\n`, map: this.map, cellNames: this.cellNames };
  }

  /** Runs `write` on empty lines and gives those, so that what it turns out to need can stand before it. */
  private part(write: () => void): string[] {
    write();
    return this.lines.splice(0, this.lines.length);
  }

  private emitBody(): void {
    const { graph } = this;
    const literals: string[] = [];
    for (const cell of graph.cells) {
      if (cell.link !== null) continue;
      const value = cell.init.kind === "literal" && cell.init.code !== "undefined" ? ` = ${cell.init.code}` : "";
      literals.push(`${this.cellNames.get(cell)}${value}`);
    }
    if (graph.rootIsClass) literals.push("$f0");
    if (graph.cells.some(({ link }) => link !== null)) literals.push("$cells");
    if (literals.length > 0) this.newLine(`let ${literals.join(", ")};`);
    graph.nodes.forEach((node, index) => {
      if (index > 0 || !graph.rootIsClass) this.emitFunction(node, index, `const $f${index} = `, ";");
    });
    this.newLine("return {");
    this.emitSteps(
      "bind",
      (init) => !this.isLate(init) || this.isTriedEarly(init),
      (overlay) => !this.isOverlayLate(overlay),
    );
    if (graph.rootReference !== null) this.newLine(`define() { return ${this.referenceCode(graph.rootReference)}; },`);
    else if (graph.rootIsClass) this.emitFunction(graph.nodes[0], 0, "define($v, $d) { return $f0 = ", "; },");
    else this.newLine("define() { return $f0; },");
    this.emitSteps(
      "late",
      (init) => this.isLate(init),
      (overlay) => this.isOverlayLate(overlay),
    );
    if (graph.rootIsClass) this.emitVariables();
    this.newLine(`table: ($d) => [${graph.table.map((init) => this.code(init)).join(", ")}],`);
    this.newLine(`references: () => [${[...this.notes].map(([code, reference]) => `[${code}, ${reference}]`).join(", ")}],`);
    this.newLine("};");
  }

  private emitSteps(name: string, takesCell: (init: Init) => boolean, takesOverlay: (overlay: Overlay) => boolean): void {
    this.newLine(`${name}($v, $d, $c) {`);
    if (this.graph.cells.some(({ link }) => link !== null)) this.newLine("$cells = $c;");
    for (const cell of this.graph.cells) {
      if (cell.link === null && cell.init.kind !== "literal" && takesCell(cell.init))
        this.newLine(`${this.cellNames.get(cell)} = ${this.code(cell.init)};`);
    }
    this.graph.nodes.forEach(({ boundInits }, index) => {
      if (boundInits.length === 0 || boundInits.some((init) => this.isLate(init)) !== (name === "late")) return;
      this.newLine(`$shoal.setBound($f${index}, [${boundInits.map((init) => this.code(init)).join(", ")}]);`);
    });
    for (const overlay of this.graph.overlays) {
      if (!takesOverlay(overlay)) continue;
      const key = typeof overlay.key === "string" ? JSON.stringify(overlay.key) : this.symbolKey(overlay.key);
      const target = `$f${overlay.node}${overlay.on === "prototype" ? ".prototype" : ""}`;
      if (key !== undefined)
        this.newLine(`$shoal.property(${target}, ${key}, ${this.code(overlay.init)}, ${overlay.enumerable});`);
    }
    this.newLine("},");
  }

  /** The variables of a class's module, for those who share them. */
  private emitVariables(): void {
    const names = this.graph.cells.filter(isOwn).map((cell) => this.cellNames.get(cell)!);
    if (names.length === 0) return;
    this.newLine(
      `variables: { ${names.map((name) => `get ${name}() { return ${name}; }, set ${name}($v) { ${name} = $v; }`).join(", ")} },`,
    );
  }

  private symbolKey(key: symbol): string | undefined {
    const code = key.description?.startsWith("Symbol.") ? key.description : undefined;
    return code ?? (Symbol.keyFor(key) === undefined ? undefined : `Symbol.for(${JSON.stringify(Symbol.keyFor(key))})`);
  }

  /** A value that only exists once the root class is defined. */
  private isLate(init: Init): boolean {
    switch (init.kind) {
      case "value":
        return init.late;
      case "node":
        return init.index === 0 && this.graph.rootIsClass;
      case "dependency":
        return this.graph.dependencies[init.index].isCyclic;
      case "shared":
        return true;
      case "namespace":
        return init.members.some(([, member]) => this.isLate(member));
      default:
        return false;
    }
  }

  /** What is set early and again late: it may be there early, which a static member may need. */
  private isTriedEarly(init: Init): boolean {
    return init.kind === "dependency" || init.kind === "shared";
  }

  private isOverlayLate(overlay: Overlay): boolean {
    return (overlay.node === 0 && this.graph.rootIsClass) || this.isLate(overlay.init);
  }

  private code(init: Init): string {
    switch (init.kind) {
      case "literal":
        return init.code;
      case "node":
        return `$f${init.index}`;
      case "dependency":
        return `$d[${init.index}]`;
      case "value":
        return init.frozen ? `Object.freeze($v[${init.index}])` : `$v[${init.index}]`;
      case "shared":
        return `$c[${init.dependency}].${init.name}`;
      case "reference":
        return this.referenceCode(init.reference);
      case "namespace":
        return `$shoal.namespace([${init.members.map(([name, member]) => `[${JSON.stringify(name)}, ${this.code(member)}]`).join(", ")}])`;
    }
  }

  private referenceCode(reference: Reference): string {
    switch (reference.kind) {
      case "global":
        return reference.code;
      case "import": {
        const url = portableUrl(reference.url);
        const name = this.namespace(url);
        const code = reference.name === "*" ? name : `${name}${memberCode(reference.name)}`;
        if (!url.startsWith("node:")) this.notes.set(code, JSON.stringify({ ...reference, url }));
        return code;
      }
      case "require": {
        this.noteOwnFile(pathToFileURL(reference.path).href);
        const code = `${this.loader(`$shoal.require(${JSON.stringify(reference.path)})`)}${memberCode(reference.name)}`;
        this.notes.set(code, JSON.stringify(reference));
        return code;
      }
      case "meta":
        return this.loader(`$shoal.meta(${JSON.stringify(reference.base)})`);
      case "importer":
        return this.loader(`$shoal.importer(${JSON.stringify(reference.base)})`);
      case "require function":
        return this.loader(`$shoal.requireFunction(${JSON.stringify(reference.base)})`);
    }
  }

  /** Name of what importing the URL gives. Only built-in modules are imported by the module itself: others may be elsewhere on another node. */
  private namespace(url: string): string {
    const names = url.startsWith("node:") ? this.imports : this.located;
    let name = names.get(url);
    if (name === undefined) {
      name = `$import${this.imports.size + this.located.size}`;
      names.set(url, name);
      this.noteOwnFile(url);
    }
    return name;
  }

  private noteOwnFile(url: string): void {
    if (this.graph.shipsFiles && isOwnFile(url)) this.ownFiles.set(url, new Set([fileURLToPath(url.split("?")[0])]));
  }

  /** The files that a function's own `import()` and `require` name. */
  private noteSpecifiers({ script, text }: FunctionNode): void {
    const base = baseUrlOf(script);
    if (!this.graph.shipsFiles || text === null || !base.startsWith("file:")) return;
    for (const specifier of text.specifiers) {
      const url = resolveImport(specifier, base) ?? resolveRequire(specifier, base);
      if (url === undefined || !isOwnFile(url)) continue;
      const paths = this.ownFiles.get(base) ?? new Set();
      this.ownFiles.set(base, paths.add(fileURLToPath(url.split("?")[0])));
    }
  }

  private loader(code: string): string {
    let name = this.loaders.get(code);
    if (name === undefined) {
      name = `$loader${this.loaders.size}`;
      this.loaders.set(code, name);
    }
    return name;
  }

  /** Gives every variable a name: its own where no other variable, global or reserved word has it. */
  private nameCells(): void {
    const identifiers = new Set<string>(["$shoal", "$v", "$d", "$c", "$cells"]);
    for (const { text } of this.graph.nodes) for (const name of text?.identifiers ?? []) identifiers.add(name);
    const taken = new Set<string>([...reservedWords, ...this.graph.globalNames]);
    for (const cell of this.graph.cells) {
      let { name } = cell;
      for (let n = 1; taken.has(name) || standardGlobals.has(name) || isInternal(name); n++) {
        name = `${cell.name.replace(/^\$+/, "")}$${n}`;
        if (identifiers.has(name)) taken.add(name);
      }
      taken.add(name);
      this.cellNames.set(cell, name);
    }
  }

  private emitFunction(node: FunctionNode, index: number, before: string, after: string): void {
    if (node.text === null) {
      this.newLine(`${before}$shoal.bound(${JSON.stringify(node.fn.name)})${after}`);
      return;
    }
    const { text } = node;
    this.noteSpecifiers(node);
    const [open, close] = this.wrapping(node, text);
    this.write(before + open);
    this.writeText(node, text, this.editsOf(text, index, node));
    this.write(close + after);
    this.newLine("");
  }

  /** What goes around a function's text to make it an expression that gives the function its name. */
  private wrapping({ fn }: FunctionNode, text: FunctionText): [open: string, close: string] {
    const name = JSON.stringify(fn.name);
    if (text.shape === "expression") {
      if (text.node.id) return text.node.id.name === fn.name ? ["(", ")"] : ["$shoal.named((", `), ${name})`];
      return fn.name === "" ? ["(0, (", "))"] : [`({ [${name}]: (`, `) })[${name}]`];
    }
    const { key } = text.node.type === "FunctionExpression" ? { key: methodName(fn) } : { key: fn.name };
    const quoted = JSON.stringify(key);
    if (text.shape === "method") return ["$shoal.named(({ ", ` })[${quoted}], ${name})`];
    const part = text.shape === "getter" ? "get" : "set";
    return ["$shoal.accessor({ ", ` }, ${quoted}).${part}`];
  }

  private editsOf(text: FunctionText, index: number, node: FunctionNode): Edit[] {
    const edits: Edit[] = [];
    for (const variable of text.free.values()) this.renameUses(variable, index, edits);
    const heritage = this.graph.bindings[index].get(baseName);
    if (heritage !== undefined) {
      const { start, end } = text.node.superClass;
      edits.push({ start: start - text.offset, end: end - text.offset, text: this.cellNames.get(heritage)! });
    }
    if (text.node.body?.type === "ClassBody") {
      for (const { start, end, key } of computedNames(node.fn, text)) edits.push({ start, end, text: `[${literalOf(key)}]` });
    }
    const base = (kind: "meta" | "importer"): string => this.referenceCode({ kind, base: baseUrlOf(node.script) });
    for (const span of text.importMeta) edits.push({ ...span, text: base("meta") });
    for (const span of text.importCalls) edits.push({ ...span, text: base("importer") });
    if (text.methodKey !== null) edits.push({ ...text.methodKey, text: JSON.stringify(methodName(node.fn)) });
    return outermost(edits);
  }

  private renameUses(variable: FreeVariable, index: number, edits: Edit[]): void {
    const cell = this.graph.bindings[index].get(variable.name);
    if (cell === undefined) return;
    const { link } = cell;
    const name = link === null ? this.cellNames.get(cell)! : `$cells[${link.dependency}].${link.name}`;
    if (name === variable.name) return;
    for (const { start, end, shorthand, callee } of variable.uses) {
      const text = shorthand ? `${variable.name}: ${name}` : callee && link !== null ? `(0, ${name})` : name;
      edits.push({ start, end, text });
    }
  }

  private writeText(node: FunctionNode, { text }: FunctionText, edits: readonly Edit[]): void {
    let at = 0;
    const copy = (end: number): void => {
      while (at < end) {
        const lineEnd = text.indexOf("\n", at);
        const stop = lineEnd < 0 || lineEnd >= end ? end : lineEnd;
        if (stop > at) {
          if (node.start >= 0) this.map.copy(this.lines.length, this.line.length, node.script, node.start + at, stop - at);
          this.line += text.slice(at, stop);
        }
        at = stop;
        if (stop === lineEnd) {
          this.newLine("");
          at++;
        }
      }
    };
    for (const edit of edits) {
      copy(edit.start);
      this.line += edit.text;
      at = edit.end;
    }
    copy(text.length);
  }

  private write(text: string): void {
    this.line += text;
  }

  private newLine(text: string): void {
    this.lines.push(this.line + text);
    this.line = "";
  }
}

/** In order, without those inside of another. */
function outermost(edits: Edit[]): Edit[] {
  edits.sort((a, b) => a.start - b.start || b.end - a.end);
  let end = -1;
  return edits.filter((edit) => {
    if (edit.start < end) return false;
    end = edit.end;
    return true;
  });
}

function methodName(fn: Function): string {
  return fn.name.replace(/^(get|set) /, "");
}

function memberCode(path: string): string {
  if (path === "") return "";
  if (/^[\w$]+(\.[\w$]+)*$/.test(path)) return `.${path}`;
  return `[${JSON.stringify(path)}]`;
}

function isInternal(name: string): boolean {
  return /^\$(shoal|v|d|c|cells|f\d+|import\d+|loader\d+)$/.test(name);
}
