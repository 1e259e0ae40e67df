/** What must hold when faults are over and everything has come to rest. */
import type { ActorId, NodeId } from "../src/base/ids.ts";
import { fromUnits } from "../src/core/resources.ts";
import type { Daemon } from "./daemon.ts";
import type { Owner } from "./owner.ts";
import { check, type Shared } from "./simulation.ts";

const living = (shared: Shared): Daemon[] => [...shared.nodes.values()].filter((daemon) => daemon.alive);
const headOf = (shared: Shared) => (shared.nodes.get(shared.headId) as Daemon).head as NonNullable<Daemon["head"]>;

/** Programs are through, drivers are still there: nothing is kept that nobody holds. */
export function checkNothingHeld(shared: Shared, drivers: readonly Owner[]): void {
  const daemons = living(shared);
  const processes = [...drivers, ...daemons.flatMap((daemon) => [...daemon.workers.values()].map((book) => book.process))];
  for (const process of processes) if (process.alive) checkProcess(process);
  for (const daemon of daemons) {
    // What is to be freed is not told again to a node whose connection broke.
    if (shared.broken.size > 0) continue;
    // What a worker writes for an owner that has just died stays until the session ends.
    const segments = daemon.store.names.filter((name) => shared.network.get(name.split(".")[0])?.alive === true);
    check(segments.length === 0, () => `segments are left on ${daemon.id}: ${segments.join(" ")}`);
  }
  for (const daemon of daemons) {
    const leases = [...daemon.scheduler.leases.keys()];
    check(daemon.leases.size === 0 && leases.length === 0, () => `leases are left on ${daemon.id}: ${leases.join(" ")}`);
  }
  const { actors } = headOf(shared).registry;
  const alive = [...actors.values()].filter((actor) => actor.state !== "DEAD");
  check(alive.length === 0, () => `actors without handles live: ${alive.map((actor) => actor.spec.actorId).join(" ")}`);
  checkActorsOnce(shared);
  checkGroups(shared);
  checkViews(shared);
}

function checkProcess({ id, ownership, borrows, tasks }: Owner): void {
  const owned = [...ownership.owned.values()].map(
    (record) =>
      `${record.index} (${record.state}, ${record.localRefs} refs, ${record.taskUses} uses, ${record.lineageUses} lineage, borrowed by ${[...(record.borrowers?.keys() ?? [])].join(" ")})`,
  );
  check(ownership.tasks.size === 0, () => `${id} keeps tasks ${[...ownership.tasks.keys()].join(" ")}`);
  check(owned.length === 0, () => `${id} keeps objects that nobody holds: ${owned.join(", ")}`);
  const borrowed = [...ownership.borrowed.values()].map(({ foreign, index }) => `${foreign?.owner}:${index}`);
  check(borrowed.length === 0, () => `${id} keeps borrowed objects: ${borrowed.join(" ")}`);
  check(tasks.submitter.leases.size === 0, () => `${id} keeps leases it does not use`);
  check(borrows.quiet, () => `${id} waits for an owner's answer`);
}

/** No actor lives in two processes, and none in one where the head does not see it. */
export function checkActorsOnce(shared: Shared): void {
  const homes = new Map<ActorId, string>();
  const { registry } = headOf(shared);
  for (const daemon of living(shared))
    for (const { process } of daemon.workers.values()) {
      const { actorId, id } = process;
      if (actorId === null || !process.alive) continue;
      check(!homes.has(actorId), () => `actor ${actorId} lives in ${homes.get(actorId)} and in ${id}`);
      homes.set(actorId, id);
      const home = registry.actors.get(actorId)?.place?.workerId;
      check(home === id, () => `actor ${actorId} lives in ${id}, and the head says ${home}`);
    }
}

/** A group is on the nodes that the head names, whole, or nowhere. */
function checkGroups(shared: Shared): void {
  const { groups } = headOf(shared).groups;
  for (const daemon of living(shared))
    for (const [groupId, { source }] of daemon.scheduler.groups) {
      const group = groups.get(groupId);
      check(group !== undefined, () => `node ${daemon.id} keeps bundles of group ${groupId}, which is gone`);
      for (const index of source.indexes)
        check(
          group?.nodes[index] === daemon.nodeId,
          () => `node ${daemon.id} keeps bundle ${index} of group ${groupId}, which is elsewhere`,
        );
    }
  for (const [groupId, group] of groups)
    for (const [index, nodeId] of group.nodes.entries()) {
      if (nodeId === null) continue;
      const held = shared.nodes.get(nodeId)?.scheduler.groups.get(groupId)?.source.indexes.includes(index);
      check(held === true, () => `node ${nodeId} does not keep bundle ${index} of group ${groupId}`);
    }
}

/** Every node knows who lives and what is free there. */
export function checkViews(shared: Shared): void {
  const daemons = living(shared);
  const members = daemons.map((daemon) => daemon.nodeId).join(" ");
  const known = [...headOf(shared).living].sort().join(" ");
  check(known === members, () => `the head knows ${known}, and there are ${members}`);
  for (const daemon of daemons) {
    const seen = [...daemon.others(), daemon.nodeId].sort().join(" ");
    check(seen === members, () => `node ${daemon.id} knows ${seen}, and there are ${members}`);
  }
  for (const other of daemons) {
    const free = Object.entries(other.free());
    for (const daemon of daemons) if (other !== daemon) checkView(daemon, other, free);
  }
}

function checkView(daemon: Daemon, other: Daemon, free: readonly (readonly [string, number])[]): void {
  const available = daemon.scheduler.others.get(other.nodeId as NodeId)?.available;
  for (const [name, amount] of free) {
    const seen = fromUnits(name, available?.get(name) ?? 0);
    check(seen === amount, () => `node ${daemon.id} sees ${seen} ${name} free on ${other.id}, and there is ${amount}`);
  }
}

/** All drivers have gone. */
export function checkAllEnded(shared: Shared): void {
  for (const daemon of living(shared)) {
    const { scheduler, workers, id } = daemon;
    check(workers.size === 0, () => `workers of ended jobs live on ${id}: ${[...workers.keys()].join(" ")}`);
    const [available, total] = [JSON.stringify(daemon.free()), JSON.stringify(daemon.total())];
    check(available === total, () => `resources are not all free on ${id}: ${available} of ${total}`);
    const { owners, leases, pools, jobs, actors, starts, groups, places } = scheduler;
    for (const [name, left] of Object.entries({ owners, leases, pools, jobs, actors, starts, groups, places }))
      check(left.size === 0, () => `the scheduler of ${id} remembers ${left.size} ${name}`);
  }
  const { placement, groups } = headOf(shared);
  check(placement.placing.size === 0, () => `the head still places ${[...placement.placing.keys()].join(" ")}`);
  check(groups.groups.size === 0, () => `the head still knows groups ${[...groups.groups.keys()].join(" ")}`);
  checkViews(shared);
}
