/** A simulated driver: a program whose every result is compared with what it must be. */
import type { PlacementGroupId } from "../src/base/ids.ts";
import type { GroupSpec } from "../src/core/group-placement.ts";
import { isSettled, type ObjectRecord } from "../src/core/object-record.ts";
import { Kind } from "../src/wire/index.ts";
import type { AnyMessage, Resources } from "../src/wire/messages.ts";
import type { Handle } from "./actor-callers.ts";
import { Owner, Scope } from "./owner.ts";
import { type Body, type Outcome, type PureRef, pure, type Result, type Step, type TaskSpec } from "./program.ts";
import { Random } from "./random.ts";
import { check } from "./simulation.ts";
import { encodeOrder } from "./value.ts";

/** Nothing keeps a group from its place for so long but a fault. */
const groupWaitMs = 60_000;
/** With a group end the workers that are leased in it, idle ones too, and with them what they own. */
const idleLeasesMs = 1_000;
/** Of a group that is not bound to one node. */
const bundlesMax = 6;
/** What runs in a group is over by then, or a fault has taken its bundles. */
const groupMsMax = 40_000;

export class Driver extends Owner {
  done = false;
  /** What each ref must turn out to be. */
  private readonly expectations = new Map<ObjectRecord, PureRef>();
  private readonly calls = new Set<ObjectRecord>();
  private readonly scope = new Scope(this);
  checked = 0;
  failed = 0;

  start(seed: number): void {
    this.tell([Kind.Hello, { id: this.id }] as unknown as AnyMessage);
    this.runBody(this.scope, this.program(new Random(seed)), (end) => {
      check(end.kind === "value", () => `the program of ${this.id} ended by ${JSON.stringify(end)}`);
      this.shared.world.log(this.id, "is done");
      this.done = true;
      this.expectations.clear();
      this.scope.release();
    });
  }

  private *program(random: Random): Body<ObjectRecord> {
    const rounds = 1 + random.int(3);
    let kept: ObjectRecord[] = [];
    for (let round = 0; round < rounds; round++) {
      const refs = [...kept];
      const count = 1 + random.int(8);
      for (let i = 0; i < count; i++) refs.push(this.submitOne(random, refs));
      if (random.chance(0.4)) refs.push(...(yield* this.useGroup(random)));
      const handle = random.chance(0.4)
        ? this.actors.create(this.scope, {
            maxRestarts: random.pick([0, 1, -1]),
            lifetime: random.chance(0.2) ? { disk: 0.1 } : {},
          })
        : null;
      const calls = handle === null ? [] : this.callOften(random, handle, refs);
      // What calls return after a fault is not known, so it must not flow into what is compared.
      if (!this.shared.faulty) refs.push(...calls.splice(0));
      if (this.shared.faulty && handle !== null && random.chance(0.3))
        this.request("killActor", [handle.actorId, random.chance(0.5)], () => {});
      if (this.shared.faulty && random.chance(0.2)) this.tasks.cancel(random.pick(refs), random.chance(0.5));
      if (random.chance(0.5)) yield { kind: "work", ms: random.next() * 100, busy: random.chance(0.3) };
      const wanted = [...refs, ...calls].filter(() => random.chance(0.8));
      yield* this.getChecked(wanted);
      kept = refs.filter(() => random.chance(0.3));
      if (random.chance(0.3)) yield { kind: "work", ms: random.next() * 1500, busy: false };
    }
    return { value: 0, refs: [] };
  }

  private submitOne(random: Random, open: readonly ObjectRecord[]): ObjectRecord {
    const around = this.surroundings(this.scope);
    const passed = open.length > 0 && random.chance(0.3) ? [random.pick(open)] : [];
    const lent = open.length > 0 && random.chance(0.3) ? [random.pick(open)] : [];
    const meant = (records: readonly ObjectRecord[]): PureRef[] =>
      records.map((record) => this.expectations.get(record) as PureRef);
    if (random.chance(0.1))
      return this.expect(around.put(random.int(1000), lent), (record) =>
        pure.put(Number(JSON.parse(this.textOf(record))[0]), meant(lent)),
      );
    const spec: TaskSpec = { seed: random.int(1_000_000), depth: random.int(4) };
    return this.expect(around.submit(spec, passed, lent), () => pure.submit(spec, meant(passed), meant(lent)));
  }

  /** A group that is in the way of the next one for a moment. */
  private makeForerunner(spec: GroupSpec): void {
    const { groupId } = spec;
    this.request("createGroup", spec, () => {});
    this.request("removeGroup", groupId, () => {});
  }

