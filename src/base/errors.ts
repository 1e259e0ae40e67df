/**
 * The public error classes. Each carries a literal `code`, `retryable`, and read-only typed fields. `instanceof` works across
 * copies of the package and across processes: it looks at a `Symbol.for` brand, not at the constructor's identity.
 */

const brands = Symbol.for("shoal.error.brands");

/** Constructors by class name, for rebuilding an error that arrived from another process. */
const registry = new Map<string, new (message: string, fields?: any) => ShoalError>();

function branded(target: any): void {
  const own = Symbol.for(`shoal.error.${target.name}`);
  const parent: readonly symbol[] = Object.getPrototypeOf(target)[brands] ?? [];
  Object.defineProperty(target, brands, { value: [...parent, own] });
  Object.defineProperty(target, Symbol.hasInstance, {
    value(this: any, other: any): boolean {
      if (typeof other !== "object" || other === null) return false;
      if (this !== target) return Function.prototype[Symbol.hasInstance].call(this, other); // a user's own subclass
      return (other.constructor?.[brands] ?? []).includes(own);
    },
  });
  Object.defineProperty(target.prototype, "name", { value: target.name, configurable: true, writable: true });
  registry.set(target.name, target);
}

/** Finds a public error class by name; `undefined` when there is none. */
export function errorClassByName(name: string): (new (message: string, fields?: any) => ShoalError) | undefined {
  return registry.get(name);
}

/** True for errors of this package, whichever copy made them. */
export function isShoalError(value: unknown): value is ShoalError {
  return value instanceof ShoalError;
}

type Fields<T> = Partial<Omit<T, "name" | "message" | "stack" | "code" | "retryable">> & { cause?: unknown };

/** Base of every error Shoal raises itself. `code` is stable and meant for classification; `retryable` says whether the same call may succeed later. */
export class ShoalError extends Error {
  static {
    branded(this);
  }
  readonly code: string = "SHOAL_ERROR";
  readonly retryable: boolean = false;
  constructor(message: string, fields: { cause?: unknown } & Record<string, unknown> = {}) {
    const { cause, ...rest } = fields;
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, rest);
  }
}

/** User code threw. `cause` is the user's own error; `functionName`, `nodeId`, `pid` say where; `remoteStack` is its stack there. */
export class TaskError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "TASK_FAILED" as const;
  declare readonly functionName: string;
  declare readonly nodeId: string;
  declare readonly pid: number;
  declare readonly remoteStack: string;
  constructor(message: string, fields: Fields<TaskError> = {}) {
    super(message, fields);
  }
}

/** The task was cancelled before or while it ran. */
export class TaskCancelledError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "TASK_CANCELLED" as const;
  declare readonly taskName: string;
  constructor(message: string, fields: Fields<TaskCancelledError> = {}) {
    super(message, fields);
  }
}

/** Base of the errors about an actor; `actorId` and `actorClass` name it. */
export class ActorError extends ShoalError {
  static {
    branded(this);
  }
  declare readonly actorId: string;
  declare readonly actorClass: string;
}

/** Why an actor is gone for good. */
export type ActorDeathReason =
  | "constructor failed"
  | "killed"
  | "exited"
  | "out of restarts"
  | "out of scope"
  | "owner died"
  | "node died"
  | "out of memory"
  | "runtime env failed"
  | "unschedulable";

/** The actor is gone for good; `reason` says why, `cause` holds the constructor's own error if that is the reason. */
export class ActorDiedError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "ACTOR_DIED" as const;
  declare readonly reason: ActorDeathReason;
  constructor(message: string, fields: Fields<ActorDiedError> = {}) {
    super(message, fields);
  }
}

/** The actor is restarting or was cut off while the call was in flight: it may or may not have run. A later call can succeed. */
export class ActorUnavailableError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "ACTOR_UNAVAILABLE" as const;
  override readonly retryable = true;
  constructor(message: string, fields: Fields<ActorUnavailableError> = {}) {
    super(message, fields);
  }
}

/** The name is taken in this namespace. Use `getIfExists`, `getActor` or another name. */
export class ActorAlreadyExistsError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "ACTOR_ALREADY_EXISTS" as const;
  declare readonly actorName: string;
  declare readonly namespace: string;
  constructor(message: string, fields: Fields<ActorAlreadyExistsError> = {}) {
    super(message, fields);
  }
}

/** No actor of that name, from `getActor`. */
export class ActorNotFoundError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "ACTOR_NOT_FOUND" as const;
  declare readonly actorName: string;
  declare readonly namespace: string;
  constructor(message: string, fields: Fields<ActorNotFoundError> = {}) {
    super(message, fields);
  }
}

/** Thrown by `.remote()` itself when the handle already has `maxPendingCalls` calls under way. */
export class PendingCallsLimitExceededError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "PENDING_CALLS_LIMIT" as const;
  override readonly retryable = true;
  declare readonly maxPendingCalls: number;
  constructor(message: string, fields: Fields<PendingCallsLimitExceededError> = {}) {
    super(message, fields);
  }
}

/** The worker process was lost and the task's retries are used up. `exitCode` or `signal` says how it ended. */
export class WorkerCrashedError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code: "WORKER_CRASHED" | "OUT_OF_MEMORY" = "WORKER_CRASHED";
  override readonly retryable = true;
  declare readonly exitCode: number | null;
  declare readonly signal: string | null;
  declare readonly pid: number;
  constructor(message: string, fields: Fields<WorkerCrashedError> = {}) {
    super(message, fields);
  }
}

