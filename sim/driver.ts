/** A simulated driver: a program whose every result is compared with what it must be. */
import type { ObjectRecord } from "../src/core/object-record.ts";
import { Kind } from "../src/wire/index.ts";
import type { Handle } from "./actor-callers.ts";
import { Owner, Scope } from "./owner.ts";
import { type Body, type Outcome, type PureRef, pure, type Result, type TaskSpec } from "./program.ts";
import { Random } from "./random.ts";
import { check, daemonId } from "./simulation.ts";

export class Driver extends Owner {
  done = false;
  /** What each ref must turn out to be. */
  private readonly expectations = new Map<ObjectRecord, PureRef>();
  private readonly calls = new Set<ObjectRecord>();
  private readonly scope = new Scope(this);
  checked = 0;
  failed = 0;

  start(seed: number): void {
    this.send(daemonId, [Kind.Hello, { id: this.id }]);
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
      const handle = random.chance(0.4)
        ? this.actors.create(this.scope, {
            maxRestarts: random.pick([0, 1, -1]),
            lifetime: random.chance(0.2) ? { disk: 0.1 } : {},
          })
        : null;
      const calls = handle === null ? [] : this.callOften(random, handle, refs);
      // What calls return after a fault is not known, so it must not flow into what is compared.
      if (!this.shared.faulty) refs.push(...calls.splice(0));
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

  private textOf(record: ObjectRecord): string {
    return record.location === null ? (record.value as string) : (this.shared.store.read(record.location) as string);
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