  /** Makes a placement group, runs tasks in it, and removes it: when they are through, or after a while. */
  private *useGroup(random: Random): Generator<Step<ObjectRecord>, ObjectRecord[], Outcome<ObjectRecord>[]> {
    const groupId = this.shared.newId("group") as PlacementGroupId;
    const strategy = random.pick(["PACK", "SPREAD", "STRICT_SPREAD", "STRICT_PACK"] as const);
    const most = strategy === "STRICT_PACK" ? Math.floor(this.shared.cpus) : Math.min(this.shared.nodes.size, bundlesMax);
    const bundles: Resources[] = Array.from({ length: 1 + random.int(most) }, () => ({ CPU: 1 }));
    const spec: GroupSpec = { groupId, bundles, strategy, name: null, detached: false, jobId: this.jobId };
    if (random.chance(0.3)) this.makeForerunner({ ...spec, groupId: this.shared.newId("group") as PlacementGroupId });
    let created = false;
    yield {
      kind: "until",
      start: (goOn) => {
        let over = false;
        const end = (): void => {
          if (!over) goOn();
          over = true;
        };
        this.after(groupWaitMs, end);
        this.request("createGroup", spec, () =>
          this.request("waitGroup", groupId, (ok, value) => {
            created = ok && value === true;
            end();
          }),
        );
      },
    };
    check(created || this.shared.faulty, () => `group ${groupId} is not created and nothing has failed`);
    let removed = false;
    const remove = (): void => {
      if (!removed) this.request("removeGroup", groupId, () => {});
      removed = true;
    };
    if (!created) remove();
    else this.after(groupMsMax, remove);
    const count = created ? 1 + random.int(4) : 0;
    let left = count;
    return Array.from({ length: count }, () => {
      const order: TaskSpec = { seed: random.int(1_000_000), depth: 0 };
      const bundleIndex = random.chance(0.5) ? -1 : random.int(bundles.length);
      const where = { kind: "group" as const, groupId, bundleIndex, captureChildTasks: false };
      const task = this.tasks.submit({ CPU: 1 }, 3, [encodeOrder({ spec: order, inside: [] })], null, where);
      const record = this.expect(this.scope.adopt(task), () => pure.submit(order, [], []));
      const through = (): void => {
        if (--left === 0) this.after(idleLeasesMs + random.next() * 50, remove);
      };
      if (isSettled(record)) through();
      else this.addWaiter(record, through);
      return record;
    });
  }

  private textOf(record: ObjectRecord): string {
    return record.location === null ? (record.value as string) : (this.node.store.read(record.location) as string);
  }

  private expect(record: ObjectRecord, meant: (record: ObjectRecord) => PureRef): ObjectRecord {
    this.expectations.set(record, meant(record));
    return record;
  }

  /** Calls count up: a call whose argument failed does not run. */
  private callOften(random: Random, handle: Handle, refs: readonly ObjectRecord[]): ObjectRecord[] {
    const made: ObjectRecord[] = [];
    let runs = 0;
    const calls = 1 + random.int(6);
    const retries = random.pick([0, 0, 2]);
    for (let i = 0; i < calls; i++) {
      const argument = random.chance(0.3) ? random.pick(refs) : null;
      const meant = argument === null ? null : (this.expectations.get(argument) as PureRef).outcome;
      const outcome: Outcome<PureRef> =
        meant !== null && meant.kind !== "value" ? meant : { kind: "value", result: { value: ++runs, refs: [] } };
      const ref = this.expect(this.actors.call(this.scope, handle, retries, argument), () => ({ outcome }));
      this.calls.add(ref);
      made.push(ref);
    }
    return made;
  }

  /** Gets the refs, and refs inside their values, and so on for a few levels. */
  private *getChecked(
    refs: readonly ObjectRecord[],
  ): Generator<{ kind: "get"; refs: readonly ObjectRecord[] }, void, Outcome<ObjectRecord>[]> {
    let wanted = refs;
    for (let level = 0; level < 4 && wanted.length > 0; level++) {
      const outcomes = yield { kind: "get", refs: wanted };
      const inner: ObjectRecord[] = [];
      outcomes.forEach((outcome, i) => inner.push(...this.compare(wanted[i], outcome)));
      wanted = inner;
    }
  }

  private compare(record: ObjectRecord, outcome: Outcome<ObjectRecord>): readonly ObjectRecord[] {
    const meant = (this.expectations.get(record) as PureRef).outcome;
    this.checked++;
    if (outcome.kind === "failed") {
      this.failed++;
      check(this.shared.faulty, () => `${this.id} gets ${outcome.code} for object ${record.index} and nothing has failed`);
      return [];
    }
    const name = `object ${record.foreign?.owner ?? this.id}:${record.index}`;
    check(
      outcome.kind === meant.kind,
      () => `${this.id} gets ${JSON.stringify(outcome.kind)} for ${name} instead of ${meant.kind}`,
    );
    if (outcome.kind !== "value" || meant.kind !== "value") return [];
    // After a fault some calls have not run, or have run twice.
    const right = outcome.result.value === meant.result.value || (this.calls.has(record) && this.shared.faulty);
    check(right, () => `${this.id} gets ${outcome.result.value} for ${name} instead of ${meant.result.value}`);
    return this.expectInner(outcome.result, meant.result);
  }

  private expectInner(got: Result<ObjectRecord>, meant: Result<PureRef>): readonly ObjectRecord[] {
    check(got.refs.length === meant.refs.length, () => `${this.id} gets ${got.refs.length} refs instead of ${meant.refs.length}`);
    got.refs.forEach((record, i) => this.expectations.set(record, meant.refs[i]));
    return got.refs;
  }
}