/** The node was lost and retries are used up; also what a driver gets when its own daemon is gone. */
export class NodeDiedError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "NODE_DIED" as const;
  override readonly retryable = true;
  declare readonly nodeId: string;
  declare readonly reason: string;
  constructor(message: string, fields: Fields<NodeDiedError> = {}) {
    super(message, fields);
  }
}

/** The memory monitor, or the worker's heap limit, ended the process and retries are used up. */
export class OutOfMemoryError extends WorkerCrashedError {
  static {
    branded(this);
  }
  override readonly code = "OUT_OF_MEMORY" as const;
  constructor(message: string, fields: Fields<OutOfMemoryError> = {}) {
    super(message, fields);
  }
}

/** The value is gone; `reason` says why it could not be rebuilt. */
export class ObjectLostError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code: "OBJECT_LOST" | "OWNER_DIED" | "OBJECT_RECONSTRUCTION_FAILED" = "OBJECT_LOST";
  declare readonly objectId: string;
  declare readonly reason: string;
  constructor(message: string, fields: Fields<ObjectLostError> = {}) {
    super(message, fields);
  }
}

/** The process that owned the object is gone, and with it the object. */
export class OwnerDiedError extends ObjectLostError {
  static {
    branded(this);
  }
  override readonly code = "OWNER_DIED" as const;
}

/** A lost object could not be rebuilt from its lineage; `reason` says why. */
export class ObjectReconstructionFailedError extends ObjectLostError {
  static {
    branded(this);
  }
  override readonly code = "OBJECT_RECONSTRUCTION_FAILED" as const;
}

/** Neither shared memory nor the disk fall-back may take the object under the configured limits. */
export class ObjectStoreFullError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "OBJECT_STORE_FULL" as const;
  override readonly retryable = true;
  declare readonly bytesAsked: number;
  constructor(message: string, fields: Fields<ObjectStoreFullError> = {}) {
    super(message, fields);
  }
}

/** The disk behind the object store is full. Nothing already stored is lost. */
export class OutOfDiskError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "OUT_OF_DISK" as const;
  override readonly retryable = true;
  declare readonly path: string;
  declare readonly bytesAsked: number;
  constructor(message: string, fields: Fields<OutOfDiskError> = {}) {
    super(message, fields);
  }
}

/** `get` or `ActorPool`/`Queue` waited longer than `timeoutMs`. The message says what the value waits for. */
export class GetTimeoutError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "GET_TIMEOUT" as const;
  override readonly retryable = true;
  declare readonly timeoutMs: number;
  constructor(message: string, fields: Fields<GetTimeoutError> = {}) {
    super(message, fields);
  }
}

/** The task can never be placed: hard affinity to a node that is not there, or its placement group was removed. */
export class TaskUnschedulableError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "TASK_UNSCHEDULABLE" as const;
  constructor(message: string, fields: Fields<TaskUnschedulableError> = {}) {
    super(message, fields);
  }
}

/** The actor can never be placed: hard affinity to a node that is not there, or its placement group was removed. */
export class ActorUnschedulableError extends ActorError {
  static {
    branded(this);
  }
  override readonly code = "ACTOR_UNSCHEDULABLE" as const;
  constructor(message: string, fields: Fields<ActorUnschedulableError> = {}) {
    super(message, fields);
  }
}

/** The runtime environment of a task or actor could not be set up. `cause` or the message holds the tool's output. */
export class RuntimeEnvSetupError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "RUNTIME_ENV_SETUP" as const;
  constructor(message: string, fields: Fields<RuntimeEnvSetupError> = {}) {
    super(message, fields);
  }
}

/** The cluster could not be reached, refused us, or was lost. */
export class ClusterConnectionError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "CLUSTER_CONNECTION" as const;
  override readonly retryable = true;
  declare readonly address: string;
  constructor(message: string, fields: Fields<ClusterConnectionError> = {}) {
    super(message, fields);
  }
}

/** The peer does not know the cluster's token. */
export class AuthenticationError extends ShoalError {
  static {
    branded(this);
  }
  override readonly code = "AUTHENTICATION" as const;
  constructor(message: string, fields: Fields<AuthenticationError> = {}) {
    super(message, fields);
  }
}

/**
 * A value or function cannot travel. `path` is the way to the part that cannot, e.g. `args[0].db.socket`.
 * Also a `TypeError`, as `structuredClone`'s users expect.
 */
export class SerializationError extends TypeError {
  readonly code = "SERIALIZATION";
  readonly retryable = false;
  declare readonly path: string;
  constructor(message: string, fields: { path?: string; cause?: unknown } = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.path = fields.path ?? "";
  }
}
// Also an instance of ShoalError: single inheritance goes to TypeError, the brand gives the rest.
Object.defineProperty(SerializationError, brands, {
  value: [Symbol.for("shoal.error.ShoalError"), Symbol.for("shoal.error.SerializationError")],
});
Object.defineProperty(SerializationError, Symbol.hasInstance, {
  value: (other: any) => (other?.constructor?.[brands] ?? []).includes(Symbol.for("shoal.error.SerializationError")),
});
Object.defineProperty(SerializationError.prototype, "name", { value: "SerializationError", configurable: true, writable: true });
registry.set("SerializationError", SerializationError as any);
