/** Whole-structure checks of the scheduler, run after every step in tests and in the simulator. Throws `AssertionFailed`. */
import { assert } from "../base/assert.ts";
import { type Allocation, heldUnits, type ResourcePool, zeroCpuSlot } from "./resources.ts";
import { type ClassRecord, nodePool, type SchedulerState, type Source, unbooked, type WorkerPool } from "./scheduler-state.ts";

export function validate(state: SchedulerState): void {
  assert(state.effects.length === 0 && state.dirtySources.length === 0 && state.dirtyPools.length === 0, "a step ends at rest");
  assert(!state.lookElsewhere && state.looking.size === 0 && state.declining.size === 0, "a step leaves nothing to decide");
  const holders = holdersByPool(state);
  checkPool(nodePool(state), holders.get(nodePool(state)) ?? [], "node");
  for (const group of state.groups.values()) {
    assert(group.phase !== "gone", () => `group ${group.groupId} is gone but listed`);
    assert(
      (group.phase === "created") === group.source.pools.length > 0 || group.bundles.length === 0,
      "a created group has a pool for each bundle",
    );
    group.source.pools.forEach((pool, i) => {
      checkPool(pool, holders.get(pool) ?? [], `bundle ${i} of ${group.groupId}`);
      holders.delete(pool);
    });
    checkSource(state, group.source);
  }
  holders.delete(nodePool(state));
  assert(holders.size === 0, "resources are held only of the node and of created groups");
  checkSource(state, state.node);
  checkLeases(state);
  checkWorkers(state);
  checkClaims(state);
}

function holdersByPool(state: SchedulerState): Map<ResourcePool, Allocation[]> {
  const holders = new Map<ResourcePool, Allocation[]>();
  const add = (allocation: Allocation): void => {
    assert(!allocation.released, "what is held is not released");
    const list = holders.get(allocation.pool);
    if (list === undefined) holders.set(allocation.pool, [allocation]);
    else {
      assert(!list.includes(allocation), "resources have one holder");
      list.push(allocation);
    }
  };
  for (const lease of state.leases.values()) add(lease.allocation);
  for (const actor of state.actors.values()) if (actor.allocation !== null) add(actor.allocation);
  for (const group of state.groups.values()) group.reserved.forEach(add);
  for (const owner of state.owners.values())
    for (const cls of owner.classes.values()) for (const booking of cls.bookings) add(booking.allocation);
  return holders;
}

/** Total = available + held, for every resource and every GPU. */
function checkPool(pool: ResourcePool, holders: readonly Allocation[], name: string): void {
  for (const [resource, total] of pool.total) {
    const available = pool.available.get(resource) ?? 0;
    let held = 0;
    for (const holder of holders) held += heldUnits(holder, resource);
    assert(available + held === total, () => `${name}: ${resource} ${available} free + ${held} held is not ${total}`);
    const mayBeNegative = resource === "CPU" || resource === zeroCpuSlot;
    assert(available >= 0 || mayBeNegative, () => `${name}: ${resource} is below zero: ${available}`);
  }
  for (const [id, total] of pool.gpuTotal) {
    let held = 0;
    for (const holder of holders) holder.gpuIds.forEach((gpu, i) => (held += gpu === id ? holder.gpuUnits[i] : 0));
    const free = pool.gpuFree.get(id) ?? 0;
    assert(free >= 0 && free + held === total, () => `${name}: GPU ${id} has ${free} free + ${held} held of ${total}`);
  }
  for (const holder of holders)
    for (const resource of holder.demand.names) assert(pool.total.has(resource), () => `${name} has no ${resource}`);
}

function checkSource(state: SchedulerState, source: Source): void {
  for (const lease of source.leases)
    assert(lease.source === source && state.leases.get(lease.leaseId) === lease, "a source lists its leases");
  for (const booking of source.bookings) assert(!booking.cancelled && booking.source === source, "a source lists its bookings");
  for (const [key, shape] of source.shapes) {
    assert(shape.key === key && shape.source === source && shape.byJob.size > 0, "a shape that nobody waits in is removed");
    for (const queue of shape.byJob.values()) {
      for (const cls of queue.classes)
        assert(cls.shape === shape && unbooked(cls) > 0, () => `class ${cls.classId} waits for nothing`);
    }
  }
  if (source.hold !== null)
    assert(source.hold.claim.shape === source.hold.shape, "resources are held back for a claim that waits");
}

function checkLeases(state: SchedulerState): void {
  for (const [leaseId, lease] of state.leases) {
    assert(lease.leaseId === leaseId, "a lease is filed under its id");
    assert(
      state.workers.get(lease.worker.workerId) === lease.worker && lease.worker.leases.has(lease),
      () => `lease ${leaseId} is on a worker that is gone`,
    );
    assert(
      lease.owner.leases.has(lease) && lease.class.leases.has(lease) && lease.source.leases.has(lease),
      () => `lease ${leaseId} is not listed everywhere`,
    );
    const gone = state.owners.get(lease.owner.ownerId) !== lease.owner;
    assert(!gone || lease.worker.state === "stopping", () => `lease ${leaseId} of a gone owner runs on`);
    assert(lease.worker.pool.key === lease.class.poolKey, () => `lease ${leaseId} is on a worker of another job or env`);
    assert(lease.allocation.lent === lease.blocked, () => `lease ${leaseId} lends its CPU exactly while blocked`);
  }
}

