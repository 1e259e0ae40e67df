/**
 * Checks what processes send before anything acts on it. They run users' code, so a message may be anything; what passes here has the
 * shape the machines in core/ take for granted. Returns what is wrong, for the one line that is logged when the connection is closed.
 */
import { Kind } from "../../wire/index.ts";
import { amountsEnd, bundlesMax, heldObjectsMax, idLengthMax, nameLengthMax, namesMax } from "../../wire/limits.ts";

/** Leases one Demand may ask for. */
const wantedMax = 1_000_000;
/** Objects freed with one message. */
const locationsMax = 10_000;
/** Owners asked at once, all on one node. */
const ownersMax = 100_000;
/** Task events in one message. */
const eventsMax = 100_000;

type Check = (value: any) => boolean;

const text: Check = (value) => typeof value === "string";
const name: Check = (value) => typeof value === "string" && value.length <= nameLengthMax;
const id: Check = (value) => typeof value === "string" && value.length > 0 && value.length <= idLengthMax;
const integer: Check = (value) => Number.isSafeInteger(value);
const natural: Check = (value) => Number.isSafeInteger(value) && value >= 0;
const flag: Check = (value) => typeof value === "boolean";
const anything: Check = () => true;
const record: Check = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || value === undefined || check(value);
const mapOf =
  (check: Check): Check =>
  (value) => {
    if (!record(value)) return false;
    const entries = Object.entries(value);
    return entries.length <= namesMax && entries.every(([key, item]) => name(key) && check(item));
  };
const listOf =
  (check: Check, max: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= max && value.every(check);
const shape =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    record(value) && Object.entries(fields).every(([key, check]) => check(value[key]));

const resources = mapOf((amount) => typeof amount === "number" && amount >= 0 && amount < amountsEnd);
const runtimeEnv = orNull(
  shape({
    workingDir: orNull(text),
    envVars: orNull(mapOf(text)),
    npm: orNull(listOf(name, namesMax)),
    excludes: orNull(listOf(text, namesMax)),
    setupTimeoutMs: orNull((ms) => typeof ms === "number" && ms >= 0),
  }),
);
const strategy: Check = (value) => {
  if (!record(value)) return false;
  if (value.kind === "node") return id(value.nodeId) && flag(value.soft);
  if (value.kind === "group") return id(value.groupId) && integer(value.bundleIndex);
  return value.kind === "default" || value.kind === "spread";
};
const scheduling = shape({
  resources,
  strategy,
  labelSelector: mapOf(text),
  runtimeEnv,
  label: text,
  retriable: orNull(flag),
  prefer: orNull(id),
});
const location = shape({ name, offset: natural, bytes: natural });
const heldObject = shape({ index: natural, location, only: flag, replaceable: flag });
const taskEvent = shape({ taskId: name, startMs: Number.isFinite, endMs: Number.isFinite });

/** Checks of a message's fields after its kind. */
const messages: Readonly<Record<number, readonly Check[]>> = {
  [Kind.DefineClass]: [natural, scheduling],
  [Kind.Demand]: [natural, (wanted) => natural(wanted) && wanted <= wantedMax, natural, orNull(flag)],
  [Kind.ReturnLease]: [natural],
  [Kind.Blocked]: [integer],
  [Kind.Unblocked]: [integer],
  [Kind.StorePressure]: [],
  [Kind.Events]: [listOf(taskEvent, eventsMax)],
  [Kind.EventsFlushed]: [natural],
  [Kind.Retiring]: [],
  [Kind.ActorReady]: [id, natural, anything, orNull(text)],
  [Kind.ActorExiting]: [id, natural],
  [Kind.StayAlive]: [],
  [Kind.Progress]: [anything],
  [Kind.FreeCopies]: [listOf(location, locationsMax)],
  [Kind.Held]: [natural, listOf(heldObject, heldObjectsMax)],
  [Kind.Request]: [natural, name, anything],
};

const actorId = shape({ actorId: id });
const groupId = shape({ groupId: id });
const key = shape({ namespace: name, key: name });

/** Keys and suffixes become names of files. */
const codeKey: Check = (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
const codeFiles: Check = (value) =>
  record(value) &&
  Object.keys(value).length > 0 &&
  Object.entries(value).every(
    ([suffix, content]) =>
      [".mjs", ".mjs.map", ".env", ".files"].includes(suffix) && (text(content) || content instanceof Uint8Array),
  );

/** Checks of the parameters of those requests that reach a machine or a table. Others take any record. */
const requests: Readonly<Record<string, Check>> = {
  createActor: shape({
    actorId: id,
    className: text,
    name: orNull(name),
    namespace: name,
    getIfExists: flag,
    detached: flag,
    maxRestarts: (count) => integer(count) && count >= -1,
    jobId: id,
    ownerId: id,
    placement: scheduling,
    lifetimeResources: resources,
  }),
  getActor: shape({ name, namespace: name }),
  subscribeActor: shape({ actorId: id, byName: orNull(shape({ name, namespace: name })) }),
  killActor: shape({ actorId: id, noRestart: flag }),
  actorOutOfScope: actorId,
  createPlacementGroup: shape({
    groupId: id,
    bundles: (bundles) => listOf(resources, bundlesMax)(bundles) && bundles.length > 0,
    strategy: (value) => ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"].includes(value),
    name: orNull(name),
    detached: flag,
    jobId: id,
  }),
  removePlacementGroup: groupId,
  waitPlacementGroup: groupId,
  drainNode: shape({ nodeId: id, reason: text }),
  killWorker: shape({ workerId: id, reason: text }),
  pull: shape({ location, owner: id, index: natural }),
  takeOver: shape({ location, owner: id, index: natural }),
  heldObjects: shape({ owners: listOf(id, ownersMax), node: id, leaving: listOf(id, namesMax) }),
  kvPut: key,
  kvGet: key,
  kvDel: key,
  kvKeys: shape({ namespace: name }),
  listLogs: shape({ nodeId: orNull(id) }),
  readLog: shape({ nodeId: id, file: name, from: natural, bytes: natural }),
  putCode: shape({ key: codeKey, files: codeFiles }),
  getCode: shape({ key: codeKey }),
  fetchCode: shape({ key: codeKey }),
  packDirectory: shape({ jobId: id, path: text, excludes: listOf(text, namesMax) }),
  readPack: shape({ hash: codeKey, offset: natural, bytes: natural }),
};

/** Null when the message may be acted on, else what is wrong with it. */
export function faultOfMessage(message: readonly unknown[]): string | null {
  const checks = messages[message[0] as number];
  if (checks === undefined) return `Cannot understand message of kind ${message[0]}`;
  const wrong = checks.findIndex((check, i) => !check(message[i + 1]));
  return wrong < 0 ? null : `Cannot read field ${wrong + 1} of message of kind ${message[0]}: ${describe(message[wrong + 1])}`;
}

/** Null when the parameters may be acted on, else what is wrong. */
export function faultOfRequest(method: string, params: unknown): string | null {
  const check = Object.hasOwn(requests, method) ? requests[method] : record;
  return check(params) ? null : `Cannot read the parameters of request '${method}': ${describe(params)}`;
}

export const isHello = shape({
  version: integer,
  id,
  pid: natural,
  role: (role) => ["driver", "worker", "tool"].includes(role),
  jobId: name,
  namespace: name,
  address: text,
  runtimeEnv,
  remote: orNull(flag),
  job: orNull(shape({ namespace: name, runtimeEnv, driverCwd: text, driverNode: id })),
});

function describe(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 200);
  } catch {
    return typeof value;
  }
}
