/** The head's record of placement groups: their names, who waits for them, whose they are. Where the bundles lie is group-placing.ts's business. */
import type { ActorId, JobId, PlacementGroupId } from "../../base/ids.ts";
import type { GroupSpec } from "../../core/group-placement.ts";
import type { GroupView } from "../../wire/messages.ts";

/** Removed groups remembered, so that a late `wait` or a task aimed at one gets an answer. */
const removedGroupsMax = 10_000;

interface GroupRecord {
  readonly spec: GroupSpec;
  state: GroupView["state"];
  waiters: ((view: GroupView) => void)[];
}

export class Groups {
  private readonly records = new Map<PlacementGroupId, GroupRecord>();
  private readonly names = new Map<string, GroupRecord>();
  /** Groups that are not removed by the actor that made them. */
  private readonly byCreator = new Map<ActorId, Set<PlacementGroupId>>();
  private readonly removed: PlacementGroupId[] = [];

  /** Returns the new record's view, or null when the name is taken. */
  add(spec: GroupSpec): GroupView | null {
    const known = this.records.get(spec.groupId);
    if (known !== undefined) return view(known);
    if (spec.name !== null && this.names.has(spec.name)) return null;
    const record: GroupRecord = { spec, state: "PENDING", waiters: [] };
    this.records.set(spec.groupId, record);
    if (spec.name !== null) this.names.set(spec.name, record);
    if (spec.creatorId != null) {
      const made = this.byCreator.get(spec.creatorId);
      if (made === undefined) this.byCreator.set(spec.creatorId, new Set([spec.groupId]));
      else made.add(spec.groupId);
    }
    return view(record);
  }

  byId(groupId: PlacementGroupId): GroupView | null {
    const record = this.records.get(groupId);
    return record === undefined ? null : view(record);
  }

  byName(name: string): GroupView | null {
    const record = this.names.get(name);
    return record === undefined ? null : view(record);
  }

  list(): GroupView[] {
    return [...this.records.values()].map(view);
  }

  /** Groups that end with the job, or with the actor of it that made them. */
  ofJob(jobId: JobId): GroupSpec[] {
    return [...this.records.values()]
      .filter(({ spec, state }) => spec.jobId === jobId && !spec.detached && state !== "REMOVED")
      .map(({ spec }) => spec);
  }

  /** Groups that the actor made and that end with it when their job has ended. */
  ofCreator(actorId: ActorId): GroupSpec[] {
    return [...(this.byCreator.get(actorId) ?? [])]
      .map((groupId) => (this.records.get(groupId) as GroupRecord).spec)
      .filter(({ detached }) => !detached);
  }

  /** Calls `done` now or when the group is created or removed. False when it is unknown. */
  whenSettled(groupId: PlacementGroupId, done: (view: GroupView) => void): boolean {
    const record = this.records.get(groupId);
    if (record === undefined) return false;
    if (record.state === "CREATED" || record.state === "REMOVED") done(view(record));
    else record.waiters.push(done);
    return true;
  }

  becomeCreated(groupId: PlacementGroupId): void {
    const record = this.records.get(groupId);
    if (record === undefined || record.state === "REMOVED") return;
    record.state = "CREATED";
    settle(record);
  }

  becomeRescheduling(groupId: PlacementGroupId): void {
    const record = this.records.get(groupId);
    if (record?.state === "CREATED") record.state = "RESCHEDULING";
  }

  becomeRemoved(groupId: PlacementGroupId): void {
    const record = this.records.get(groupId);
    if (record === undefined || record.state === "REMOVED") return;
    record.state = "REMOVED";
    if (record.spec.name !== null && this.names.get(record.spec.name) === record) this.names.delete(record.spec.name);
    const { creatorId } = record.spec;
    const made = creatorId == null ? undefined : this.byCreator.get(creatorId);
    if (made?.delete(groupId) === true && made.size === 0) this.byCreator.delete(creatorId as ActorId);
    settle(record);
    this.removed.push(groupId);
    while (this.removed.length > removedGroupsMax) this.records.delete(this.removed.shift() as PlacementGroupId);
  }
}

function settle(record: GroupRecord): void {
  const waiters = record.waiters;
  record.waiters = [];
  for (const done of waiters) done(view(record));
}

function view({ spec, state }: GroupRecord): GroupView {
  return {
    groupId: spec.groupId,
    name: spec.name,
    state,
    bundles: spec.bundles,
    strategy: spec.strategy,
    detached: spec.detached,
  };
}