function checkWorkers(state: SchedulerState): void {
  let pooled = 0;
  let blocked = 0;
  for (const worker of state.workers.values()) {
    const { pool } = worker;
    assert(state.pools.get(pool.key) === pool && pool.workers.has(worker), "a worker is in its pool");
    const isIdle = worker.state === "idle";
    assert(
      isIdle === state.idleOrder.has(worker) && isIdle === pool.idle.includes(worker),
      () => `worker ${worker.workerId} is ${worker.state} and listed otherwise`,
    );
    if (isIdle || worker.state === "exiting" || worker.state === "actor")
      assert(worker.leases.size === 0, () => `worker ${worker.workerId} is ${worker.state} with leases`);
    if (worker.state === "leased")
      assert(worker.leases.size > 0 && worker.actor === null, () => `worker ${worker.workerId} is leased to nobody`);
    let blockedLeases = 0;
    for (const lease of worker.leases) if (lease.blocked) blockedLeases++;
    assert(blockedLeases === worker.blockedLeases, "blocked leases are counted");
    // Only leases granted while all earlier ones were blocked share a process.
    const isBlocked = worker.state === "leased" && blockedLeases === worker.leases.size;
    assert(
      isBlocked === pool.blocked.has(worker),
      () => `worker ${worker.workerId} is listed as blocked when it is not, or not when it is`,
    );
    if (isBlocked) blocked++;
    if (isIdle || worker.state === "leased" || worker.state === "retiring") pooled++;
    if (worker.state === "actor")
      assert(worker.actor !== null && worker.actor.worker === worker, () => `worker ${worker.workerId} is an actor without one`);
  }
  assert(pooled === state.pooled, () => `${state.pooled} pooled workers are counted and there are ${pooled}`);
  assert(blocked === state.blockedWorkers, () => `${state.blockedWorkers} blocked workers are counted and there are ${blocked}`);
  for (const pool of state.pools.values()) checkPoolCounts(state, pool);
}

function checkPoolCounts(state: SchedulerState, pool: WorkerPool): void {
  const live = (queue: Iterable<{ cancelled: boolean }>): number => [...queue].filter((booking) => !booking.cancelled).length;
  assert(
    live(pool.classBookings) === pool.classesBooked && live(pool.actorBookings) === pool.actorsBooked,
    "waiting bookings are counted",
  );
  const starting = [...state.starts.values()].filter((start) => start.pool === pool).length;
  assert(starting === pool.starting, "starts under way are counted");
  assert(pool.idle.length === 0 || pool.classesBooked === 0, () => `a worker of ${pool.key} idles while a booking waits`);
  const wants = pool.classesBooked + pool.actorsBooked;
  assert(
    (wants <= starting && pool.prestart === 0) || state.needy.has(pool),
    () => `${pool.key} waits for processes that nobody starts`,
  );
}

function checkClaims(state: SchedulerState): void {
  const shares = new Map<unknown, number>();
  const add = (key: unknown, weight: number): void => void shares.set(key, (shares.get(key) ?? 0) + weight);
  for (const lease of state.leases.values()) {
    if (lease.blocked) continue;
    add(lease.class, lease.weight);
    add(lease.class.job, lease.weight);
  }
  for (const source of [state.node, ...[...state.groups.values()].map((group) => group.source)]) {
    for (const booking of source.bookings) {
      add(booking.claim.job, booking.weight);
      if (booking.claim.kind === "class") add(booking.claim, booking.weight);
    }
  }
  for (const job of state.jobs.values())
    assert(job.share === (shares.get(job) ?? 0), () => `job ${job.jobId} has share ${job.share} and not ${shares.get(job) ?? 0}`);
  for (const owner of state.owners.values()) {
    for (const cls of owner.classes.values()) {
      assert(
        cls.share === (shares.get(cls) ?? 0),
        () => `class ${cls.classId} has share ${cls.share} and not ${shares.get(cls) ?? 0}`,
      );
      const waits = Number(cls.shape !== null) + Number(state.infeasible.has(cls)) + Number(state.groupless.has(cls));
      assert(
        waits === (unbooked(cls) > 0 ? 1 : 0),
        () => `class ${cls.classId} wants ${unbooked(cls)} and waits in ${waits} places`,
      );
      assert(
        !owner.remote || cls.hard || unbooked(cls) === 0,
        () => `class ${cls.classId} of another node waits though it need not`,
      );
      checkBookings(cls);
    }
  }
  for (const actor of state.actors.values()) {
    const waits = Number(actor.shape !== null) + Number(state.infeasible.has(actor)) + Number(state.groupless.has(actor));
    assert(
      waits === (actor.phase === "waiting" ? 1 : 0),
      () => `actor ${actor.actorId} is ${actor.phase} and waits in ${waits} places`,
    );
    assert(
      (actor.phase === "booked") === (actor.booking !== null),
      () => `actor ${actor.actorId} is ${actor.phase} with a booking`,
    );
    assert(
      (actor.phase === "waiting") === (actor.allocation === null),
      () => `actor ${actor.actorId} is ${actor.phase} and its resources are not`,
    );
  }
}

function checkBookings(cls: ClassRecord): void {
  for (const booking of cls.bookings) assert(!booking.cancelled && booking.claim === cls, "a class lists its bookings");
}
