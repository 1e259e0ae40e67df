/** Arguments of tasks and calls: captured at the call, resolved before they are sent. */
import type { NodeKey } from "../../base/ids.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { isRecord, type TaskArg } from "../../core/task-record.ts";
import { holderOf } from "../../objects/index.ts";
import type { Location } from "../../objects/types.ts";
import type { WireArg } from "../../wire/messages.ts";
import { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";

export interface CapturedArgs {
  readonly args: readonly TaskArg[];
  /** Refs inside the values. */
  readonly holds: ObjectRecord[] | null;
  /** Any argument is a record, to be resolved when it is sent. */
  readonly hasRecords: boolean;
}

/** Captures arguments: top-level refs as records, large values as objects of their own, the rest as bytes. */
export function captureArgs(runtime: Runtime, given: readonly unknown[]): CapturedArgs {
  const args: TaskArg[] = new Array(given.length);
  let holds: ObjectRecord[] | null = null;
  let hasRecords = false;
  for (let i = 0; i < given.length; i++) {
    const value = given[i];
    if (ObjectRef.is(value)) {
      args[i] = ObjectRef.recordOf(value, runtime, `send args[${i}]:`);
      hasRecords = true;
      continue;
    }
    if (typeof value === "number" && value !== 0 && !Number.isNaN(value)) {
      args[i] = value; // the commonest argument skips the codec
      continue;
    }
    const encoded = runtime.values.encode(value, `args[${i}]`);
    if (encoded.large === null) {
      args[i] = encoded.value;
      if (encoded.refs !== null) holds = holds === null ? encoded.refs : holds.concat(encoded.refs);
    } else {
      args[i] = runtime.objects.storeArgument(encoded.large, encoded.refs);
      hasRecords = true;
    }
  }
  return { args, holds, hasRecords };
}

/** The arguments as they travel; null when one was lost, or has failed, since the task was queued. */
export function wireArgs(runtime: Runtime, args: readonly TaskArg[]): readonly WireArg[] | null {
  let wire: WireArg[] | null = null;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (!isRecord(arg)) continue;
    if (arg.state !== "stored" && arg.state !== "inline") return null;
    wire ??= args.slice() as WireArg[];
    wire[i] = arg.state === "stored" ? [arg.location as Location, runtime.values.wireRef(arg)] : arg.value;
  }
  return wire ?? (args as readonly WireArg[]);
}

/** Arguments of this many bytes on one node are worth a task's going there. */
const localityBytesMin = 1024 * 1024;

/** The other node that holds more of the stored arguments than any, `self` included; null when that is too little to matter. */
export function argumentsNode(args: readonly TaskArg[], self: NodeKey): NodeKey | null {
  let byNode: Map<NodeKey, number> | null = null;
  for (const arg of args) {
    if (!isRecord(arg) || arg.state !== "stored" || arg.location === null) continue;
    const holder = holderOf(arg.location);
    if (holder === undefined) continue;
    byNode ??= new Map();
    byNode.set(holder, (byNode.get(holder) ?? 0) + arg.location.bytes);
  }
  if (byNode === null) return null;
  let best: NodeKey | null = null;
  let most = Math.max(localityBytesMin - 1, byNode.get(self) ?? 0);
  for (const [node, bytes] of byNode) if (bytes > most) [best, most] = [node, bytes];
  return best;
}
