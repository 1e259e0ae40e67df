/** One function of a capture: its text, where it is, what it closes over. */
import { SerializationError } from "../base/errors.ts";
import { exportOf, isInstalled, type Reference } from "./by-reference.ts";
import { isNative, textOf } from "./class-parts.ts";
import { type FunctionText, readFunction } from "./free-variables.ts";
import type { Init } from "./graph.ts";
import { type BoundParts, type Inspected, inspectBound, inspectFunction } from "./inspect.ts";
import { baseUrlOf, type Script, scriptOf } from "./scripts.ts";
import { enclosesThis } from "./surroundings.ts";

/** The import through which a function or value was reached: it could travel as that import instead. */
export interface ImportOrigin {
  readonly id: string;
  readonly url: string;
  readonly name: string;
}

export interface FunctionNode {
  readonly fn: Function;
  /** The way from the root, e.g. `load -> helper`. */
  readonly path: string;
  readonly origin: ImportOrigin | null;
  readonly inspected: Inspected;
  /** Null for a bound function, which has parts instead. */
  readonly text: FunctionText | null;
  readonly bound: BoundParts | null;
  boundInits: Init[];
  readonly script: Script;
  /** Offset of the text in the script; -1 when it is not found there. */
  readonly start: number;
}

const nowhere: Inspected = { scriptId: "", line: 0, column: 0, scopes: [] };

/** Reads a function; throws a SerializationError for one that cannot stand alone. */
export function readNode(fn: Function, path: string, rootName: string, origin: ImportOrigin | null): FunctionNode {
  const inspected = inspectFunction(fn);
  if (inspected === undefined) return readBound(fn, path, rootName, origin);
  const source = textOf(fn);
  const script = scriptOf(inspected.scriptId, source, inspected.line, inspected.column);
  if (script.url.startsWith("node:")) throw refusal(path, rootName, "is a function inside Node that no module exports");
  let text: FunctionText;
  try {
    text = readFunction(source);
  } catch (error) {
    throw refusal(
      path,
      rootName,
      `is not legal in strict code, which it becomes: ${(error as Error).message.replace(/ \(\d+:\d+\)$/, "")}`,
    );
  }
  const node = {
    fn,
    path,
    origin,
    inspected,
    text,
    bound: null,
    boundInits: [],
    script,
    start: script.startOf(source, inspected.line, inspected.column),
  };
  refuseWhatIsOutside(node, rootName);
  return node;
}

function readBound(fn: Function, path: string, rootName: string, origin: ImportOrigin | null): FunctionNode {
  const bound = inspectBound(fn);
  if (bound === undefined)
    throw refusal(path, rootName, isNative(fn) ? "is a native function that no module exports" : "cannot be inspected");
  return { fn, path, origin, inspected: nowhere, text: null, bound, boundInits: [], script: noScript, start: -1 };
}

const noScript = { url: "", text: "" } as Script;

/** Where an installed package exports this function, so that it need not travel. */
export function packageExport(node: FunctionNode): Reference | undefined {
  if (node.bound !== null || !isInstalled(baseUrlOf(node.script))) return undefined;
  return exportOf(node.fn, node.script, node.inspected);
}

function refuseWhatIsOutside(node: FunctionNode, rootName: string): void {
  const { text, path } = node;
  if (text === null) return;
  if (text.outerSuper.length > 0) throw refusal(path, rootName, "uses 'super', which belongs to the class or object around it");
  if (text.outerNewTarget.length > 0) throw refusal(path, rootName, "uses 'new.target' of the function around it");
  const member = text.outerPrivate;
  if (member !== null) throw refusal(path, rootName, `uses the private member #${member} of the class around it`);
  if (text.outerThis.length > 0 && enclosesThis(node.script, node.start)) {
    throw refusal(path, rootName, "uses 'this' of the function around it; put what it needs into variables");
  }
}

export function refusal(path: string, rootName: string, reason: string): SerializationError {
  const name = path === rootName ? "it" : `'${path.slice(path.lastIndexOf("-> ") + 3)}'`;
  const way = path === rootName ? "" : ` (${path})`;
  return new SerializationError(`Cannot send function '${rootName}' as ${name} ${reason}${way}`, { path });
}
