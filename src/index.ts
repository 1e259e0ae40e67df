/**
 * Shoal: remote functions, actors and an object store whose arrays every process on a machine reads without a copy.
 *
 * Importing this starts nothing; `init()`, or the first verb, does.
 *
 * @example
 * import * as shoal from "shoal";
 *
 * const square = shoal.remote((x: number) => x * x);
 * await shoal.init();
 * console.log(await shoal.get([0, 1, 2, 3].map((i) => square.remote(i)))); // [ 0, 1, 4, 9 ]
 *
 * @module
 */
export { exitActor, getActor, kill } from "./api/actors.ts";
export {
  availableResources,
  clusterResources,
  getRuntimeContext,
  type NodeInfo,
  nodes,
  type RuntimeContext,
  type TraceEvent,
  timeline,
} from "./api/context.ts";
export { init, isInitialized, shutdown } from "./api/init.ts";
export type { ClusterContext, InitOptions } from "./api/init-options.ts";
export { cancel, get, put, wait } from "./api/objects.ts";
export {
  getPlacementGroup,
  PlacementGroup,
  type PlacementGroupOptions,
  placementGroup,
  removePlacementGroup,
} from "./api/placement.ts";
export { remote } from "./api/remote.ts";
export {
  type NodeAffinity,
  nodeAffinity,
  type PlacementGroupScheduling,
  placementGroupScheduling,
} from "./api/scheduling-strategies.ts";
export type {
  ActorClass,
  ActorHandle,
  ActorMethod,
  ActorOptions,
  ErrorClass,
  GetOptions,
  MethodOptions,
  RemoteArgs,
  RemoteFunction,
  ResourceOptions,
  Returned,
  RuntimeEnv,
  SchedulingStrategy,
  TaskOptions,
  Value,
} from "./api/types.ts";
export {
  ActorAlreadyExistsError,
  type ActorDeathReason,
  ActorDiedError,
  ActorError,
  ActorNotFoundError,
  ActorUnavailableError,
  ActorUnschedulableError,
  AuthenticationError,
  ClusterConnectionError,
  GetTimeoutError,
  NodeDiedError,
  ObjectLostError,
  ObjectReconstructionFailedError,
  ObjectStoreFullError,
  OutOfDiskError,
  OutOfMemoryError,
  OwnerDiedError,
  PendingCallsLimitExceededError,
  RuntimeEnvSetupError,
  SerializationError,
  ShoalError,
  TaskCancelledError,
  TaskError,
  TaskUnschedulableError,
  WorkerCrashedError,
} from "./base/errors.ts";
export { ObjectRef } from "./runtime/owner/object-ref.ts";
export { ObjectRefGenerator } from "./runtime/owner/object-ref-generator.ts";
export { registerSerializer, type Serializer } from "./values/index.ts";
