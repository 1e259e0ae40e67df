/** What `status`, the state listings and the dashboard show of a node's scheduler. Reads only. */
import type { ActorId, JobId, LeaseId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { Resources } from "../wire/messages.ts";
import { demandResources, toResources } from "./resources.ts";
import { waitingClaims } from "./scheduler-claims.ts";
import { type Claim, nodePool, type SchedulerState, unbooked, type WorkerState } from "./scheduler-state.ts";

/** Requests of one shape that are not served yet. */
export interface DemandView {
  readonly resources: Resources;
  readonly label: string;
  readonly jobId: JobId;
  readonly kind: "task" | "actor" | "placement group";
  count: number;
  /** waiting: for resources · starting: has resources, its process starts · infeasible: larger than the node, or for another. */
  readonly why: "waiting" | "starting" | "infeasible";
}

export interface WorkerView {
  readonly workerId: WorkerId;
  readonly jobId: JobId;
  readonly state: WorkerState;
  readonly leases: readonly {
    readonly leaseId: LeaseId;
    readonly ownerId: WorkerId;
    readonly label: string;
    readonly resources: Resources;
    readonly blocked: boolean;
    readonly recalled: boolean;
  }[];
  readonly actorId: ActorId | null;
}

export interface SchedulerView {
  readonly total: Resources;
  readonly available: Resources;
  readonly demands: readonly DemandView[];
  readonly workers: readonly WorkerView[];
  /** Process starts under way. */
  readonly starting: number;
  readonly groups: readonly {
    readonly groupId: PlacementGroupId;
    readonly phase: "waiting" | "infeasible" | "created" | "gone";
    readonly available: readonly Resources[];
  }[];
}

/** Bundles reserved here, by their numbers in the group. */
export const bundlesHere = (state: SchedulerState): (readonly [PlacementGroupId, readonly number[]])[] =>
  [...state.groups.values()]
    .filter(({ phase }) => phase === "created")
    .map(({ groupId, source }) => [groupId, [...source.indexes]]);

/** Groups that the head has told of. */
export const groupsKnown = (state: SchedulerState): PlacementGroupId[] => [...state.places.keys()];

export const totalResources = (state: SchedulerState): Record<string, number> => toResources(nodePool(state).total);

/** Below zero for CPU while tasks that were blocked go on and others still use what they had lent. */
export const availableResources = (state: SchedulerState): Record<string, number> => toResources(nodePool(state).available);

export function describe(state: SchedulerState): SchedulerView {
  return {
    total: totalResources(state),
    available: availableResources(state),
    demands: demandViews(state),
    workers: [...state.workers.values()].map((worker) => ({
      workerId: worker.workerId,
      jobId: worker.pool.job.jobId,
      state: worker.state,
      leases: [...worker.leases].map((lease) => ({
        leaseId: lease.leaseId,
        ownerId: lease.owner.ownerId,
        label: lease.class.spec.label,
        resources: demandResources(lease.allocation.demand),
        blocked: lease.blocked,
        recalled: lease.recalled,
      })),
      actorId: worker.actor?.actorId ?? null,
    })),
    starting: state.starts.size,
    groups: [...state.groups.values()].map((group) => ({
      groupId: group.groupId,
      phase: group.phase,
      available: group.source.pools.map((pool) => toResources(pool.available)),
    })),
  };
}

function demandViews(state: SchedulerState): DemandView[] {
  const views = new Map<string, DemandView>();
  const add = (claim: Claim, why: DemandView["why"], count: number): void => {
    const label = claim.kind === "group" ? claim.strategy : claim.spec.label;
    const key = `${why} ${claim.kind} ${claim.job.jobId} ${label} ${claim.demand.key}`;
    const view = views.get(key);
    if (view !== undefined) view.count += count;
    else
      views.set(key, {
        resources: demandResources(claim.demand),
        label,
        jobId: claim.job.jobId,
        kind: claim.kind === "class" ? "task" : claim.kind === "group" ? "placement group" : "actor",
        count,
        why,
      });
  };
  const countOf = (claim: Claim): number => (claim.kind === "class" ? unbooked(claim) : 1);
  for (const claim of state.infeasible) add(claim, "infeasible", countOf(claim));
  for (const source of [state.node, ...[...state.groups.values()].map((group) => group.source)]) {
    for (const claim of waitingClaims(source, Number.POSITIVE_INFINITY)) add(claim, "waiting", countOf(claim));
    for (const booking of source.bookings) add(booking.claim, "starting", 1);
  }
  return [...views.values()];
}
