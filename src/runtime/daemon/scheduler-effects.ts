/** Carries out what the scheduler has decided: messages to owners and workers, processes started and stopped, news for the head. */
import type { LeaseId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { SchedulerEffect } from "../../core/scheduler-events.ts";
import { Kind } from "../../wire/index.ts";
import type { Daemon } from "./daemon.ts";

export function carryOut(daemon: Daemon, effect: SchedulerEffect): void {
  switch (effect.kind) {
    case "startWorker":
      return daemon.pool.start(effect.token, effect.jobId, daemon.jobEnvs.toWorker(effect.jobId, effect.runtimeEnv));
    case "stopWorker":
      return stopWorker(daemon, effect.workerId, effect.reason);
    case "tryExit":
      daemon.pool.get(effect.workerId)?.expectEnd("it was idle", null);
      return void daemon.send(effect.workerId, [Kind.TryExit]);
    case "retired":
      return void daemon.send(effect.workerId, [Kind.TryExit]);
    case "grant":
      return grant(daemon, effect.ownerId, effect.classId, effect.leaseId, effect.workerId, effect.gpuIds);
    case "recall":
      return void daemon.send(effect.ownerId, [Kind.Recall, effect.leaseId]);
    case "unschedulable":
      return void daemon.send(effect.ownerId, [Kind.Unschedulable, effect.classId, effect.reason, effect.text]);
    case "spill":
      return void daemon.send(effect.ownerId, [Kind.Spill, effect.classId, effect.nodeId, effect.count, effect.hard]);
    case "decline":
      return void daemon.send(effect.ownerId, [Kind.Decline, effect.classId, effect.count]);
    case "actorPlaced": {
      const worker = daemon.pool.get(effect.workerId);
      if (worker === undefined)
        return daemon.log.line(`actor ${effect.actorId} was placed in worker ${effect.workerId}, which is gone`);
      const place: ActorPlace = {
        nodeId: daemon.nodeId,
        workerId: effect.workerId,
        address: worker.address,
        pid: worker.pid,
        gpuIds: effect.gpuIds,
      };
      return daemon.headSide.onActorPlaced(effect.actorId, place);
    }
    case "actorUnplaceable":
      return daemon.headSide.onActorUnplaceable(daemon.nodeId, effect.actorId, effect.reason, effect.text);
    case "groupCreated":
      return daemon.headSide.onBundlesReserved(daemon.nodeId, effect.groupId, daemon.localNode.attemptOf(effect.groupId));
    case "groupRefused":
      daemon.cluster?.refusing();
      return daemon.headSide.onBundlesRefused(daemon.nodeId, effect.groupId, daemon.localNode.attemptOf(effect.groupId));
    case "groupRemoved":
      return daemon.headSide.onBundlesRemoved(daemon.nodeId, effect.groupId, effect.actorIds);
    case "warn":
      return daemon.warn(effect.jobId, effect.text);
  }
}

function grant(
  daemon: Daemon,
  ownerId: WorkerId,
  classId: number,
  leaseId: LeaseId,
  workerId: WorkerId,
  gpuIds: readonly number[],
): void {
  const worker = daemon.pool.get(workerId);
  if (worker === undefined) return daemon.log.line(`lease ${leaseId} was granted on worker ${workerId}, which is gone`);
  const spec = daemon.classes.get(ownerId)?.get(classId);
  daemon.leases.add({
    leaseId,
    ownerId,
    workerId,
    grantedAtMs: Date.now(),
    label: spec?.label ?? "task",
    retriable: spec?.retriable ?? true,
  });
  daemon.send(ownerId, [Kind.Lease, classId, leaseId, workerId, worker.address, gpuIds, daemon.nodeId]);
}

function stopWorker(daemon: Daemon, workerId: WorkerId, reason: string): void {
  daemon.send(workerId, [Kind.Exit, reason]);
  daemon.pool.get(workerId)?.expectEnd(reason);
}
