/** One function of a capture: its text, where it is, what it closes over. */
import { exportOf, isInstalled, type Reference, referenceToInternal } from "./by-reference.ts";
import { computedNames, isNative, textOf } from "./class-parts.ts";
import { type ImportOrigin, refusal, type Sent } from "./failures.ts";
import { type FunctionText, readFunction } from "./free-variables.ts";
import { type BoundParts, type Inspected, inspectBound, inspectFunction } from "./inspect.ts";
import type { Init } from "./module-plan.ts";
import { knownScript, type Script, scriptOf } from "./scripts.ts";
import { enclosesThis } from "./surroundings.ts";

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

/** Reads a function, or says where every process finds it; throws a SerializationError for one that cannot stand alone. */
export function readFunctionNode(fn: Function, path: string, sent: Sent, origin: ImportOrigin | null): FunctionNode | Reference {
  const inspected = inspectFunction(fn);
  if (inspected === undefined) return referenceToInternal(fn) ?? readBound(fn, path, sent, origin);
  const source = textOf(fn);
  const { scriptId, line, column } = inspected;
  let script = knownScript(scriptId, source, line, column);
  if (script === undefined) {
    // Cheaper than to list all scripts.
    const internal = referenceToInternal(fn);
    if (internal !== undefined) return internal;
    script = scriptOf(scriptId);
  }
  if (script.url.startsWith("node:")) {
    const internal = referenceToInternal(fn);
    if (internal === undefined) throw refusal(sent, path, "is a function inside Node that no module exports");
    return internal;
  }
  if (isInstalled(script.url)) {
    const reference = exportOf(fn, script, inspected);
    if (reference !== undefined) return reference;
  }
  let text: FunctionText;
  try {
    text = readFunction(source);
  } catch (error) {
    throw refusal(
      sent,
      path,
      `is not legal in strict code, which it becomes: ${(error as Error).message.replace(/ \(\d+:\d+\)$/, "")}`,
    );
  }
  const node: FunctionNode = {
    fn,
    path,
    origin,
    inspected,
    text,
    bound: null,
    boundInits: [],
    script,
    start: script.startOf(source, line, column),
  };
  refuseWhatIsOutside(node, sent);
  return node;
}

function readBound(fn: Function, path: string, sent: Sent, origin: ImportOrigin | null): FunctionNode {
  const bound = inspectBound(fn);
  if (bound === undefined)
    throw refusal(sent, path, isNative(fn) ? "is a native function that no module exports" : "cannot be inspected");
  return { fn, path, origin, inspected: nowhere, text: null, bound, boundInits: [], script: noScript, start: -1 };
}

const noScript = { url: "", text: "" } as Script;

function refuseWhatIsOutside(node: FunctionNode, sent: Sent): void {
  const { text, path } = node;
  if (text === null) return;
  if (text.outerSuper.length > 0) throw refusal(sent, path, "uses 'super', which belongs to the class or object around it");
  if (text.node.body?.type === "ClassBody" && computedNames(node.fn, text).some(({ key }) => key === null)) {
    throw refusal(sent, path, "has a method with a computed name that is not in the class any more");
  }
  const member = text.outerPrivate;
  if (member !== null) throw refusal(sent, path, `uses the private member #${member} of the class around it`);
  if (text.outerThis.length > 0 && enclosesThis(node.script, node.start)) {
    throw refusal(sent, path, "uses 'this' of the function around it; put what it needs into variables");
  }
}
